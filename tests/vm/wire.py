"""Streams of events and terminals as an SDK reads them, over sockets that a test can cut."""
import base64
import contextlib
import http.client
import json
import os
import socket
import struct

import product

# How long nothing may come before a read has failed, in seconds.
SILENCE = 40.0


class Events:
    """An answer of server-sent events."""

    def __init__(self, client, path, body, last=None):
        headers = {"Content-Type": "application/json", "X-API-Key": client.key}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        self.connection = http.client.HTTPConnection("127.0.0.1", product.PORT, timeout=SILENCE)
        self.connection.request("POST", path, json.dumps(body), headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, f"{path} answered {self.answer.status}: {self.answer.read()}"
        self.pid = int(self.answer.getheader("X-Execution-Pid") or 0)

    def __iter__(self):
        """Each event as (name, data, id), until the server ends the answer or the connection breaks."""
        name, data, number = "", [], None
        with contextlib.suppress(OSError, http.client.HTTPException):
            while line := self.answer.readline():
                field, _, value = line.decode().rstrip("\n").partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                elif field == "id":
                    number = int(value)
                elif not field and not value and (name or data):
                    yield name, "\n".join(data), number
                    name, data, number = "", [], None

    def close(self):
        """Goes away without a word."""
        self.connection.close()


class Terminal:
    """A WebSocket to a session of a terminal."""

    def __init__(self, client, path):
        self.socket = socket.create_connection(("127.0.0.1", product.PORT), timeout=SILENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: vm\r\nX-API-Key: {client.key}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        assert b" 101 " in status, status
        while self.file.readline().strip():
            pass

    def send(self, text):
        """One text message, masked as RFC 6455 wants it."""
        data, mask = text.encode(), os.urandom(4)
        assert len(data) < 126, "a short line"
        self.socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def read_until(self, wanted):
        """What came up to and with these words."""
        seen = ""
        while wanted not in seen:
            first, length = self._exactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._exactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._exactly(8))
            payload = self._exactly(length)
            if first & 0x0F in (1, 2):
                seen += payload.decode(errors="replace")
            assert first & 0x0F != 8, f"closed after {seen!r}: {payload!r}"
        return seen

    def close(self):
        """Goes away without a word."""
        self.file.close()
        self.socket.close()

    def _exactly(self, many):
        data = self.file.read(many)
        assert len(data) == many, "the connection ended"
        return data
