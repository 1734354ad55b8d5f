"""The Debian package on a clean machine: installed, restarted, upgraded, watched, purged."""
import contextlib
import os
import pathlib
import pwd
import re
import signal
import subprocess
import time

import product
import residue
import slices

PACKAGE = "/payload/bulkhead.deb"
# The same with a higher version.
NEXT = "/payload/bulkhead-next.deb"
INSTALL = "/payload/scripts/install"
GATEWAY = "bulkhead-gateway.service"
RUNTIME = "bulkhead-runtime.service"
# Sandboxes that live through it all.
SOME = 3


def dpkg(*arguments):
    """Runs dpkg, whose words stand in the failure."""
    done = subprocess.run(["dpkg", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def installed():
    """The version that dpkg knows, in parts that compare."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "bulkhead"], capture_output=True, text=True, check=True)
    return [int(part) for part in re.findall(r"\d+", done.stdout)]


def install(*arguments):
    """Runs scripts/install; gives back its words."""
    done = subprocess.run([INSTALL, *arguments], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown(*command):
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main_process(unit):
    """The pid of a unit's main process."""
    shown = subprocess.run(["systemctl", "show", "-P", "MainPID", unit], capture_output=True, text=True, check=True)
    return int(shown.stdout)


def healthy():
    """Waits for a healthy answer; nobody is refused while the socket is systemd's."""
    try:
        product.eventually("GET /healthz answers 200", lambda: product.call("GET", "/healthz", timeout=20)[0] == 200)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{said()}") from error


def said(*more):
    """The last words of both units, and of systemd about them; with more arguments of journalctl, those that they choose."""
    which = more or ("-n", "30", "-u", GATEWAY, "-u", RUNTIME)
    command = ["journalctl", "--no-pager", "-o", "cat", *which]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def now():
    """A place in the journal: what is said later comes after it."""
    return said("-n", "1", "--show-cursor").rpartition("-- cursor: ")[2].strip()


def says(cursor, *wanted):
    """Waits until the journal has these words, in this order, after a place."""

    def found():
        # Not for one unit: with a filter, journalctl also leaves out the first line that passes it.
        text, at = said("--after-cursor", cursor), 0
        for words in wanted:
            at = text.find(words, at)
            assert at >= 0, f"{words!r} is not in, or not in its place in:\n{text}"
        return True

    product.eventually("what the journal must say", found)


class Package:
    """The cases of the package, on directories that a purge left empty."""

    def package_installs(self):
        """scripts/install installs the package, and a sandbox runs a command under its units, in its slice"""
        self.clean = residue.census(product.STATE)
        told = install(PACKAGE)
        assert f"{product.STATE}/api-key" in told and "curl" in told, told
        self.version = installed()
        healthy()
        self.client = product.Client()
        try:
            self.some = [self.client.create(name=f"some-{number}") for number in range(SOME)]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{said()}") from error
        for sandbox in self.some:
            self.client.exec(sandbox, "echo kept >/tmp/marker")
        assert pathlib.Path(f"/proc/{main_process(GATEWAY)}/status").read_text().count("NoNewPrivs:\t1")
        assert self.group(self.some[0]).parent.parent == slices.SLICE

    def package_restarts(self):
        """a restart of both services leaves sandboxes alone, and a request meanwhile waits and is answered"""
        before, cursor = (main_process(GATEWAY), main_process(RUNTIME)), now()
        product.systemctl("restart", "--no-block", RUNTIME, GATEWAY)
        product.eventually("the gateway has ended", lambda: not product.words(before[0]))
        # Its connection waits at the socket.
        assert product.call("GET", "/api/version", timeout=40)[0] == 200
        self.some_live()
        product.eventually("both were restarted", lambda: not set(before) & {main_process(GATEWAY), main_process(RUNTIME)})
        says(cursor, "closing", f"{GATEWAY}: Deactivated successfully", "serving", f"Started {GATEWAY}")
        says(cursor, f"Stopping {GATEWAY}", f"Stopped {GATEWAY}")
        ready = f"runtime is ready sandboxes={SOME}"
        says(cursor, f"Stopping {RUNTIME}", f"{RUNTIME}: Deactivated successfully", ready, f"Started {RUNTIME}")

    def package_is_killed(self):
        """after kill -9 of a unit's process another one is there at once, and the journal says both"""
        for unit, word in ((GATEWAY, "serving"), (RUNTIME, f"runtime is ready sandboxes={SOME}")):
            killed, cursor = main_process(unit), now()
            assert killed, f"{unit} does not run"
            os.kill(killed, signal.SIGKILL)
            product.eventually(f"{unit} is replaced", lambda: main_process(unit) not in (0, killed))
            healthy()
            killed = f"{unit}: Main process exited, code=killed, status=9/KILL"
            says(cursor, killed, f"{unit}: Scheduled restart job", word, f"Started {unit}")
        self.some_live()

    def package_is_watched(self):
        """a gateway that stands still is replaced by the watchdog, and so is a runtime"""
        for unit in (GATEWAY, RUNTIME):
            drop_in = pathlib.Path(f"/run/systemd/system/{unit}.d/watchdog.conf")
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text("[Service]\nWatchdogSec=3s\n")
        product.systemctl("daemon-reload")
        product.systemctl("restart", RUNTIME, GATEWAY)
        healthy()
        for unit in (GATEWAY, RUNTIME):
            stuck, cursor = main_process(unit), now()
            assert stuck, f"{unit} does not run"
            os.kill(stuck, signal.SIGSTOP)
            product.eventually(f"{unit} is replaced", lambda: main_process(unit) not in (0, stuck))
            healthy()
            failed = f"{unit}: Failed with result 'watchdog'"
            says(cursor, f"{unit}: Watchdog timeout", failed, f"{unit}: Scheduled restart job", f"Started {unit}")
            drop_in = pathlib.Path(f"/run/systemd/system/{unit}.d")
            (drop_in / "watchdog.conf").unlink()
            drop_in.rmdir()
        product.systemctl("daemon-reload")
        self.some_live()

    def package_is_removed(self):
        """a removal ends what runs and keeps the state, a purge takes that too and leaves nothing"""
        assert residue.claims(), "sandboxes have ranges of ids"
        install("--remove")
        assert not residue.processes() and not residue.claims()
        assert pathlib.Path(product.STATE, "api-key").exists()
        install("--remove", "--purge")
        until = time.monotonic() + 10
        while left := residue.difference(self.clean, residue.census(product.STATE)):
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.2)
        for path in ("/etc/bulkhead", product.STATE, product.RUN, slices.SLICE, residue.CLAIMS):
            assert not pathlib.Path(path).exists(), path
        with contextlib.suppress(ConnectionRefusedError):
            raise AssertionError(f"somebody answers: {product.call('GET', '/healthz')}")
        # The user stays, as Debian's policy has it, with nothing of its own.
        user = pwd.getpwnam("bulkhead")
        assert user.pw_shell.endswith("nologin"), user
        found = subprocess.run(["find", "/", "-xdev", "-user", "bulkhead"], capture_output=True, text=True, check=False)
        assert not found.stdout, found.stdout

    def some_live(self):
        """They are the very same ones as before."""
        for sandbox in self.some:
            product.eventually(f"{sandbox} runs commands", lambda: self.client.works(sandbox))
            assert self.client.exec(sandbox, "cat /tmp/marker")["stdout"] == "kept\n"

    def package_cases(self):
        """Every case, in order."""
        return [
            self.package_installs, self.package_restarts, self.package_is_killed, self.package_is_watched,
            *self.slice_cases(), *self.upgrade_cases(), *self.fault_cases(), self.package_is_removed,
        ]
