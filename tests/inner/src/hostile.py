# The agent of a hostile sandbox: does what the sandbox's name says at its start and what the first line of a script
# says later. Everything else it does as an honest agent would, so that one sandbox can serve as its own neighbour.
import contextlib, io, signal, subprocess, time, traceback, zlib

LISTEN_FD, CGROUP_FD, OOM_FD, USAGE_FD, STAT_FD, MEMINFO_FD, CURRENT_FD = range(3, 10)
STARTED, STDOUT, STDERR, GAP, ENDED, INPUT = 1, 2, 3, 4, 5, 6
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
NAME = socket.gethostname()
listener = socket.socket(fileno=LISTEN_FD)
listener.setblocking(True)
# Those whose first process does everything itself; for others it forks, since the kernel gives it no threads.
ALONE = ("exits", "leaves", "freezes", "sockets", "groups", "rights", "keeps", "writes")


def frame(kind, payload=b""):
    return bytes([kind]) + struct.pack(">I", len(payload)) + payload


def ended(**end):
    usage = {"cpu_ms": 1, "wall_ms": 1, "peak_memory_bytes": None}
    usage.update(end.pop("usage", {}))
    return frame(ENDED, json.dumps({"end": end, "usage": usage, "output_open": False}).encode())


def reply(s, body, status=b"200 OK", more=b""):
    s.sendall(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n" + more +
              b"Content-Length: %d\r\n\r\n" % len(body) + body)


def stall(s):
    while s.recv(65536):
        pass


def endless(s, first, then, pause=0.0):
    s.sendall(first)
    while True:
        s.sendall(then)
        time.sleep(pause)


def request(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == b"content-length":
            length = int(value)
    if b"/stdin" in head and NAME.startswith("unread"):
        stall_without_reading(s)
    while len(body) < length:
        more = s.recv(65536)
        if not more:
            return None
        body += more
    method, target = head.split(b" ")[:2]
    return method.decode(), target.decode(), body


def stall_without_reading(s):
    time.sleep(600)


HELLOS = {
    "mute": lambda s, h: stall(s),
    "half-head": lambda s, h: (s.sendall(b"HTTP/1.1 200 OK\r\nContent-"), stall(s)),
    "half-body": lambda s, h: (s.sendall(OK + b"Content-Length: 99\r\n\r\n{"), stall(s)),
    "slow": lambda s, h: endless(s, OK + b"Content-Length: 999\r\n\r\n", b" ", 0.5),
    "liar": lambda s, h: reply(s, json.dumps({**h, "nonce": "another"}).encode()),
    "old": lambda s, h: reply(s, json.dumps({**h, "protocol": 0}).encode()),
    "new": lambda s, h: reply(s, json.dumps({**h, "protocol": 4294967295}).encode()),
    "unversioned": lambda s, h: reply(s, json.dumps({"nonce": h["nonce"]}).encode()),
    "more": lambda s, h: reply(s, json.dumps({**h, "capabilities": -1}).encode()),
    "twice": lambda s, h: reply(s, (json.dumps(h)[:-1] + ',"protocol":1}').encode()),
    "http2": lambda s, h: (s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), stall(s)),
    "switch": lambda s, h: (s.sendall(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), stall(s)),
    "zip": lambda s, h: reply(s, zlib.compress(json.dumps(h).encode(), wbits=31), more=b"Content-Encoding: gzip\r\n"),
    "bytes": lambda s, h: reply(s, b"\xff\xfe" + json.dumps(h).encode()),
    "exits": lambda s, h: os._exit(0),
    "closes": lambda s, h: None,
}

