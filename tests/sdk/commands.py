"""commands.run, list, kill, wait, connect."""
import threading
import time

from voidrun import VoidRun

vr = VoidRun()
sandbox = vr.create_sandbox(name="test-commands")
commands = sandbox.commands


def attach(pid):
    out, err, ends = [], [], []
    commands.connect(pid, on_stdout=out.append, on_stderr=err.append, on_exit=ends.append)
    assert len(ends) == 1, ends
    return "".join(out), "".join(err), ends[0]["exitCode"]


def raises(function, *args):
    try:
        function(*args)
    except Exception as e:
        return e
    raise AssertionError(f"{function} raised nothing")


# A fresh sandbox lists nothing, also after a while and after a short command.
assert commands.list().data == []
time.sleep(3)
assert commands.list().data == []
short = commands.run("echo hello").data
assert short.success and short.pid > 0 and short.command == "echo hello", short
time.sleep(2)
assert commands.list().data == []

# Right after run it is there; right after kill it is not.
run = commands.run("sleep 100").data
rows = commands.list().data
assert [(p.pid, p.command, p.running) for p in rows] == [(run.pid, "sleep 100", True)], rows
assert rows[0].start_time and rows[0].exit_code is None, rows
killed = commands.kill(run.pid).data
assert killed.success and killed.message, killed
assert commands.list().data == []
assert commands.wait(run.pid).data.exit_code == 137
assert commands.kill(run.pid).data.success, "once more is a success"

# Attach: replay, then live, then the end; and again after the end.
run = commands.run("echo one; echo warn >&2; sleep 1; echo two; exit 5").data
assert attach(run.pid) == ("one\ntwo\n", "warn\n", 5)
assert attach(run.pid) == ("one\ntwo\n", "warn\n", 5)
assert commands.wait(run.pid).data.exit_code == 5
run = commands.run("for i in 1 2 3 4 5; do echo $i; sleep 0.2; done").data
results = []
threads = [threading.Thread(target=lambda: results.append(attach(run.pid))) for _ in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
assert results == [("1\n2\n3\n4\n5\n", "", 0)] * 4, results

# Wait on what has just ended, and on what runs.
for code in (0, 1, 42):
    run = commands.run(f"exit {code}").data
    assert commands.wait(run.pid).data.exit_code == code
start = time.monotonic()
run = commands.run("sleep 2; exit 3").data
assert time.monotonic() - start < 1
assert commands.wait(run.pid).data.exit_code == 3
assert time.monotonic() - start > 1.8
run = commands.run("sleep 60", timeout=1).data
assert commands.wait(run.pid).data.exit_code == 124

# Fields, and several at once.
run = commands.run("echo $A; pwd", env={"A": "x"}, cwd="/tmp").data
assert attach(run.pid)[0] == "x\n/tmp\n"
many = [commands.run(f"sleep {100 + n}").data.pid for n in range(5)]
assert [p.pid for p in commands.list().data] == many
for pid in many:
    commands.kill(pid)
assert commands.list().data == []

# What is wrong.
assert raises(commands.run, "").status == 400
for function in (commands.wait, commands.kill):
    assert raises(function, 999999999).status == 404
assert raises(commands.connect, 999999999).response.status_code == 404
errors = []
commands.connect(999999999, on_error=errors.append)
assert len(errors) == 1, errors
sandbox.remove()
print("commands: done")
