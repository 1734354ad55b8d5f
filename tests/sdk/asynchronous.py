"""The same calls through AsyncVoidRun: exec, run_code, commands.*_async, pty.*_async."""
import asyncio
import inspect
import time

from voidrun import AsyncVoidRun


async def settled(value):
    """The SDK answers some calls at once and others by a coroutine."""
    return await value if inspect.isawaitable(value) else value


async def commands(sandbox):
    assert (await sandbox.commands.list_async()).data == []
    run = (await sandbox.commands.run_async("echo one; sleep 1; echo two; exit 5")).data
    assert [p.pid for p in (await sandbox.commands.list_async()).data] == [run.pid]
    out, ends = [], []
    connect = asyncio.to_thread(sandbox.commands.connect, run.pid, on_stdout=out.append, on_exit=ends.append)
    _, waited = await asyncio.gather(connect, sandbox.commands.wait_async(run.pid))
    assert ("".join(out), ends[0]["exitCode"], waited.data.exit_code) == ("one\ntwo\n", 5, 5), (out, ends, waited)
    run = (await sandbox.commands.run_async("sleep 100", env={"A": "x"}, cwd="/tmp", timeout=100)).data
    assert (await sandbox.commands.kill_async(run.pid)).data.success
    assert (await sandbox.commands.list_async()).data == []


async def streams(sandbox):
    out, ends = [], []
    start = time.monotonic()
    stream = lambda n: asyncio.to_thread(
        sandbox.exec_stream, f"echo {n}; sleep 1; exit {n}", on_stdout=out.append, on_exit=ends.append)
    await asyncio.gather(*(stream(n) for n in range(5)))
    assert sorted(out) == [f"{n}\n" for n in range(5)], out
    assert sorted(end["exitCode"] for end in ends) == list(range(5)), ends
    assert time.monotonic() - start < 5, "beside each other"


async def code(sandbox):
    r = await sandbox.run_code_async("print(6*7)")
    assert r.success and r.results == 42, r
    r = await sandbox.interpreter.run_code_async("echo $((1+1))", language="bash")
    assert r.results == 2, r
    r = await sandbox.run_code_async("if True:\nprint(1)")
    assert not r.success, r


async def terminals(sandbox):
    assert (await sandbox.pty.list_async()).data.sessions == []
    sid = (await sandbox.pty.create_session_async(cols=90, rows=20)).data.data.session_id
    data = []
    terminal = await sandbox.pty.connect(session_id=sid, on_data=data.append)
    assert "".join(data).endswith("# "), data
    assert "20 90" in await terminal.run_command("stty size")
    await terminal.close()
    assert [row.id for row in (await sandbox.pty.list_async()).data.sessions] == [sid]
    await sandbox.pty.delete_session_async(sid)
    assert (await sandbox.pty.list_async()).data.sessions == []


async def main():
    vr = AsyncVoidRun()
    sandbox = await settled(vr.create_sandbox(name="sdk-async"))
    for part in (commands, streams, code, terminals):
        await part(sandbox)
    await sandbox.remove_async()
    print("asynchronous: done")


asyncio.run(main())
