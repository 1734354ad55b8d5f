"""exec_stream: what comes, in which order, and when; how it ends; what goes wrong."""
import time

import httpx
from voidrun import VoidRun

vr = VoidRun()
sandbox = vr.create_sandbox(name="sdk-streams", env_vars={"GIVEN": "sandbox"})


def stream(command, **more):
    """The texts of both streams, all events with their times, and the ends."""
    events, ends = [], []
    sandbox.exec_stream(
        command,
        on_stdout=lambda data: events.append(("out", data, time.monotonic())),
        on_stderr=lambda data: events.append(("err", data, time.monotonic())),
        on_exit=ends.append,
        **more,
    )
    assert len(ends) == 1, ends
    text = {name: "".join(data for kind, data, _ in events if kind == name) for name in ("out", "err")}
    return text["out"], text["err"], events, ends[0]


# A loop of one line per second arrives as it is printed.
start = time.monotonic()
out, err, events, end = stream("for i in 1 2 3 4; do echo line $i; sleep 1; done; exit 4")
assert out == "line 1\nline 2\nline 3\nline 4\n", out
assert end["exitCode"] == 4, end
stamps = [stamp - start for _, _, stamp in events]
assert len(events) == 4, events
assert all(later - earlier > 0.7 for earlier, later in zip(stamps, stamps[1:])), stamps
assert stamps[0] < 0.9, stamps

# Both streams, in their order.
out, err, events, end = stream("echo a; sleep 0.3; echo b >&2; sleep 0.3; echo c; exit 0")
assert [(kind, data) for kind, data, _ in events] == [("out", "a\n"), ("err", "b\n"), ("out", "c\n")], events
assert end["exitCode"] == 0, end

# Text of all sorts. The SDK itself trims each line.
assert stream("printf 'h\\303\\251 \\360\\237\\230\\200\\n'")[0] == "h\u00e9 \U0001f600\n"
assert stream("printf 'a\\rb\\r\\nc\\vd\\fe\\xe2\\x80\\xa8f\\n'")[0] == "a\nb\nc\nd\ne\nf\n", "nothing is lost at a separator"
assert stream("printf '\"quoted\"\\n'")[0] == '"quoted"\n'
assert stream("printf 'data:x\\nevent:exit\\n\\n'; exit 3")[3]["exitCode"] == 3
assert stream("seq 50000")[0] == "".join(f"{n}\n" for n in range(1, 50001))
assert stream("true")[:3] == ("", "", [])

# The fields of exec.
out = stream("echo $GIVEN $CALL; pwd", env={"CALL": "call"}, cwd="/tmp")[0]
assert out == "sandbox call\n/tmp\n", out
start = time.monotonic()
out, _, _, end = stream("echo before; sleep 60", timeout=1)
assert (out, end["exitCode"]) == ("before\n", 124), (out, end)
assert time.monotonic() - start < 5
assert stream("kill -9 $$")[3]["exitCode"] == 137

# What never starts is an HTTP error, for the handler or raised.
errors = []
sandbox.exec_stream("   ", on_error=errors.append)
assert len(errors) == 1 and errors[0].response.status_code == 400, errors
try:
    sandbox.exec_stream("true", cwd="/no/such")
except httpx.HTTPStatusError as e:
    assert e.response.status_code == 400, e
else:
    raise AssertionError("a missing directory raised nothing")
sandbox.remove()
errors = []
sandbox.exec_stream("true", on_error=errors.append)
assert len(errors) == 1 and errors[0].response.status_code == 404, errors
print("streams: done")
