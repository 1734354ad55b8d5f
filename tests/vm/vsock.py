"""The agent on a socket of a virtual machine's family: the same program, handed another listening socket."""
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess

import product
import residue
import wire

# The agent's own suite (agent/tests/serve.rs), which speaks to it as the gateway does.
SUITE = "/payload/agent-suite"
# What a sandbox does: run, stream, go on where a reader was cut, read and write files, a terminal.
TESTS = [
    "output_and_exit_are_those_of_the_script",
    "a_closed_connection_kills_even_a_command_that_is_blocked_on_its_reader",
    "detached::a_cut_reader_goes_on_where_it_was",
    "files::what_goes_up_comes_down",
    "terminal::a_shell_prompts_echoes_and_ends",
]
# The one that keeps an agent for somebody else.
LENT = "lent::serves_until_the_end_of_input"
AGENTS = pathlib.Path(product.RUN, "gateway/agents")
# Bytes of a file that goes there and back: many times what a connection holds.
FILE = 3 << 20
# Only the command of the case has it.
SECONDS = "86421"


def environment():
    """What makes the suite's agents listen on AF_VSOCK, over its loopback."""
    program = os.path.join(os.path.dirname(product.BIN), "bulkhead-agent")
    return {**os.environ, "BULKHEAD_AGENT_TRANSPORT": "vsock", "BULKHEAD_AGENT_PROGRAM": program}


@contextlib.contextmanager
def lent_agent():
    """An agent outside any sandbox; its `CID:PORT`."""
    process = subprocess.Popen(
        [SUITE, "--exact", "--ignored", "--nocapture", LENT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    )
    try:
        said = next((line for line in process.stdout if line.startswith("agent at ")), "")
        assert said, "the agent did not start"
        yield said.split()[-1]
        # Standard input ends: it looks for what was left, and ends too.
        rest, _ = process.communicate(timeout=product.PATIENCE)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.wait()


def lead_to(sandbox, address):
    """What the back end of a machine would do: the entry of a sandbox is a file with an address, not a socket."""
    (AGENTS / "new").write_text(address)
    (AGENTS / "new").chmod(0o644)
    (AGENTS / "new").rename(AGENTS / f"{sandbox}.vsock")
    (AGENTS / f"{sandbox}.sock").unlink()


class Machine:
    """A sandbox whose agent is elsewhere, through the API."""

    def __init__(self, client, sandbox):
        self.client, self.sandbox = client, sandbox
        self.path = f"/api/sandboxes/{sandbox}"

    def call(self, method, rest, body=None):
        """The answer of a call that succeeds."""
        status, answer = product.call(method, self.path + rest, body, self.client.key)
        assert status == 200, f"{rest} answered {status}: {answer}"
        return answer

    def send(self, method, rest, content=None):
        """The same with bytes in both directions."""
        connection = http.client.HTTPConnection("127.0.0.1", product.PORT, timeout=wire.SILENCE)
        with contextlib.closing(connection):
            connection.request(method, self.path + rest, content, {"X-API-Key": self.client.key})
            answer = connection.getresponse()
            read = answer.read()
        assert answer.status == 200, f"{rest} answered {answer.status}: {read[:500]}"
        return read

    def runs_commands(self):
        """One to its end, with both streams and a status. Its files are the agent's, not the sandbox's."""
        data = self.client.exec(self.sandbox, f"ls {SUITE}; echo err >&2; exit 3")
        assert (data["stdout"], data["stderr"], data["exitCode"]) == (f"{SUITE}\n", "err\n", 3), data

    def streams(self):
        """A command's output comes as events, then its end."""
        events = wire.Events(self.client, f"{self.path}/exec-stream", {"command": "seq 20000; exit 4"})
        *output, last = events
        text = "".join(data for name, data, _ in output if name == "stdout")
        assert text.split() == [str(number) for number in range(1, 20001)], text[-100:]
        assert last[0] == "exit" and json.loads(last[1])["exitCode"] == 4, last

    def moves_files(self):
        """What goes up comes down."""
        content = random.Random(1).randbytes(FILE)
        self.send("POST", "/files/upload?path=/tmp/over-vsock", content)
        assert self.send("GET", "/files/download?path=/tmp/over-vsock") == content
        told = self.client.exec(self.sandbox, "sha256sum </tmp/over-vsock; rm /tmp/over-vsock")
        assert told["stdout"].split()[0] == hashlib.sha256(content).hexdigest(), told

    def has_terminals(self):
        """A shell that answers what is typed."""
        session = self.call("POST", "/pty/sessions", {})["data"]["sessionId"]
        terminal = wire.Terminal(self.client, f"{self.path}/pty/sessions/{session}")
        terminal.send("echo $((6*7)); tty\n")
        terminal.read_until("/dev/pts/")
        terminal.close()
        self.call("DELETE", f"/pty/sessions/{session}")

    def kills(self):
        """When a kill is answered, nothing of the command lives."""
        pid = self.call("POST", "/commands/run", {"command": f"sleep {SECONDS} & exec sleep {SECONDS}"})["pid"]
        product.eventually("both processes run", lambda: len(sleepers()) == 2)
        assert self.call("POST", "/commands/kill", {"pid": pid})["success"]
        assert not sleepers()

    def works(self):
        """All of it."""
        self.runs_commands()
        self.streams()
        self.moves_files()
        self.has_terminals()
        self.kills()


def sleepers():
    """Processes of the command that only a kill ends."""
    return [pid for pid in product.parents() if product.words(pid)[:2] == ["sleep", SECONDS]]


class Vsock:
    """Cases of the suite."""

    def agent_over_vsock(self):
        """the agent serves over AF_VSOCK as over its unix socket: commands, streams, files, a terminal"""
        subprocess.run(["modprobe", "vsock_loopback"], check=True)
        done = subprocess.run(
            [SUITE, "--exact", "--test-threads=2", *TESTS],
            capture_output=True, text=True, timeout=100, check=False, env=environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"test result: ok. {len(TESTS)} passed" in done.stdout, done.stdout

    def gateway_over_vsock(self):
        """a gateway serves a sandbox whose agent is on AF_VSOCK: exec, stream, files, terminal, kill; only one that may"""
        before, server = residue.census(product.STATE), product.Server()
        server.start()
        client = product.Client()
        sandbox = client.create(name="machine", limits={"memoryMiB": 64, "pids": 32, "cpus": 0.5})
        with lent_agent() as address:
            lead_to(sandbox, address)
            path = f"/api/sandboxes/{sandbox}/exec"
            status, answer = product.call("POST", path, {"command": "true"}, client.key)
            assert status == 502, f"a gateway with unix sockets alone answered {status}: {answer}"
            assert server.stop() == 0
            server.arguments += ["--vsock-agents", "on"]
            server.start()
            machine = Machine(client, sandbox)
            product.eventually("the agent is greeted", lambda: client.works(sandbox))
            machine.works()
            server.kill_half("gateway")
            product.eventually("the next gateway finds it", lambda: client.works(sandbox))
            machine.streams()
            client.delete(sandbox)
            assert not list(AGENTS.iterdir()), list(AGENTS.iterdir())
        assert server.stop() == 0
        product.purge()
        product.eventually("nothing is left", lambda: not residue.difference(before, residue.census(product.STATE)))
