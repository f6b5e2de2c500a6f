"""One request and its reply: reads the body where it must, carries the reply, minds the client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
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
    answer_early,
    error_reply,
)
from response_cache.errors import APIError
from response_cache.http import ABOUT_THE_BODY, Verb
from response_cache_asgi.host import Host
from response_cache_asgi.streams import Streams
from response_cache_asgi.types import ASGIApp, Message, Receive, Scope, Send
from response_cache_asgi.upstream import WrappedApp

__all__ = ("Exchange", "path_below_root")


def path_below_root(scope: Scope) -> str:
    """The path without the root path that a mount or a proxy put before it."""
    path: str = scope["path"]
    root: str = (scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


class Exchange:
    """A request that is ours, from its first byte to its reply's last."""

    def __init__(self, app: ASGIApp, host: Host, *, max_request_bytes: int) -> None:
        self._app = app
        self._host = host
        self._limit = max_request_bytes
        self._streams: Streams | None = None  # those of the host, once it is asked

    async def run(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or hand it to the app as if it had never been read."""
        body = _Body(receive, self._limit)
        try:
            reply = await self._reply(route, scope, body)
        except APIError as error:  # there is no open cache
            reply = error_reply(error)
        match reply:
            case Body():
                await _send_body(reply, send)
            case Stream():
                await self._send_stream(reply, receive, send)
            case Pass():
                await self._pass_on(reply, scope, body, send)
            case None:
                return  # the client has gone
            case never:
                assert_never(never)

    async def _reply(self, route: Route, scope: Scope, body: _Body) -> Reply | Pass | None:
        if route.verb is Verb.CREATE:
            return await self._create(scope, body)
        request = _request(scope)
        face = await self._face()
        if route.verb is not Verb.RETRIEVE or not request.header(b"prefer"):
            return await face.answer(route, request)
        async with _while_there(body.receive):  # it may wait for long
            return await face.answer(route, request)
        return None

    async def _create(self, scope: Scope, body: _Body) -> Reply | Pass:
        await body.read()
        if not (body.is_whole or body.is_cut):
            return Pass()  # the client has gone: the app shall see the same
        request = _request(scope, body.content)
        early = answer_early(request, cut_at=self._limit if body.is_cut else None)
        if early is not None:
            return early
        face = await self._face()
        return await face.create(request, WrappedApp(self._app, scope))

    async def _face(self) -> Face:
        hosted = await self._host.hosted()
        self._streams = hosted.streams
        return hosted.face

    async def _pass_on(self, way: Pass, scope: Scope, body: _Body, send: Send) -> None:
        if way.body is None:
            await self._app(scope, body.receive, send)
            return
        body.replace(way.body)
        headers = _replaced(scope["headers"], way.body)
        await self._app({**scope, "headers": headers}, body.receive, send)

    async def _send_stream(self, reply: Stream, receive: Receive, send: Send) -> None:
        sending = nullcontext() if self._streams is None else self._streams.sending()
        with sending:
            async with aclosing(reply.chunks), _while_there(receive):
                await _write(reply, send)


async def _write(reply: Stream, send: Send) -> None:
    with suppress(OSError):  # how servers tell that the client has gone
        await send(_start(reply.status, reply.headers))
        async for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_body(reply: Body, send: Send) -> None:
    with suppress(OSError):
        await send(_start(reply.status, reply.headers))
        await send({"type": "http.response.body", "body": reply.content, "more_body": False})


@asynccontextmanager
async def _while_there(receive: Receive) -> AsyncGenerator[None]:
    """Cancel what runs in the context as soon as the client has gone."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _request(scope: Scope, body: bytes = b"") -> Request:
    return Request(
        scope["method"],
        path_below_root(scope),
        scope.get("query_string", b""),
        tuple(scope["headers"]),  # names are in lower case (ASGI specification, HTTP)
        body,
    )


def _replaced(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """*headers* for another body than the one they came with."""
    kept = [pair for pair in headers if pair[0].lower() not in ABOUT_THE_BODY]
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

    def replace(self, body: bytes) -> None:
        """Let *body* be received instead of what was read."""
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        """What the server's ``receive`` would give, had nobody read before."""
        if self._messages:
            return self._messages.pop(0)
        return await self._receive()
