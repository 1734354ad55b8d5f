"""run_code of TypeScript, which the built image `code` can run: the short form, the long one, and an exception."""
from voidrun import VoidRun

sandbox = VoidRun().create_sandbox(name="test-typescript")


def good(code, results):
    r = sandbox.run_code(code, language="typescript")
    assert r.success and r.exit_code == 0 and r.error is None and r.results == results, r


good("const x: number = 6*7; console.log(x)", 42)
good("interface P { a: number }\n\nconst p: P = {a: 1};\nconsole.log(JSON.stringify(p));", {"a": 1})
good("// long\n" * 300 + "enum E { A = 7 }\nconsole.log(E.A)", 7)
r = sandbox.run_code("throw new Error('boom')", language="typescript")
assert not r.success and r.exit_code == 1 and "boom" in r.error, r
sandbox.remove()
print("typescript: done")
