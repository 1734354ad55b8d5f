"""The agent on a socket of a virtual machine's family: the same program, handed another listening socket."""
import os
import subprocess

import product

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


class Vsock:
    """A case of the suite."""

    def agent_over_vsock(self):
        """the agent serves over AF_VSOCK as over its unix socket: commands, streams, files, a terminal"""
        subprocess.run(["modprobe", "vsock_loopback"], check=True)
        environment = {
            **os.environ,
            "BULKHEAD_AGENT_TRANSPORT": "vsock",
            "BULKHEAD_AGENT_PROGRAM": os.path.join(os.path.dirname(product.BIN), "bulkhead-agent"),
        }
        done = subprocess.run(
            [SUITE, "--exact", "--test-threads=2", *TESTS],
            capture_output=True, text=True, timeout=100, check=False, env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"test result: ok. {len(TESTS)} passed" in done.stdout, done.stdout
