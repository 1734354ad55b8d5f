"""The Debian package on a clean machine: installed, restarted, upgraded, watched, purged."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import time

import product
import residue
import slices

# This repository as somebody has it who installs from it, but for the build, which was done outside.
CHECKOUT = "/payload/checkout"
# Where it is written to; nothing of it is looked for afterwards.
COPY = "/root/checkout"
# A package of the same with a higher version.
NEXT = "/payload/bulkhead-next.deb"
CONFIG = "/etc/bulkhead/bulkhead.toml"
GATEWAY = "bulkhead-gateway.service"
RUNTIME = "bulkhead-runtime.service"
UNITS = "/usr/lib/systemd/system"
# The most that systemd counts against each unit, in tenths. Of the runtime its unit says what for.
EXPOSURE = {GATEWAY: 15, RUNTIME: 86}
# Sandboxes that live through it all.
SOME = 3


def installed():
    """The version that dpkg knows, in parts that compare."""
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "bulkhead"], capture_output=True, text=True, check=True)
    return [int(part) for part in re.findall(r"\d+", done.stdout)]


def install(*arguments):
    """Runs scripts/install; gives back its words."""
    done = subprocess.run([f"{COPY}/scripts/install", *arguments], capture_output=True, text=True, timeout=90)
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
        """scripts/install packages and installs a checkout, and a sandbox runs a command under its units, in its slice"""
        self.clean = residue.census(product.STATE)
        shutil.copytree(CHECKOUT, COPY)
        told = install()
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

    def package_exposes_little(self):
        """systemd counts against the gateway's unit at most 1.5, and against the runtime's what its comments explain"""

        def passes(unit, most):
            command = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={most}", f"{UNITS}/{unit}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "Overall exposure level" in done.stdout, done.stdout + done.stderr
            return done.returncode == 0

        for unit, most in EXPOSURE.items():
            assert passes(unit, most), f"more than {most / 10} is counted against {unit}"
        assert not passes(RUNTIME, EXPOSURE[GATEWAY]), "a bar that everything passes"

    def package_restarts(self):
        """a restart of both services leaves sandboxes alone, and a request meanwhile waits and is answered"""
        before, cursor = (main_process(GATEWAY), main_process(RUNTIME)), now()
        product.systemctl("restart", "--no-block", RUNTIME, GATEWAY)
        # Its connection waits at the socket, or the gateway that closes has accepted it and answers.
        assert product.call("GET", "/api/version", timeout=40)[0] == 200
        self.some_live()
        product.eventually("both were restarted", lambda: not set(before) & {main_process(GATEWAY), main_process(RUNTIME)})
        says(cursor, "closing", f"{GATEWAY}: Deactivated successfully", "serving", f"Started {GATEWAY}")
        says(cursor, f"Stopping {GATEWAY}", f"Stopped {GATEWAY}")
        ready = f"runtime is ready sandboxes={SOME}"
        says(cursor, f"Stopping {RUNTIME}", f"{RUNTIME}: Deactivated successfully", ready, f"Started {RUNTIME}")

    def package_reloads(self):
        """a reload takes over what it can and names what it cannot; a broken file changes nothing, and every line is told"""
        config, halves = pathlib.Path(CONFIG), [main_process(unit) for unit in (GATEWAY, RUNTIME)]
        text, taken = config.read_text(), "the configuration was read again"
        wrong = ("register: unknown variant `maybe`, expected `on` or `off`", "pool: at most 256")
        changes = (
            # With it, what is asked below is asked wrongly; without it, there is nothing to ask.
            ('register = "on"\nlog-format = "json"\n', 400, (taken, "needs a restart key=\"log-format\"")),
            ('register = "maybe"\npool = 1000\n', 400, wrong),
            ("", 404, (taken,)),
        )
        with contextlib.ExitStack() as kept:
            kept.callback(config.write_text, text)
            for lines, status, words in changes:
                cursor = now()
                config.write_text(text + lines)
                product.systemctl("reload", RUNTIME, GATEWAY)
                for told in words:
                    both = f"both halves say {told!r}"
                    product.eventually(both, lambda told=told: said("--after-cursor", cursor).count(told) == 2)
                assert ("the configuration stays as it was: " in said("--after-cursor", cursor)) == (words == wrong)
                assert product.call("POST", "/api/register", {})[0] == status, lines
                assert shown("systemctl", "is-active", GATEWAY, RUNTIME).split() == ["active"] * 2
        assert halves == [main_process(unit) for unit in (GATEWAY, RUNTIME)]

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
            self.package_installs, self.package_exposes_little, self.package_restarts, self.package_reloads,
            self.package_is_killed, self.package_is_watched,
            *self.slice_cases(), *self.upgrade_cases(), *self.fault_cases(), self.package_is_removed,
        ]
