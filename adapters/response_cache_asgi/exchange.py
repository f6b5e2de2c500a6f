"""One request and its reply: reads the body where it must, carries the reply, minds the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import assert_never

import anyio

from response_cache import (
    Body,
    Face,
    Headers,
    Pass,
    Reply,
    Request,
    Route,
    Stream,
    error_reply,
    is_background,
)
from response_cache.errors import RequestTooLarge
from response_cache.http import Verb
from response_cache_asgi.streams import Streams
from response_cache_asgi.types import ASGIApp, Message, Receive, Scope, Send
from response_cache_asgi.upstream import WrappedApp

__all__ = ("Exchange", "path_below_root", "send_body")


def path_below_root(scope: Scope) -> str:
    """The path without the root path that a mount or a proxy put before it."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    return path[len(root) :] if root and path.startswith(root + "/") else path


class Exchange:
    """A request that is ours, from its first byte to its reply's last."""

    def __init__(
        self,
        app: ASGIApp,
        face: Face,
        *,
        max_request_bytes: int,
        streams: Streams,
    ) -> None:
        """*streams* are told of a reply that goes on, so that it can be ended."""
        self._app = app
        self._face = face
        self._limit = max_request_bytes
        self._streams = streams

    async def run(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or hand it to the app as if it had never been read."""
        body = _Body(receive, self._limit)
        match await self._reply(route, scope, body):
            case Body() as reply:
                await send_body(reply, send)
            case Stream() as reply:
                await self._send_stream(reply, receive, send)
            case Pass() as way:
                await self._pass_on(way, scope, body, send)
            case never:
                assert_never(never)

    async def _reply(self, route: Route, scope: Scope, body: _Body) -> Reply | Pass:
        if route.verb is not Verb.CREATE:
            return await self._face.answer(route, _request(scope))
        await body.read()
        if body.is_cut and is_background(body.content):
            return error_reply(RequestTooLarge(f"The request is longer than {self._limit} bytes."))
        if not body.is_whole:
            return Pass()  # too long to be looked into, or cut short: the app shall see the same
        return await self._face.create(_request(scope, body.content), WrappedApp(self._app, scope))

    async def _pass_on(self, way: Pass, scope: Scope, body: _Body, send: Send) -> None:
        if way.body is None:
            await self._app(scope, body.replay, send)
            return
        headers = _replaced(scope["headers"], way.body)
        await self._app({**scope, "headers": headers}, body.replaying(way.body), send)

    async def _send_stream(self, reply: Stream, receive: Receive, send: Send) -> None:
        """Write the stream and notice a client that goes; whichever is first ends both."""
        with self._streams.sending():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks.cancel_scope.cancel)
                await _write(reply, send)
                tasks.cancel_scope.cancel()


async def _write(reply: Stream, send: Send) -> None:
    async with aclosing(reply.chunks):
        try:
            await send(_start(reply.status, reply.headers))
            async for chunk in reply.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:  # how servers tell that the client has gone
            return


async def _until_gone(receive: Receive, then: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    then()


async def send_body(reply: Body, send: Send) -> None:
    """Send a whole reply."""
    await send(_start(reply.status, reply.headers))
    await send({"type": "http.response.body", "body": reply.content, "more_body": False})


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _request(scope: Scope, body: bytes = b"") -> Request:
    return Request(
        scope["method"],
        path_below_root(scope),
        scope.get("query_string", b""),
        tuple((name.lower(), value) for name, value in scope["headers"]),
        body,
    )


def _replaced(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """*headers* for another body than the one they came with."""
    about_the_body = (b"content-length", b"transfer-encoding", b"content-encoding")
    kept = [pair for pair in headers if pair[0].lower() not in about_the_body]
    return [*kept, (b"content-length", b"%d" % len(body))]


class _Body:
    """A request body that was read ahead and can be received again."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._messages: list[Message] = []
        self.is_whole = False
        self.is_cut = False  # longer than the limit: the rest is still to be received

    @property
    def content(self) -> bytes:
        """What was read."""
        return b"".join(message.get("body", b"") for message in self._messages)

    async def read(self) -> None:
        """Receive until the end, the limit, or the client's leaving."""
        size = 0
        while not (self.is_whole or self.is_cut):
            message = await self._receive()
            self._messages.append(message)
            if message["type"] != "http.request":
                return
            size += len(message.get("body", b""))
            self.is_cut = size > self._limit
            self.is_whole = not message.get("more_body", False) and not self.is_cut

    async def replay(self) -> Message:
        """What ``receive`` would have given, had nobody read before."""
        if self._messages:
            return self._messages.pop(0)
        return await self._receive()

    def replaying(self, body: bytes) -> Receive:
        """The same with another body."""
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        return self.replay
