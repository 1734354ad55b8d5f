"""run_code: the short form, the long one by a here-document, and code that is wrong."""
from voidrun import VoidRun

vr = VoidRun()
sandbox = vr.create_sandbox(name="test-runcode")
has_node = sandbox.exec("command -v node").data.exit_code == 0


def good(code, language, results, **more):
    r = sandbox.run_code(code, language=language, **more)
    assert r.success and r.exit_code == 0 and r.error is None, r
    assert r.results == results, r
    return r


good("print(6*7)", "python", 42)
good("import json\nprint('first')\nprint(json.dumps({'a': [1, \"it's\"]}))", "python", {"a": [1, "it's"]})
good("for i in range(3):\n    if i:\n        print(i)\n\nprint('end')", "python", "end")
long_code = "\n\n".join(f"def f{n}(x):\n    return x + {n}" for n in range(200)) + "\n\nprint(f199(1))"
assert len(long_code) > 1000
good(long_code, "python", 200)
good("import os\n\nprint(os.environ['A'], os.getcwd())", "python", "x /tmp", env={"A": "x"}, cwd="/tmp")

good("echo $((6*7))", "bash", 42)
good("set -e\n\nfor i in 1 2; do\n  echo \"$i\"\ndone\n" + "# long\n" * 300 + "echo 'last one'", "bash", "last one")
good("a=(1 2 3)\necho ${#a[@]}", "sh", 3)

if has_node:
    good("console.log(6*7)", "javascript", 42)
    good("const f = (x) => `${x}'s`;\n\nconsole.log(f('it'));", "javascript", "it's")
    good("// long\n" * 300 + "console.log(JSON.stringify({a: 1}))", "node", {"a": 1})
    r = sandbox.run_code("throw new Error('boom')", language="javascript")
    assert not r.success and "boom" in r.error, r

for wrong in ("if True:\nprint(1)", "def f():\n    return 1\n\n  print(2)"):
    r = sandbox.run_code(wrong)
    assert not r.success and r.exit_code == 1 and "IndentationError" in r.error, r
r = sandbox.run_code("import sys; print('out'); sys.exit(3)")
assert (r.success, r.exit_code, r.stdout) == (False, 3, "out\n"), r
r = sandbox.run_code("exit 9", language="bash")
assert (r.success, r.exit_code) == (False, 9), r
r = sandbox.run_code("import time\nprint('early', flush=True)\ntime.sleep(60)", timeout=1)
assert (r.success, r.exit_code, r.stdout) == (False, 124, "early\n"), r
assert sandbox.interpreter.run_code("print(1)").results == 1
sandbox.remove()
print("run_code: done" if has_node else "run_code: done, without node")
