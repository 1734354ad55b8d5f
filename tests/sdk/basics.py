"""What a user does first: create, exec (env, cwd, timeout), get, list, remove."""
import time

from voidrun import VoidRun

vr = VoidRun()
one = vr.create_sandbox(name="sdk-one", labels={"suite": "sdk"})
two = vr.create_sandbox(name="sdk-two", cpu=2, mem=2048, env_vars={"GIVEN": "sandbox"})
assert one.id and one.id != two.id
assert (two.name, two.cpu, two.mem) == ("sdk-two", 2, 2048), two

r = one.exec("echo out; echo err >&2; pwd; id -u; exit 3").data
assert (r.stdout, r.stderr, r.exit_code) == ("out\n/root\n0\n", "err\n", 3), r
r = two.exec("echo $GIVEN $CALL; pwd", env={"CALL": "call"}, cwd="/tmp").data
assert (r.stdout, r.exit_code) == ("sandbox call\n/tmp\n", 0), r
r = one.exec("printf 'h\\303\\251 \\377'; python3 -c 'print(6*7)'").data
assert r.stdout == "h\u00e9 \ufffd42\n", r
start = time.monotonic()
r = one.exec("echo before; sleep 60", timeout=1).data
assert (r.stdout, r.exit_code) == ("before\n", 124), r
assert time.monotonic() - start < 5

assert vr.get_sandbox(one.id).name == "sdk-one"
listed = vr.list_sandboxes()
rows = listed.sandboxes
assert (listed.meta.total, listed.meta.page, listed.meta.total_pages) == (2, 1, 1), listed.meta
assert {s.id for s in rows} >= {one.id, two.id}, rows
assert [s.name for s in rows][:2] == ["sdk-two", "sdk-one"], "newest first"

assert [s.id for s in vr.list_sandboxes(labels={"suite": "sdk"}).sandboxes] == [one.id]
one.remove()
two.remove()
assert vr.list_sandboxes().sandboxes == []
print("basics: done")
