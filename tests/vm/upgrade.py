"""Twenty sandboxes, a stream and a terminal through a restart and an upgrade of the installed package."""
import subprocess
import sys

import package
import product
import residue
import wire

MANY = 20
SMALL = {"memoryMiB": 64, "pids": 32, "cpus": 0.5}
# A line of the stream is one number of this many digits, so that every byte tells its place.
DIGITS = 7
# Lines per write; so many that the stream goes on through both changes.
BLOCK = 50
# With one number on standard input it counts until the file is there, then says where it ended.
COUNTER = (
    f"i=0; while [ ! -e /tmp/enough ]; do seq -f '%0{DIGITS}.0f' $i $((i + {BLOCK} - 1)); i=$((i + {BLOCK})); sleep 0.2; done;"
    " echo $i >/tmp/counted"
)
SDK = "/payload/sdk.py"


class Counting:
    """A reader of the counter's stream that remembers where it was and checks each byte."""

    def __init__(self, client, sandbox):
        self.client, self.sandbox = client, sandbox
        path = f"/api/sandboxes/{sandbox}/exec-stream"
        body = {"command": COUNTER, "onDisconnect": "detach", "timeout": 600}
        self.events = wire.Events(client, path, body)
        self.pid, self.last, self.text, self.cuts = self.events.pid, 0, "", 0
        assert self.pid, "X-Execution-Pid"
        self.begun = iter(self.events)

    def take_some(self):
        """A few events of the connection that is open."""
        for _ in range(3):
            self.take(next(self.begun))

    def take(self, event):
        """An event goes on exactly where the one before ended."""
        name, data, number = event
        assert name in ("stdout", "exit"), event
        if name == "stdout":
            self.text += data
            assert number == self.last + len(data.encode()), (self.last, event)
            self.last = number
        return name

    def drain(self):
        """What the connection still brings until the server ends it."""
        for event in self.begun:
            self.take(event)
        self.cuts += 1

    def resume(self):
        """Goes on from the last event's id."""
        path = f"/api/sandboxes/{self.sandbox}/commands/attach"
        self.events = wire.Events(self.client, path, {"pid": self.pid}, self.last)
        self.begun = iter(self.events)

    def finish(self):
        """Reads to the end and compares the whole with what was counted."""
        self.client.exec(self.sandbox, "touch /tmp/enough")
        names = [self.take(event) for event in self.begun]
        assert names and names[-1] == "exit", names[-3:]
        lines = int(self.client.exec(self.sandbox, "cat /tmp/counted")["stdout"])
        whole = "".join(f"{number:0{DIGITS}}\n" for number in range(lines))
        # The text of an event ends where its line does; a stream that was cut may hold half a line.
        assert self.text == whole, f"{len(self.text)} of {len(whole)} bytes, {self.cuts} cuts"


def sleepers():
    """Pids of the commands that sleep, each with its start time."""
    found = {}
    for pid in product.parents():
        if (words := product.words(pid))[:1] == ["sleep"] and words[1].startswith("8"):
            found[pid] = product.begun(pid)
    return found


class Upgrade:
    """Cases of the suite; they go on with the installed package."""

    def many_restart(self):
        """20 sandboxes live through a restart of both units: same processes, same stream, same terminal"""
        self.many = [self.client.create(name=f"many-{n}", limits=SMALL) for n in range(MANY)]
        for number, sandbox in enumerate(self.many):
            command = {"command": f"exec sleep 8{number:03}"}
            status, answer = product.call("POST", f"/api/sandboxes/{sandbox}/commands/run", command, self.client.key)
            assert status == 200, (status, answer)
        # A command is answered before its shell has become what it runs.
        product.eventually("each of them sleeps", lambda: len(sleepers()) == MANY)
        self.sleepers, self.running = sleepers(), self.executions()
        assert len(self.sleepers) == MANY and all(self.running.values()), (self.sleepers, self.running)
        self.counting = Counting(self.client, self.many[0])
        self.counting.take_some()
        path = f"/api/sandboxes/{self.many[1]}/pty/sessions"
        status, answer = product.call("POST", path, {}, self.client.key)
        assert status == 200, (status, answer)
        self.session = f"{path}/{answer['data']['sessionId']}"
        terminal = wire.Terminal(self.client, self.session)
        terminal.send("A=kept; tty\n")
        terminal.read_until("/dev/pts/")
        product.systemctl("restart", package.RUNTIME, package.GATEWAY)
        terminal.close()
        self.counting.drain()
        self.many_live()

    def many_upgrade(self):
        """20 sandboxes live through an upgrade to a higher version: same processes, same stream, same terminal"""
        halves = {package.main_process(unit) for unit in (package.RUNTIME, package.GATEWAY)}
        package.install(package.NEXT)
        assert package.installed() > self.version, package.installed()
        self.counting.drain()
        package.healthy()
        assert not halves & {package.main_process(unit) for unit in (package.RUNTIME, package.GATEWAY)}
        self.many_live()
        self.counting.finish()

    def executions(self):
        """The handles of what runs in each sandbox, without the counter's."""
        found = {}
        for sandbox in self.many:
            status, answer = product.call("GET", f"/api/sandboxes/{sandbox}/commands/list", None, self.client.key)
            assert status == 200, answer
            found[sandbox] = [row["pid"] for row in answer["processes"] if "sleep 8" in row["command"]]
        return found

    def many_live(self):
        """The very same processes run, the stream goes on, and so does the terminal."""
        assert sleepers() == self.sleepers
        assert self.executions() == self.running
        for sandbox in self.many[:3]:
            assert self.client.works(sandbox)
        self.counting.resume()
        self.counting.take_some()
        terminal = wire.Terminal(self.client, self.session)
        terminal.send("echo still-$A\n")
        terminal.read_until("still-kept")
        terminal.close()

    def sdk_after_upgrade(self):
        """the unmodified SDK creates, runs, opens a terminal and deletes after the upgrade"""
        done = subprocess.run(
            [sys.executable, "-B", SDK, self.client.key, str(product.PORT)],
            capture_output=True, text=True, timeout=90, check=False,
        )
        assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stdout + done.stderr
        for sandbox in self.many:
            self.client.delete(sandbox)
        assert not sleepers() and len(residue.cgroups(self.many[0])) == 0

    def upgrade_cases(self):
        """Every case, in order."""
        return [self.many_restart, self.many_upgrade, self.sdk_after_upgrade]
