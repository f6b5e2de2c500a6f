"""WSGI in the hands of a test: a server of one request at a time, a client, and a scripted app.

The server half calls an app in threads, as servers do. The app half is the ``ScriptedUpstream`` of
the conformance suite, played in the test's event loop and carried to a WSGI server.
"""

from __future__ import annotations

import io
import json as json_module
import queue
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import anyio
import anyio.to_thread
import httpx
from anyio.from_thread import BlockingPortal

from response_cache import Store
from response_cache._protocol.sse import Decoder
from response_cache.errors import StreamBroken
from response_cache.testing import ScriptedUpstream
from response_cache_wsgi import ResponseCacheMiddleware
from tests import deadlines

__all__ = (
    "WAIT_TIMEOUT",
    "InThreads",
    "Reply",
    "ScriptedApp",
    "environ_of",
    "request",
    "served_in_threads",
)

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
EMPTY_CHUNK_DELAY: Final = 0.01
"""Seconds without a message after which the scripted app yields an empty chunk."""

Message: TypeAlias = Mapping[str, Any]


def environ_of(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    **others: Any,
) -> WSGIEnvironment:
    """The environ of a request; a query may follow the path."""
    path, _, query = path.partition("?")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers:
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return {**environ, **others}


@dataclass
class Reply:
    """What a server has of a reply; ``begin`` and ``step`` are its thread's."""

    app: WSGIApplication
    environ: WSGIEnvironment
    status_line: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    iterable: Iterable[bytes] = ()
    _chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    _first: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.status_line[:3])

    @property
    def fields(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers}

    def begin(self) -> None:
        """Call the app and iterate until its headers must be sent."""
        self.iterable = self.app(self.environ, self._start_response)
        self._chunks = iter(self.iterable)
        chunk = self._next()
        self._first = [chunk] if chunk else []

    def step(self) -> bytes:
        """The next piece of the body; empty at its end."""
        return self._first.pop() if self._first else self._next()

    def close(self) -> None:
        """What a server does at the end, also at a client's leaving."""
        close = getattr(self.iterable, "close", None)
        if close is not None:
            close()

    def body(self) -> bytes:
        """All that is left; then the end."""
        try:
            return b"".join(iter(self.step, b""))
        finally:
            self.close()

    def json(self) -> Any:
        return json_module.loads(self.body())

    def events(self) -> list[dict[str, Any]]:
        decoder = Decoder()
        return [json_module.loads(e.data) for e in decoder.feed(self.body()) + decoder.finish()]

    def _next(self) -> bytes:
        while not self.written:
            try:
                chunk = next(self._chunks)
            except StopIteration:
                return b""
            if chunk:
                return chunk
        return self.written.pop(0)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        self.status_line, self.headers = status, headers
        return self.written.append


def request(
    app: WSGIApplication,
    method: str,
    path: str,
    body: Any = b"",
    headers: Iterable[tuple[str, str]] = (),
    **others: Any,
) -> Reply:
    """The reply to a request, of which nothing but the beginning was read."""
    content = body if isinstance(body, bytes) else json_module.dumps(body).encode()
    reply = Reply(app, environ_of(method, path, content, headers, **others))
    reply.begin()
    return reply


class InThreads(httpx.AsyncBaseTransport):
    """An httpx transport to a WSGI app, which is called in threads."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(100)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        path = request.url.raw_path.decode("ascii")
        environ = environ_of(request.method, path, body, request.headers.items())
        reply = Reply(self._app, environ)
        await anyio.to_thread.run_sync(reply.begin, limiter=self._threads)
        body_stream = _Stream(reply, self._threads)
        return httpx.Response(reply.status, headers=reply.headers, stream=body_stream)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, reply: Reply, threads: anyio.CapacityLimiter) -> None:
        self._reply = reply
        self._threads = threads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._step():
            yield chunk

    async def _step(self) -> bytes:
        try:
            return await anyio.to_thread.run_sync(self._reply.step, limiter=self._threads)
        except StreamBroken as broken:  # as real servers do
            raise httpx.RemoteProtocolError("the body has no end") from broken

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self._reply.close, limiter=self._threads)


class ScriptedApp:
    """A WSGI app that says what a ``ScriptedUpstream`` says in the event loop of *portal*.

    While that is silent it yields empty chunks, and so notices that it is to stop.
    """

    def __init__(self, upstream: ScriptedUpstream, portal: BlockingPortal) -> None:
        self._upstream = upstream
        self._portal = portal

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        play = _Play(self._upstream, self._portal, environ, environ["wsgi.input"].read(length))
        try:
            yield from play.steps(start_response)
        finally:
            play.leave()


class _Play:
    """One call of the upstream, from the thread that wants its messages."""

    def __init__(
        self,
        upstream: ScriptedUpstream,
        portal: BlockingPortal,
        environ: WSGIEnvironment,
        body: bytes,
    ) -> None:
        self._portal = portal
        self._incoming = [{"type": "http.request", "body": body, "more_body": False}]
        self._gone = portal.call(anyio.Event)
        self._sent: queue.Queue[tuple[Message | None, anyio.Event | None]] = queue.Queue()
        self._task: Future[None] = portal.start_task_soon(self._run, upstream, _scope(environ))

    def steps(self, start_response: StartResponse) -> Iterator[bytes]:
        while True:
            try:
                message, taken = self._sent.get(timeout=EMPTY_CHUNK_DELAY)
            except queue.Empty:
                yield b""
                continue
            if message is None or taken is None:
                self._task.result()
                return
            yield self._said(message, start_response)
            self._portal.call(taken.set)

    def leave(self) -> None:
        self._portal.call(self._gone.set)

    def _said(self, message: Message, start_response: StartResponse) -> bytes:
        if message["type"] == "http.response.body":
            return bytes(message.get("body", b""))
        headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        start_response(f"{message['status']} {HTTPStatus(message['status']).phrase}", headers)
        return b""

    async def _run(self, upstream: ScriptedUpstream, scope: dict[str, Any]) -> None:
        try:
            await upstream(scope, self._receive, self._send)
        finally:
            self._sent.put((None, None))

    async def _receive(self) -> dict[str, Any]:
        if self._incoming:
            return self._incoming.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        taken = anyio.Event()
        self._sent.put((message, taken))
        await taken.wait()


def _scope(environ: WSGIEnvironment) -> dict[str, Any]:
    fields = [
        (key.removeprefix("HTTP_").replace("_", "-").lower().encode(), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
    ]
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": environ["SCRIPT_NAME"] + environ["PATH_INFO"],
        "query_string": environ["QUERY_STRING"].encode(),
        "headers": fields,
    }


@asynccontextmanager
async def served_in_threads(
    upstream: ScriptedUpstream, store: Store | str, options: dict[str, Any]
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the middleware around *upstream*; the middleware is closed at the end."""
    async with BlockingPortal() as portal:
        wrapped = ResponseCacheMiddleware(ScriptedApp(upstream, portal), store=store, **options)
        transport = InThreads(wrapped)
        async with httpx.AsyncClient(transport=transport, base_url="http://test/v1") as client:
            yield client
        await anyio.to_thread.run_sync(wrapped.close)  # in the order of a server: it hears no more
