"""What goes wrong arrives as the SDK's own exceptions, with our words in them."""
from voidrun import VoidRun

vr = VoidRun()
sandbox = vr.create_sandbox(name="sdk-errors")


def raises(what, function, *args, **more):
    try:
        result = function(*args, **more)
    except Exception as e:
        return e
    raise AssertionError(f"{what}: no exception but {result!r}")


raises("an unknown image", vr.create_sandbox, name="x", image="nosuch")
raises("a bad name", vr.create_sandbox, name="Not A Name")
raises("too much memory", vr.create_sandbox, name="x", mem=1 << 30)
raises("an empty command", sandbox.exec, "")
raises("an unknown sandbox", vr.get_sandbox, "a" * 30)
raises("a wrong key", VoidRun(api_key="bh_wrong").create_sandbox, name="x")
assert sandbox.exec("exit 7").data.exit_code == 7, "a failing command is no exception"
sandbox.remove()
raises("a removed sandbox", sandbox.exec, "true")
print("errors: done")
