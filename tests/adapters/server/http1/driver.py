"""Clients that write bytes, and the sidecar's HTTP/1.1 in front of any app."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream

from response_cache_server._asgi import App, Message, Receive, Scope, Send
from response_cache_server._http1 import Connection, Limits
from tests.adapters.servers import DEADLINE, serving

LOOPS: Final = [("asyncio", {}), ("asyncio", {"use_uvloop": True})]
"""Event loops that the protocol runs in."""

GET: Final = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", path: bytes = b"/a", version: bytes = b"1.1") -> bytes:
    """A request with *fields*; what follows its head is *body*."""
    lines = [b"POST %b HTTP/%b" % (path, version), b"Host: x", *fields, b"", body]
    return b"\r\n".join(lines)


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


@dataclass
class Reply:
    """What came back for one request."""

    status: int
    fields: Mapping[str, str]
    body: bytes = b""
    is_whole: bool = True  # by its length or its last chunk

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of the API that it is."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return dict(error)


@dataclass
class Client:
    """One connection."""

    stream: SocketStream
    received: bytes = b""
    end: str = ""  # "closed" or "reset", once it is

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def more(self) -> bool:
        """Wait for bytes; whether there are some."""
        try:
            with anyio.fail_after(DEADLINE):
                self.received += await self.stream.receive()
        except anyio.EndOfStream:
            self.end = "closed"
        except anyio.BrokenResourceError:
            self.end = "reset"
        return not self.end

    async def until(self, text: bytes) -> bytes:
        """Everything up to and with *text*."""
        while text not in self.received:
            assert await self.more(), (self.end, self.received)
        before, _, self.received = self.received.partition(text)
        return before + text

    async def rest(self) -> bytes:
        """Everything until the connection ends; ``end`` tells how."""
        while await self.more():
            pass
        rest, self.received = self.received, b""
        return rest

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next answer."""
        start, *lines = (await self.until(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        assert start.startswith("HTTP/1.1 "), start
        pairs = [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines]
        reply = Reply(int(start[9:12]), dict(pairs))
        assert len(reply.fields) == len(pairs), pairs
        if reply.status == 100 or to_head or reply.status in (204, 304):
            return reply
        if "content-length" in reply.fields:
            await self._read_length(reply, int(reply.fields["content-length"]))
        elif "transfer-encoding" in reply.fields:
            await self._read_chunks(reply)
        else:
            reply.body = await self.rest()
            reply.is_whole = self.end == "closed"
        return reply

    async def _read_length(self, reply: Reply, length: int) -> None:
        while len(self.received) < length and await self.more():
            pass
        reply.body, self.received = self.received[:length], self.received[length:]
        reply.is_whole = len(reply.body) == length

    async def _read_chunks(self, reply: Reply) -> None:
        while True:
            while b"\r\n" not in self.received and await self.more():
                pass
            size, found, rest = self.received.partition(b"\r\n")
            length = int(size, 16) if found else 0
            while found and len(rest) < length + 2 and await self.more():
                size, _, rest = self.received.partition(b"\r\n")
            if not found or len(rest) < length + 2:
                reply.is_whole = False
                return
            reply.body += rest[:length]
            self.received = rest[length + 2 :]
            if length == 0:
                return


@dataclass
class Server:
    """Where the app is served."""

    url: str
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = urlsplit(self.url).port or 0

    @asynccontextmanager
    async def client(self, *, buffer: int | None = None) -> AsyncIterator[Client]:
        """A connection; *buffer* bytes wait for a client that does not read."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            if buffer is not None:
                raw = stream.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            yield Client(stream)

    async def ask(self, data: bytes) -> Reply:
        """The answer to *data*, over a connection of its own."""
        async with self.client() as client:
            await client.send(data)
            return await client.reply()


@asynccontextmanager
async def http1(app: App, **limits: Any) -> AsyncIterator[Server]:
    """Serve *app* by the protocol of the sidecar, with *limits*."""
    protocol = partial(Connection, limits=Limits(**limits))
    async with serving(app, http=protocol) as url:
        yield Server(url)


async def read_body(receive: Receive) -> bytes:
    """The whole body, if its client stays so long."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body + b"<gone>"
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell what the request is."""
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "version": scope["http_version"],
        "fields": [[name.decode("latin-1"), v.decode("latin-1")] for name, v in scope["headers"]],
        "body": (await read_body(receive)).decode("latin-1"),
    }
    await answer(send, json.dumps(told).encode())


async def answer(send: Send, body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> None:
    """An answer with its length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *fields]})
    await send({"type": "http.response.body", "body": body})


def sending(*messages: Message) -> App:
    """An app that sends *messages* and returns."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def start(*fields: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(fields)}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
