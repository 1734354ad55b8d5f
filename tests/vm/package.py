"""The Debian package on a clean machine: installed, restarted, upgraded, watched, purged."""
import os
import pathlib
import signal
import subprocess
import time

import product
import residue

PACKAGE = "/payload/bulkhead.deb"
GATEWAY = "bulkhead-gateway.service"
RUNTIME = "bulkhead-runtime.service"
# Sandboxes that live through an upgrade.
SOME = 3


def dpkg(*arguments):
    """Runs dpkg, whose words stand in the failure."""
    done = subprocess.run(["dpkg", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


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


def said():
    """The last words of both units."""
    command = ["journalctl", "--no-pager", "-o", "cat", "-n", "30", "-u", GATEWAY, "-u", RUNTIME]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Package:
    """The cases of the package, on directories that a purge left empty."""

    def package_installs(self):
        """the package installs, and a sandbox runs a command under the units of the package"""
        self.clean = residue.census(product.STATE)
        dpkg("-i", PACKAGE)
        healthy()
        self.client = product.Client()
        try:
            self.some = [self.client.create(name=f"some-{number}") for number in range(SOME)]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{said()}") from error
        for sandbox in self.some:
            self.client.exec(sandbox, "echo kept >/tmp/marker")
        assert pathlib.Path(f"/proc/{main_process(GATEWAY)}/status").read_text().count("NoNewPrivs:\t1")

    def package_restarts(self):
        """a restart of both services leaves sandboxes alone, and a request meanwhile waits and is answered"""
        before = (main_process(GATEWAY), main_process(RUNTIME))
        product.systemctl("restart", "--no-block", RUNTIME, GATEWAY)
        # At once: its connection waits at the socket.
        assert product.call("GET", "/api/version", timeout=40)[0] == 200
        self.some_live()
        product.eventually("both were restarted", lambda: not set(before) & {main_process(GATEWAY), main_process(RUNTIME)})

    def package_upgrades(self):
        """an upgrade of the package leaves sandboxes and what runs in them alone"""
        running = self.client.exec(self.some[0], "nohup sleep 9874 >/dev/null 2>&1 & echo $!")["stdout"].strip()
        dpkg("-i", PACKAGE)
        healthy()
        self.some_live()
        assert running.isdigit()

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
            stuck = main_process(unit)
            os.kill(stuck, signal.SIGSTOP)
            product.eventually(f"{unit} is replaced", lambda: main_process(unit) not in (0, stuck))
            healthy()
        self.some_live()

    def package_is_removed(self):
        """a removal ends what runs and keeps the state, a purge takes that too and leaves nothing"""
        dpkg("-r", "bulkhead")
        assert not residue.processes() and pathlib.Path(product.STATE, "api-key").exists()
        dpkg("--purge", "bulkhead")
        until = time.monotonic() + 10
        while left := residue.difference(self.clean, residue.census(product.STATE)):
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.2)
        for path in ("/etc/bulkhead", product.STATE, product.RUN):
            assert not pathlib.Path(path).exists(), path

    def some_live(self):
        """They are the very same ones as before."""
        for sandbox in self.some:
            product.eventually(f"{sandbox} runs commands", lambda: self.client.works(sandbox))
            assert self.client.exec(sandbox, "cat /tmp/marker")["stdout"] == "kept\n"

    def package_cases(self):
        """Every case, in order."""
        return [
            self.package_installs, self.package_restarts, self.package_upgrades, self.package_is_watched,
            self.package_is_removed,
        ]
