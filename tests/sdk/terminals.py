"""pty.*: sessions, prompt, run_command, resize, replay, several at once, delete; and terminals of one connection."""
import asyncio

from voidrun import VoidRun

vr = VoidRun()


async def connect(sandbox, **more):
    data, closed = [], []
    terminal = await sandbox.pty.connect(on_data=data.append, on_close=lambda: closed.append(True), **more)
    return terminal, data, closed


def plain(text):
    """Without the shell's word to the terminal that a paste may come or not."""
    return text.replace("\x1b[?2004h", "").replace("\x1b[?2004l\r", "")


async def until(what, look):
    for _ in range(200):
        if look():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what} did not come")


async def sessions(sandbox):
    assert sandbox.pty.list().data.sessions == []
    made = sandbox.pty.create_session().data.data
    assert made.session_id and made.created_at, made
    sid = made.session_id
    rows = sandbox.pty.list().data.sessions
    assert [(row.id, row.clients, row.alive) for row in rows] == [(sid, 0, True)], rows

    terminal, data, _ = await connect(sandbox, session_id=sid)
    assert "".join(data).endswith("# "), f"no prompt within 500 ms: {data}"
    assert sandbox.pty.list().data.sessions[0].clients == 1
    out = plain(await terminal.run_command("echo $((6*7)); tty; stty size; whoami; echo $SHELL $TERM"))
    assert "\r\n42\r\n/dev/pts/" in out and "24 80\r\nroot\r\n/bin/bash xterm" in out, out
    assert out.endswith("# "), out
    await terminal.resize(100, 40)
    assert "40 100" in await terminal.run_command("stty size")
    before = len(data)
    terminal.send_input("echo typed-$((1+1))\n")
    await until("what was typed", lambda: "typed-2" in "".join(data[before:]))
    await terminal.run_command("cd /tmp; A=kept")
    await terminal.close()

    again, data, _ = await connect(sandbox, session_id=sid)
    assert "42" in "".join(data) and "typed-2" in "".join(data), data
    assert "\r\nkept /tmp\r\n" in plain(await again.run_command("echo $A $PWD"))

    other_sid = sandbox.pty.create_session(cols=120, rows=30).data.data.session_id
    other, _, _ = await connect(sandbox, session_id=other_sid)
    assert "\r\n[] 30 120\r\n" in plain(await other.run_command('echo "[$A]" $(stty size)'))
    assert {row.id for row in sandbox.pty.list().data.sessions} == {sid, other_sid}
    both = await asyncio.gather(again.run_command("sleep 0.5; echo o''ne"), other.run_command("sleep 0.5; echo t''wo"))
    assert "one" in both[0] and "two" in both[1], both
    await other.close()
    sandbox.pty.delete_session(other_sid)

    mirror, seen, closed = await connect(sandbox, session_id=sid)
    await again.run_command("echo se''en-by-both")
    await until("the other's output", lambda: "seen-by-both" in "".join(seen))
    sandbox.pty.delete_session(sid)
    await until("the close", lambda: closed)
    await mirror.close()
    await again.close()
    assert sandbox.pty.list().data.sessions == []


async def ephemeral(sandbox):
    terminal, data, closed = await connect(sandbox)
    assert "".join(data).endswith("# "), data
    out = await terminal.run_command("echo ephem$((1+1)); ls / | head -n 2")
    assert "ephem2" in out, out
    assert sandbox.pty.list().data.sessions == [], "it is no session"
    await terminal.run_command("(setsid sleep 40404 &)")
    await terminal.close()
    for _ in range(100):
        if "sleep 40404" not in sandbox.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").data.stdout:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("a descendant of a closed terminal lives")
    terminal, data, closed = await connect(sandbox)
    terminal.send_input("exit\n")
    await until("the close after the shell's exit", lambda: closed)
    await terminal.close()


async def errors(sandbox):
    for wrong in ("sess-0000000000000000", "x"):
        try:
            await sandbox.pty.connect(session_id=wrong)
        except Exception as e:
            assert e.response.status_code == 404, e
        else:
            raise AssertionError("an unknown session was opened")
        try:
            sandbox.pty.delete_session(wrong)
        except Exception as e:
            assert e.status == 404, e
        else:
            raise AssertionError("an unknown session was deleted")


async def main():
    sandbox = vr.create_sandbox(name="sdk-tty")
    await sessions(sandbox)
    await ephemeral(sandbox)
    await errors(sandbox)
    sandbox.remove()
    print("terminals: done")


asyncio.run(main())
