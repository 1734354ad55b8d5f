"""What a user of the SDK does, with the package `voidrun` as the index has it: run by the suite with a key and a port."""
import asyncio
import os
import sys

sys.path.insert(0, "/payload/site")
os.environ["VR_API_KEY"] = sys.argv[1]
os.environ["VR_API_URL"] = f"http://127.0.0.1:{sys.argv[2]}/api"

from voidrun import VoidRun  # noqa: E402  (needs the variables)


async def terminal(sandbox):
    """A line typed in a terminal is answered."""
    data = []
    opened = await sandbox.pty.connect(on_data=data.append)
    out = await opened.run_command("echo ty''ped-$((1+1))")
    assert "typed-2" in out, out
    await opened.close()


def main():
    sandbox = VoidRun().create_sandbox(name="sdk")
    result = sandbox.exec("echo out; exit 3").data
    assert (result.stdout, result.exit_code) == ("out\n", 3), result
    asyncio.run(terminal(sandbox))
    sandbox.remove()
    print("done")


main()
