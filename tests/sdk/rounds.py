"""Create, exec, remove, as often as the argument says."""
import sys
import time

from voidrun import VoidRun

vr = VoidRun()
start = time.monotonic()
for n in range(int(sys.argv[1])):
    sandbox = vr.create_sandbox(name=f"round-{n}")
    r = sandbox.exec(f"echo {n}; (setsid sleep 100 >/dev/null 2>&1 &); exit {n % 100}").data
    assert (r.stdout, r.exit_code) == (f"{n}\n", n % 100), r
    sandbox.remove()
took = time.monotonic() - start
print(f"rounds: {sys.argv[1]} in {took:.1f} s")
