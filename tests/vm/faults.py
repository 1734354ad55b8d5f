"""What an operator sees when a host has no room, no descriptors, or another time: words, not deaths."""
import contextlib
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import time

import package
import product

DAY = 86400
BALLAST = "/var/ballast"
AUDIT = "/var/lib/bulkhead/gateway/audit.log"
# Open files that a half gets when it shall have too few.
FEW = 160


class Faults:
    """Cases of the suite; they go on with the installed package."""

    def disk_is_full(self):
        """C11 a full disk is named by answers, health and log; sandboxes go on, also through a restart, and all is well with room"""
        kept, writer = self.some[:2]
        self.client.exec(kept, "echo before >/root/before; sync")
        cursor = package.now()
        fill("/var")
        try:
            self.full(cursor, kept, writer)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(BALLAST)

    def full(self, cursor, kept, writer):
        """What goes on while there is no room, and after."""
        # An answer is good for half a second.
        time.sleep(0.6)
        status, answer = product.call("GET", "/healthz")
        assert (status, answer) == (503, {"error": "the disk of the state directory is full"}), (status, answer)
        # A create writes a row, large here, before it asks for room: while the database has some of its own that is 503.
        large = {"name": "none", "image": "code", "envVars": {"A": "x" * 60000}}
        for _ in range(200):
            status, error = self.denied("POST", "/api/sandboxes", large)
            assert status in (503, 507) and "disk" in error, (status, error)
            if status == 507:
                break
        assert error == "the server's disk is full: nothing that has to be remembered is accepted", (status, error)
        # What runs has its own room: it writes on.
        assert self.client.exec(kept, "echo during >/root/during; sync; cat /root/during")["stdout"] == "during\n"
        command = "dd if=/dev/urandom of=/root/x bs=1M count=32 conv=fsync && rm /root/x && echo x"
        data = self.client.exec(writer, command, timeout=40)
        assert data["stdout"] == "x\n", data
        product.systemctl("restart", package.RUNTIME, package.GATEWAY)
        self.some_live()
        assert self.client.status(kept) == "running"
        os.unlink(BALLAST)
        package.healthy()
        self.client.delete(product.eventually("a create works", lambda: self.client.create(name="room")))
        words = self.client.exec(kept, "cat /root/before /root/during; echo after >/root/after; sync; cat /root/after")
        assert words["stdout"] == "before\nduring\nafter\n", words
        package.says(cursor, "the disk of the state directory is full")
        package.says(cursor, "the disk of the state directory has room again")
        told = package.said("--after-cursor", cursor)
        assert told.count("ERROR the disk of the state directory is full") <= 2, "once by each gateway"
        assert len(told.splitlines()) < 200, f"{len(told.splitlines())} lines"
        log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
        assert "forced readonly" not in log, "the volume of disks was lost"

    def gateway_has_no_descriptors(self):
        """C11 a gateway without a descriptor left pauses, says so, and goes on when there are some"""
        gateway, cursor = package.main_process(package.GATEWAY), package.now()
        before = resource.prlimit(gateway, resource.RLIMIT_NOFILE)
        resource.prlimit(gateway, resource.RLIMIT_NOFILE, (FEW, before[1]))
        with contextlib.ExitStack() as held:
            for _ in range(2 * FEW):
                held.enter_context(socket.create_connection(("127.0.0.1", product.PORT), timeout=20))
            package.says(cursor, "a connection was not accepted")
            spent = cpu(gateway)
            time.sleep(2)
            assert cpu(gateway) - spent < 0.5, "it spins"
        resource.prlimit(gateway, resource.RLIMIT_NOFILE, before)
        package.healthy()
        self.some_live()
        assert package.main_process(package.GATEWAY) == gateway, "it died of it"

    def runtime_has_no_descriptors(self):
        """C11 a runtime without descriptors refuses creates with a reason, and makes some when there are any"""
        runtime = package.main_process(package.RUNTIME)
        before = resource.prlimit(runtime, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{runtime}/fd"))
        resource.prlimit(runtime, resource.RLIMIT_NOFILE, (used + 2, before[1]))
        status, error = self.denied("POST", "/api/sandboxes", {"name": "none", "image": "code"})
        assert status == 503 and "open files" in error, (status, error)
        self.some_live()
        resource.prlimit(runtime, resource.RLIMIT_NOFILE, before)
        package.healthy()
        self.client.delete(self.client.create(name="files"))
        assert package.main_process(package.RUNTIME) == runtime, "it died of it"

    def clock_jumps(self):
        """C10 a step of the wall clock by a day ends no sandbox and no unit; keys end when their date has come, and logs have it"""
        halves = [package.main_process(unit) for unit in (package.GATEWAY, package.RUNTIME)]
        brief = self.client.create(name="brief", ttlSeconds=900)
        body = {"keyName": "hours", "expiresInSeconds": DAY // 2}
        status, answer = product.call("POST", "/api/orgs/apikeys", body, self.client.key)
        assert status == 200, answer
        key = answer["plainKey"]
        offset = time.time() - time.monotonic()
        for step, wanted in ((-DAY, 200), (DAY, 401), (0, 200)):
            time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + offset + step)
            # The server looks once a second.
            time.sleep(2.5)
            assert product.call("GET", "/api/sandboxes", None, key)[0] == wanted, step
            assert self.client.status(brief) == "running"
            assert product.call("POST", f"/api/sandboxes/{brief}/exec", {"command": "date -u +%F"}, self.client.key)[0] == 200
            product.eventually("the audit log has the date", lambda: today() in last_line(AUDIT))
        self.client.delete(brief)
        self.some_live()
        assert halves == [package.main_process(unit) for unit in (package.GATEWAY, package.RUNTIME)]

    def denied(self, method, path, body):
        """Status and words of a request that is refused, in the contract's envelope."""
        status, answer = product.call(method, path, body, self.client.key)
        return status, answer.get("error", "")

    def fault_cases(self):
        """Every case, in order."""
        return [self.disk_is_full, self.gateway_has_no_descriptors, self.runtime_has_no_descriptors, self.clock_jumps]


def fill(where):
    """Leaves no byte of a file system, also none of those that are kept for root."""
    with open(BALLAST, "wb") as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(where).free) > 1 << 20:
            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free - (1 << 19))
    with open(BALLAST, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def cpu(pid):
    """Seconds of cpu that a process has had."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def today():
    """The date of the wall clock, as a log writes it."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def last_line(path):
    """The last line of a file."""
    return pathlib.Path(path).read_text().splitlines()[-1]
