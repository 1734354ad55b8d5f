"""The product as the suite sees it: the processes of `bulkhead serve` and its HTTP API."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

# What bulkhead.service says too.
BIN = "/opt/bulkhead/bulkhead"
PORT = 33944
STATE = "/var/lib/bulkhead"
RUN = "/run/bulkhead"
LOG = "/run/serve.log"
UNIT = "bulkhead.service"
# Seconds. The machine is emulated, about twenty times slower than the real one at starting processes.
PATIENCE = 25.0


def eventually(what, probe, patience=PATIENCE):
    """Polls until the probe gives something true; its last value or error stands in the failure."""
    until = time.monotonic() + patience
    while True:
        try:
            last = probe()
            if last:
                return last
        except (OSError, http.client.HTTPException, AssertionError) as error:
            last = error
        if time.monotonic() > until:
            raise AssertionError(f"not within {patience:.0f} s: {what}; last: {last!r}")
        time.sleep(0.1)


def call(method, path, body=None, key=None, timeout=45.0):
    """One request on a connection of its own: status and parsed body."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["X-API-Key"] = key
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text.decode(errors="replace")


def parents():
    """Maps each process to its parent."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def words(pid):
    """The command line of a process; empty when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def begun(pid):
    """When a process began, in clock ticks since the boot: with its pid it is known for certain."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


class Server:
    """One instance, started plainly or as a systemd unit, always with the same directories."""

    def __init__(self):
        self.process = None
        self.arguments = [BIN, "serve", "--listen", f"127.0.0.1:{PORT}"]
        self.arguments += ["--state-dir", STATE, "--run-dir", RUN]

    def start(self):
        """Starts it as a child of the suite."""
        with open(LOG, "ab") as log:
            self.process = subprocess.Popen(self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.ready()

    def start_unit(self):
        """Starts it as the unit of `bulkhead.service`, which says the same as `arguments`."""
        systemctl("start", UNIT)
        self.ready()

    def ready(self):
        """Waits for a healthy answer; a server that ended meanwhile fails at once."""

        def healthy():
            if self.process and self.process.poll() is not None:
                raise RuntimeError(f"serve ended with {self.process.returncode}")
            return call("GET", "/healthz", timeout=5)[0] == 200

        eventually("GET /healthz answers 200", healthy)

    def stop(self):
        """Ends it as an operator would, by SIGTERM, and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.process = None
        return code

    def kill(self):
        """Ends the supervisor without a word."""
        self.process.kill()
        self.process.wait(30)
        self.process = None

    def half(self, word):
        """The process below the supervisor whose subcommand is `word`."""
        tree = parents()
        for pid in tree:
            if word not in words(pid)[1:3]:
                continue
            above = pid
            while above in tree and above != self.process.pid:
                above = tree[above]
            if above == self.process.pid:
                return pid
        raise AssertionError(f"no {word} below serve")

    def kill_half(self, word):
        """Kills one half and waits until another process has its place and the whole is healthy."""
        before = self.half(word)
        os.kill(before, signal.SIGKILL)
        eventually(f"another {word} runs", lambda: self.half(word) != before)
        self.ready()


class Client:
    """The API as a tenant uses it."""

    def __init__(self):
        self.key = pathlib.Path(STATE, "api-key").read_text().strip()

    def create(self, **fields):
        """Creates a sandbox and returns its id."""
        body = {"name": "vm", "image": "code", "cpu": 1, "mem": 1024, **fields}
        status, answer = call("POST", "/api/sandboxes", body, self.key)
        assert status == 201, f"create answered {status}: {answer}"
        assert answer["data"]["status"] == "running", answer
        return answer["data"]["id"]

    def exec(self, sandbox, command, **fields):
        """Runs a command and returns the `data` of the answer."""
        path = f"/api/sandboxes/{sandbox}/exec"
        status, answer = call("POST", path, {"command": command, **fields}, self.key)
        assert status == 200, f"exec answered {status}: {answer}"
        return answer["data"]

    def isolation(self, sandbox):
        """What is in force for a sandbox."""
        status, answer = call("GET", f"/api/sandboxes/{sandbox}/isolation", None, self.key)
        assert status == 200, f"isolation answered {status}: {answer}"
        return answer["data"]

    def works(self, sandbox):
        """True when the sandbox runs a command; for `eventually`."""
        return self.exec(sandbox, "echo alive")["stdout"] == "alive\n"

    def turn(self, sandbox, word):
        """Sends a sandbox to another state: sleep, wake, freeze, thaw."""
        status, answer = call("POST", f"/api/sandboxes/{sandbox}/{word}", None, self.key)
        assert status == 200, f"{word} answered {status}: {answer}"

    def status(self, sandbox):
        """The public word of a sandbox's state; 404 is None."""
        status, answer = call("GET", f"/api/sandboxes/{sandbox}", None, self.key)
        return answer["data"]["status"] if status == 200 else None

    def delete(self, sandbox):
        """Deletes a sandbox; afterwards it is unknown."""
        status, answer = call("DELETE", f"/api/sandboxes/{sandbox}", None, self.key)
        assert status == 200, f"delete answered {status}: {answer}"
        status, answer = call("GET", f"/api/sandboxes/{sandbox}", None, self.key)
        assert status == 404, f"after the delete, get answered {status}: {answer}"


def systemctl(*arguments):
    """Runs systemctl; its own words stand in the failure."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"systemctl {arguments}: {done.stderr}"


def purge():
    """Removes everything the instance owns."""
    done = subprocess.run([BIN, "purge", "--state-dir", STATE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"purge ended {done.returncode}: {done.stdout} {done.stderr}"