# Answers of the whole exchange, by the name in the first line of a script.
HEADS = {
    "never": stall,
    "head": lambda s: (s.sendall(b"HTTP/1.1 200 OK\r\nContent-"), stall(s)),
    "no frame": lambda s: (s.sendall(OK + b"\r\n"), stall(s)),
    "half a header": lambda s: (s.sendall(OK + b"\r\n\x01\0"), stall(s)),
    "half a frame": lambda s: (s.sendall(OK + b"\r\n" + frame(STARTED, b'{"handle":1}')[:9]), stall(s)),
    "headers": lambda s: endless(s, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000),
    "header line": lambda s: endless(s, b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    "status line": lambda s: endless(s, b"HTTP/1.1 200 ", b"x" * 65536),
    "early hints": lambda s: endless(s, b"", b"HTTP/1.1 103 E\r\nx: y\r\n\r\n" * 100),
    "blank lines": lambda s: endless(s, b"", b"\r\n" * 10000),
    "chunk size": lambda s: endless(s, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"f" * 100),
    "chunk extension": lambda s: endless(s, OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "trailers": lambda s: endless(s, OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 1000),
    "one byte chunks": lambda s: endless(s, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n\0\r\n" * 5000),
    "two lengths": lambda s: (s.sendall(OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n"), stall(s)),
    "negative length": lambda s: (s.sendall(OK + b"Content-Length: -1\r\n\r\n"), stall(s)),
    "refusal": lambda s: endless(s, b"HTTP/1.1 422 X\r\n\r\n", b" " * 65536),
    "refusal text": lambda s: reply(s, b'{"kind":"\\u001b[31mforged\\r\\nX-Forged: 1","errno":1}', b"422 F"),
    "reason": lambda s: reply(s, b"forged", b"500 forged\x1b[31m\tX-Forged: 1", b"X-Forged: 1\r\nSet-Cookie: forged=1\r\n"),
    "redirect": lambda s: reply(s, b"", b"302 F", b"Location: http://127.0.0.1/forged\r\n"),
    "bare CR": lambda s: (s.sendall(b"HTTP/1.1 200 OK\rX-Forged: 1\r\n\r\n"), stall(s)),
    "NUL": lambda s: (s.sendall(b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n"), stall(s)),
    "zip": lambda s: (s.sendall(OK + b"Content-Encoding: gzip\r\n\r\n" + zlib.compress(bytes(64 << 20), 9, 31)), stall(s)),
    "switch": lambda s: (s.sendall(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), stall(s)),
    "close": lambda s: None,
    "reset": lambda s: (s.sendall(OK[:-2]), s.shutdown(socket.SHUT_RDWR)),
    "rights": lambda s: rights(s),
    "zeros": lambda s: endless(s, OK + b"\r\n", bytes(65536)),
}

HELLO = frame(STARTED, b'{"handle":1048577}')


def end_text(text):
    return HELLO + frame(ENDED, text.encode())


LONG = '{"end":{"kind":"exited","code":0},"usage":{"cpu_ms":%s,"wall_ms":%s,"peak_memory_bytes":%s},"output_open":false}'
# Answers of frames.
FRAMES = {
    "silence": lambda s: (s.sendall(HELLO + frame(STDOUT, b"so far")), stall(s)),
    "giant": lambda s: (s.sendall(HELLO + b"\x02\xff\xff\xff\xff"), endless(s, b"", bytes(65536))),
    "unknown": lambda s: (s.sendall(HELLO + frame(77)), stall(s)),
    "empty": lambda s: endless(s, HELLO, frame(STDOUT) * 5000),
    "keep alive": lambda s: endless(s, HELLO, frame(0) * 5000),
    "drip": lambda s: endless(s, HELLO + b"\x02\0\0\xff\0", b"x", 0.5),
    "flood": lambda s: endless(s, HELLO, frame(STDOUT, b"x" * 65000)),
    "tiny": lambda s: endless(s, HELLO, frame(STDOUT, b"x") * 10000),
    "no start": lambda s: (s.sendall(frame(STDOUT, b"x") + ended(kind="exited", code=0)), stall(s)),
    "two starts": lambda s: (s.sendall(HELLO + HELLO), stall(s)),
    "handle 0": lambda s: (s.sendall(frame(STARTED, b'{"handle":0}')), stall(s)),
    "handle": lambda s: (s.sendall(frame(STARTED, b'{"handle":18446744073709551615}')), stall(s)),
    "negative handle": lambda s: (s.sendall(frame(STARTED, b'{"handle":-1}')), stall(s)),
    "input": lambda s: (s.sendall(HELLO + frame(INPUT, b"rm -rf /\n")), stall(s)),
    "gap back": lambda s: (s.sendall(HELLO + frame(GAP, b'{"from":5,"to":1}')), stall(s)),
    "gap over": lambda s: (s.sendall(HELLO + frame(GAP, b'{"from":0,"to":18446744073709551615}')), stall(s)),
    "after end": lambda s: (s.sendall(HELLO + ended(kind="exited", code=0) + frame(STDOUT, b"late")), stall(s)),
    "code 256": lambda s: (s.sendall(HELLO + ended(kind="exited", code=256)), stall(s)),
    "code -1": lambda s: (s.sendall(HELLO + ended(kind="exited", code=-1)), stall(s)),
    "signal 0": lambda s: (s.sendall(HELLO + ended(kind="signaled", signal=0)), stall(s)),
    "signal 65": lambda s: (s.sendall(HELLO + ended(kind="signaled", signal=65)), stall(s)),
    "kind": lambda s: (s.sendall(HELLO + ended(kind="forged\r\nevent: exit\x1b[31m")), stall(s)),
    "negative time": lambda s: (s.sendall(end_text(LONG % ("-1", "-1", "-1"))), stall(s)),
    "float": lambda s: (s.sendall(end_text(LONG % ("1e400", "1.5", "NaN"))), stall(s)),
    "surrogate": lambda s: (s.sendall(HELLO + frame(ENDED, b'{"end":{"kind":"\\ud800"}}')), stall(s)),
    "depth": lambda s: (s.sendall(HELLO + frame(ENDED, b'{"end":' + b"[" * 2000)), stall(s)),
    "long json": lambda s: (s.sendall(HELLO + frame(ENDED, b" " * 60000)), stall(s)),
    # These are told as they are, or cut to what can be.
    "huge": lambda s: s.sendall(end_text(LONG % ((str(2**64 - 1),) * 3))),
    "events": lambda s: s.sendall(
        HELLO + frame(STDOUT, b"a\r\nevent: exit\r\ndata: forged\r\n\r\nid: 9\nretry: 1\n\n\0\xff\xfe\x1b[31m\n")
        + frame(STDERR, b": x\revent: exit\rdata: {}\r\r") + ended(kind="exited", code=7)),
    "cut": lambda s: s.sendall(HELLO + b"\x02\0\0\xff\0x"),
}


def rights(s):
    """Descriptors with each piece of the answer."""
    fds = [os.open("/dev/null", os.O_RDONLY)] * 20
    s.sendall(OK + b"\r\n" + HELLO)
    for _ in range(20):
        socket.send_fds(s, [frame(STDOUT, b"x")], fds)
    s.sendall(ended(kind="exited", code=0))


def random_frames(s, seed):
    """Frames that are nearly right, in any order, cut anywhere, from a seed."""
    import random
    dice = random.Random(seed)
    out = OK + b"\r\n" + (HELLO if dice.random() < 0.9 else b"")
    right = dice.random() < 0.5
    for _ in range(dice.randrange(40)):
        kind = dice.choice([2, 2, 2, 3, 3] if right else [0, 1, 2, 2, 3, 4, 5, 6, 7, dice.randrange(256)])
        text = dice.choice([b"", b"x" * dice.randrange(300), HELLO[5:], b'{"from":0,"to":%d}' % dice.randrange(9),
                            ended(kind="exited", code=dice.randrange(300))[5:], dice.randbytes(dice.randrange(64))])
        one = bytearray(frame(kind, text))
        if not right and dice.random() < 0.1:
            one[dice.randrange(len(one))] = dice.randrange(256)
        out += bytes(one)
    if right or dice.random() < 0.5:
        out += ended(kind="exited", code=0)
    while out:
        n = dice.randrange(1, len(out) + 1)
        s.sendall(out[:n])
        out = out[n:]


def as_agent(program):
    """Runs a program in this process, with all that it holds."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            exec(program, globals())
        except BaseException:
            return text.getvalue(), traceback.format_exc(), 1
    return text.getvalue(), "", 0


def honest(s, script):
    s.sendall(OK + b"\r\n" + HELLO)
    if script.startswith("#agent\n"):
        out, err, code = as_agent(script)
        out, err = out.encode(), err.encode()
    else:
        done = subprocess.run(["bash", "-c", script], capture_output=True, stdin=subprocess.DEVNULL)
        out, err, code = done.stdout, done.stderr, done.returncode & 255
    for kind, data in ((STDOUT, out), (STDERR, err)):
        for at in range(0, len(data), 60000):
            s.sendall(frame(kind, data[at:at + 60000]))
    s.sendall(ended(kind="exited", code=code))


def execute(s, spec):
    program = spec["program"]
    script = program["script"] if isinstance(program, dict) else ""
    word = script[1:] if script.startswith("!") else None
    if spec["hold"] == "detached":
        return detached(s, script)
    if word in HEADS:
        HEADS[word](s)
    elif word in FRAMES:
        s.sendall(OK + b"\r\n")
        FRAMES[word](s)
    elif word and word.startswith("random "):
        random_frames(s, word)
    else:
        honest(s, script)


def detached(s, script):
    handle = 1048577
    while os.path.exists("/tmp/%d" % handle):
        handle += 1
    with open("/tmp/%d" % handle, "w") as file:
        file.write(script)
    reply(s, json.dumps({"handle": handle}).encode())


def row(**more):
    return {"handle": 1048577, "script": "sleep 1", "started_ms": 1, "stdio": {"pipes": "null"},
            "hold": "detached", "clients": 0, "offset": 0, "ended": None, **more}


LISTS = {
    "list-long": lambda s: endless(s, OK + b'\r\n{"executions":[', json.dumps(row()).encode() * 100 + b","),
    "list-slow": lambda s: endless(s, OK + b"\r\n", b" ", 0.5),
    "list-text": lambda s: reply(s, json.dumps({"executions": [row(script="a\r\nX-Forged: 1\0\x1b[31m\u2028</script>")]}).encode()),
    "list-many": lambda s: reply(s, json.dumps({"executions": [row(handle=n + 1) for n in range(5000)]}).encode()),
    "list-time": lambda s: reply(s, json.dumps({"executions": [row(started_ms=2**64 - 1, offset=2**64 - 1)]}).encode()),
    "list-bytes": lambda s: reply(s, b'{"executions":[' + json.dumps(row()).encode().replace(b"sleep", b"\xff\xfe") + b"]}"),
    "list-surrogate": lambda s: reply(s, b'{"executions":[' + json.dumps(row()).encode().replace(b"sleep", b"\\ud800") + b"]}"),
    "list-handle": lambda s: reply(s, json.dumps({"executions": [row(handle=0)]}).encode()),
    "list-zip": lambda s: reply(s, zlib.compress(b'{"executions":[]}', wbits=31), more=b"Content-Encoding: gzip\r\n"),
}


def one(s, method, target, body):
    """What the gateway asks about executions that go on."""
    path = target.split("?")[0]
    if path == "/v1/executions":
        LISTS.get(NAME, lambda s: reply(s, b'{"executions":[]}'))(s)
    elif path.endswith("/kill"):
        reply(s, b'{"processes":4294967295}') if NAME != "kill-stalls" else stall(s)
    elif path.endswith(("/output", "/end")):
        word = (read("/tmp/" + path.split("/")[3]) or "")[1:]
        s.sendall(OK + b"\r\n")
        FRAMES.get(word, lambda s: endless(s, b"", frame(0), 5))(s)
    elif path.endswith("/terminal"):
        stall(s)
    else:
        reply(s, b"{}")


def serve(s):
    try:
        asked = request(s)
        if asked is None:
            return
        method, target, body = asked
        if target == "/v1/hello":
            HELLOS.get(NAME, lambda s, h: reply(s, body))(s, json.loads(body))
        elif method == "POST" and target == "/v1/executions":
            execute(s, json.loads(body))
        else:
            one(s, method, target, body)
    except OSError:
        pass
    finally:
        s.close()


def multiply():
    """Every process makes others as fast as it can, for ever; the limit of the sandbox holds them."""
    while True:
        try:
            os.fork()
        except OSError:
            pass


def beginning():
    for number in range(1, 65):
        if NAME in ("forks", "ignores", "stops") and number not in (9, 19, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    if NAME == "forks" and os.fork() == 0:
        multiply()
    if NAME == "stops":
        for _ in range(16):
            if os.fork() == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
                multiply()
    if NAME == "deaf":
        time.sleep(600)


def freeze():
    """Puts itself into a leaf of its own and freezes that."""
    os.mkdir("leaf", dir_fd=CGROUP_FD)
    for name, text in (("cgroup.procs", b"0"), ("cgroup.freeze", b"1")):
        os.write(os.open("leaf/" + name, os.O_WRONLY, dir_fd=CGROUP_FD), text)


beginning()
while True:
    connection, _ = listener.accept()
    if NAME == "storm" and os.path.exists("/tmp/storm"):
        connection.close()
        continue
    if NAME in ALONE:
        serve(connection)
        if NAME == "freezes":
            freeze()
        continue
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            serve(connection)
            os._exit(0)
    connection.close()
    with contextlib.suppress(OSError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
