"""fs.*: every wrapper of the synchronous client, those of the asynchronous one, and a watch."""
import asyncio
import inspect
import json
import os
import tempfile

from voidrun import AsyncVoidRun, VoidRun
from voidrun.api_client.exceptions import ApiException


async def settled(value):
    """The SDK answers some calls at once and others by a coroutine."""
    return await value if inspect.isawaitable(value) else value


def refused(status, call, *args):
    try:
        call(*args)
    except ApiException as e:
        assert e.status == status and json.loads(e.body)["error"], (e.status, e.body)
    else:
        raise AssertionError(f"{call.__name__}{args} was not refused")


def out(response):
    data = response.data.data
    assert (data.exit_code, data.stderr) == (0, ""), data
    return data.stdout


def every_call(sandbox):
    fs = sandbox.fs
    assert out(fs.create_directory("/tmp/fs-e2e/deep")) == ""
    out(fs.create_file("/tmp/fs-e2e/empty.txt"))
    said = fs.upload_file("/tmp/fs-e2e/hello.txt", "caf\u00e9\nline 2\n")
    assert json.loads(said.data["message"])["status"] == "success", said.data
    content = bytes(range(256)) * 4096
    fs.upload_file("/tmp/fs-e2e/deep/bytes", content)
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(content)
    fs.upload_file_from_path("/tmp/fs-e2e/deep/from-path", file.name)
    os.unlink(file.name)
    assert bytes(fs.download_file("/tmp/fs-e2e/deep/bytes")) == content
    rows = {row.name: row for row in fs.list_files("/tmp/fs-e2e").data}
    assert set(rows) == {"deep", "empty.txt", "hello.txt"}, rows
    assert rows["deep"].is_dir and rows["hello.txt"].size == 13 and rows["hello.txt"].mode == "0644", rows
    assert rows["hello.txt"].path == "/tmp/fs-e2e/hello.txt" and rows["hello.txt"].mod_time, rows

    stat = json.loads(out(fs.stat_file("/tmp/fs-e2e/hello.txt")))
    assert (stat["size"], stat["type"], stat["mode"]) == (13, "regular file", "81a4"), stat
    out(fs.change_permissions("/tmp/fs-e2e/hello.txt", "600"))
    assert json.loads(out(fs.stat_file("/tmp/fs-e2e/hello.txt")))["mode"] == "8180"
    assert out(fs.head_tail("/tmp/fs-e2e/hello.txt", lines=1, head=True)) == "caf\u00e9\n"
    assert out(fs.head_tail("/tmp/fs-e2e/hello.txt", lines=1, head=False)) == "line 2\n"
    out(fs.copy_file("/tmp/fs-e2e/hello.txt", "/tmp/fs-e2e/copy.txt"))
    out(fs.move_file("/tmp/fs-e2e/copy.txt", "/tmp/fs-e2e/moved.txt"))
    found = out(fs.search_files("/tmp/fs-e2e", "*.txt")).splitlines()
    assert found == [f"/tmp/fs-e2e/{name}.txt" for name in ("empty", "hello", "moved")], found
    size, path = out(fs.disk_usage("/tmp/fs-e2e")).rstrip("\n").split("\t")
    assert size[-1] in "KMG" and float(size[:-1]) > 0 and path == "/tmp/fs-e2e", size

    for form in ("tar", "tar.gz", "tar.bz2", "zip"):
        out(fs.compress_file("/tmp/fs-e2e", form))
        out(fs.extract_archive(f"/tmp/fs-e2e.{form}", f"/tmp/out-{form}"))
        assert bytes(fs.download_file(f"/tmp/out-{form}/fs-e2e/deep/bytes")) == content, form
    out(fs.compress_file("/tmp/fs-e2e"))
    out(fs.extract_archive("/tmp/fs-e2e.tar.gz", "/tmp/fs-e2e/extracted"))

    refused(404, fs.stat_file, "/tmp/none")
    refused(404, fs.download_file, "/tmp/none")
    refused(404, fs.copy_file, "/tmp/none", "/tmp/x")
    refused(400, fs.download_file, "/tmp")
    refused(400, fs.change_permissions, "/tmp/fs-e2e", "u+x")
    out(fs.delete_file("/tmp/fs-e2e"))
    out(fs.delete_file("/tmp/fs-e2e"))
    assert fs.list_files("/tmp/out-tar").data[0].name == "fs-e2e"


async def asynchronous(sandbox):
    fs = sandbox.fs
    await settled(fs.create_directory("/tmp/a"))
    await fs.upload_file_async("/tmp/a/f", "text")
    assert bytes(await fs.download_file_async("/tmp/a/f")) == b"text"
    assert [row.name for row in (await fs.list_files_async("/tmp/a")).data] == ["f"]
    for call, args in [
        (fs.create_file, ["/tmp/a/g"]), (fs.copy_file, ["/tmp/a/f", "/tmp/a/c"]),
        (fs.move_file, ["/tmp/a/c", "/tmp/a/m"]), (fs.stat_file, ["/tmp/a/m"]),
        (fs.head_tail, ["/tmp/a/m"]), (fs.change_permissions, ["/tmp/a/m", "0644"]),
        (fs.disk_usage, ["/tmp/a"]), (fs.search_files, ["/tmp/a", "m"]),
        (fs.compress_file, ["/tmp/a"]), (fs.extract_archive, ["/tmp/a.tar.gz", "/tmp/b"]),
        (fs.delete_file, ["/tmp/a"]),
    ]:
        out(await settled(call(*args)))
    assert bytes(await fs.download_file_async("/tmp/b/a/m")) == b"text"


async def watched(sandbox):
    await asyncio.to_thread(sandbox.exec, "mkdir -p /tmp/w")
    events, errors = [], []
    watcher = await sandbox.fs.watch("/tmp/w", on_event=events.append, on_error=errors.append)
    await asyncio.to_thread(sandbox.exec, "cd /tmp/w; mkdir d; echo x > d/f; mv d/f g; chmod 600 g; rm g")
    wanted = {"created", "modified", "renamed", "chmod", "deleted"}
    for _ in range(100):
        if wanted <= {event["type"] for event in events}:
            break
        await asyncio.sleep(0.05)
    assert wanted <= {event["type"] for event in events} and not errors, (events, errors)
    assert {"type", "path", "timestamp"} <= set(events[0]), events
    watcher.close()
    await asyncio.sleep(0.2)


async def main():
    vr = AsyncVoidRun()
    sandbox = await settled(vr.create_sandbox(name="test-files-async"))
    try:
        await asynchronous(sandbox)
        await watched(sandbox)
    finally:
        await sandbox.remove_async()


vr = VoidRun()
sandbox = vr.create_sandbox(name="test-files")
try:
    every_call(sandbox)
finally:
    sandbox.remove()
asyncio.run(main())
print("files: ok")
