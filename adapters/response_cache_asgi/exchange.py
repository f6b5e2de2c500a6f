"""One request and its reply: reads the body where it must, carries the reply, minds the client."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, closing
from typing import Final, assert_never

import anyio

from response_cache import (
    Body,
    Headers,
    PassThrough,
    Reply,
    Request,
    ResponsesAPI,
    Route,
    Stream,
    error_reply,
    reply_without_cache,
)
from response_cache.errors import APIError, RequestTimeout, StreamBroken
from response_cache.hosting import Streams
from response_cache.http import BODY_HEADERS, Verb
from response_cache.http.cors import Cors, dressed
from response_cache.protocol.ids import Ids
from response_cache_asgi.budget import Budget, Share
from response_cache_asgi.host import Host
from response_cache_asgi.preflight import PreflightOf
from response_cache_asgi.types import ASGIApp, Message, Receive, Scope, Send
from response_cache_asgi.upstream import WrappedApp

__all__ = ("Exchange", "path_below_root")

logger = logging.getLogger("response_cache.asgi")

COPYING_MIDDLEWARE: Final = "starlette.middleware.base.BaseHTTPMiddleware."
"""Of the name of the task in which such middleware calls what is inside of it."""


def path_below_root(scope: Scope) -> str:
    """The path without the root path that a mount or a proxy put before it."""
    path: str = scope["path"]
    root: str = (scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


class Exchange:
    """Takes a request that is ours from its first byte to its reply's last."""

    def __init__(
        self,
        app: ASGIApp,
        host: Host,
        cors: Cors,
        *,
        max_request_bytes: int,
        max_reading_bytes: int,
        body_timeout: float,
    ) -> None:
        self._app = app
        self._host = host
        self._cors = cors
        self._limit = max_request_bytes
        self._budget = Budget(max(max_reading_bytes, max_request_bytes))
        self._body_timeout = body_timeout

    async def answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request about a response of ours (every verb but create)."""
        request = _request(scope)
        app_send, send = self._sends(request, route.id, scope, send)
        try:
            hosted = self._host.open_here or await self._host.hosted()
        except APIError as error:  # there is no open cache
            await _send_body(error_reply(error), send)
            return
        if route.verb is Verb.RETRIEVE and request.header(b"prefer"):
            reply = await _answer_long_poll(hosted.api, route, request, receive)
            receive = _with_empty_body(receive)
        else:
            reply = await hosted.api.answer(route, request)
        if isinstance(reply, Body):
            await _send_body(reply, send)
        elif isinstance(reply, PassThrough):
            await self._app(scope, receive, app_send)
        elif reply is not None:
            await _send_stream(reply, hosted.streams, receive, send)

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a create, or hand it to the app as if it had never been read."""
        body = _Body(receive, self._limit)
        app_send, send = self._sends(_request(scope), "", scope, send)
        with closing(self._budget.share()) as share:
            try:
                await body.read(share, self._body_timeout)
                reply, streams = await self._reply_to_create(body, share, scope, receive)
            except APIError as error:
                reply, streams = error_reply(error), None
        match reply:
            case None:
                return  # the client has gone
            case PassThrough():
                await self._pass_on(reply, scope, body, app_send)
            case Body():
                await _send_body(reply, send)
            case Stream():
                await _send_stream(reply, streams or Streams(), receive, send)
            case never:
                assert_never(never)

    async def _reply_to_create(
        self, body: _Body, share: Share, scope: Scope, receive: Receive
    ) -> tuple[Reply | PassThrough | None, Streams | None]:
        """The reply to a create, and where it is counted if an open cache gave it.

        The *share* is held until the body was judged, which may have to wait for its turn; what
        may last after that is done without it.
        """
        if not (body.is_whole or body.is_cut):
            return PassThrough(), None  # the client has gone: the app shall see
        request = _request(scope, body.content)
        early = reply_without_cache(request, cut_at=self._limit if body.is_cut else None)
        if early is not None:
            return early, None
        hosted = await self._host.hosted()

        def while_connected() -> AbstractAsyncContextManager[None]:
            share.close()
            return _while_connected(receive)  # all of the body was received

        reply = await hosted.api.create(
            request, WrappedApp(self._app, scope), while_connected=while_connected
        )
        return reply, hosted.streams

    async def answer_preflight(
        self, scope: Scope, send: Send, paths: tuple[str, ...], ids: Ids
    ) -> bool:
        """Answer a browser's preflight where an option says who may read; whether it was one."""
        reply = self._cors.preflight(_request(scope), paths, ids)
        if reply is not None:
            await _send_body(reply, send)
        return reply is not None

    def _sends(self, request: Request, id: str, scope: Scope, send: Send) -> tuple[Send, Send]:
        """*send* for the app's reply to *request*, and for ours: with its page's CORS headers."""
        if not self._cors.concerns(request):
            return send, send
        ask = PreflightOf(self._app, scope, request)

        async def with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                allowed = await self._cors.allowed(request, id, ask)
                headers = dressed(message.get("headers", ()), allowed)
                message = {**message, "headers": list(headers)}
            await send(message)

        return with_cors if self._cors.is_set else send, with_cors

    async def _pass_on(self, way: PassThrough, scope: Scope, body: _Body, send: Send) -> None:
        if way.body is None:
            await self._app(scope, body.receive, send)
            return
        body.replace(way.body)
        headers = _headers_for(scope["headers"], way.body)
        await self._app({**scope, "headers": headers}, body.receive, send)


async def _answer_long_poll(
    api: ResponsesAPI, route: Route, request: Request, receive: Receive
) -> Reply | PassThrough | None:
    """The reply to a poll that may last for long; None when its client has gone meanwhile."""
    async with _while_connected(receive):
        return await api.answer(route, request)
    return None


async def _send_stream(reply: Stream, streams: Streams, receive: Receive, send: Send) -> None:
    """Send all of *reply*, or leave its last message out, upon which servers break the connection.

    Raises:
        StreamBroken: it is broken off, and middleware around us needs to be told.
    """
    try:
        await _carry(reply, streams, receive, send)
    except StreamBroken as broken:
        logger.info("%s", broken.strerror)
        if COPYING_MIDDLEWARE in (anyio.get_current_task().name or ""):
            # It copies the reply and would send the last message for us, whether we return or
            # raise; a message that it does not know makes it fail.
            await send({"type": "response_cache.broken_off", "why": broken.strerror})
            raise


async def _carry(reply: Stream, streams: Streams, receive: Receive, send: Send) -> None:
    broken = None
    with streams.sending():
        async with aclosing(reply.chunks), _while_connected(receive):
            broken = await _write(reply, send)
    if broken is not None:  # raised here, where no task group wraps it
        raise broken


async def _write(reply: Stream, send: Send) -> StreamBroken | None:
    """Send *reply* until it ends, its client goes or it is broken off; by what, if it is."""
    try:
        await send(_start(reply.status, reply.headers))
        async for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except StreamBroken as broken:
        return broken
    except OSError:
        pass  # how servers tell that the client has gone
    return None


async def _send_body(reply: Body, send: Send) -> None:
    try:
        await send(_start(reply.status, reply.headers))
        await send({"type": "http.response.body", "body": reply.content, "more_body": False})
    except OSError:
        return  # the client has gone


@asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncGenerator[None]:
    """Cancel what runs in the context as soon as the client has gone."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


def _with_empty_body(receive: Receive) -> Receive:
    """*receive* of a request whose body, an empty one, was received already."""
    body = _Body(receive, 0)
    body.replace(b"")
    return body.receive


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _request(scope: Scope, body: bytes = b"") -> Request:
    return Request(
        scope["method"],
        path_below_root(scope),
        scope.get("query_string", b""),
        tuple(scope["headers"]),  # names are in lower case (ASGI specification, HTTP)
        body,
        scope,
    )


def _headers_for(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """*headers* for another body than the one they came with."""
    kept = [pair for pair in headers if pair[0].lower() not in BODY_HEADERS]
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

    async def read(self, share: Share, timeout: float) -> None:
        """Receive until the end, the limit, or the client's leaving.

        Raises:
            RequestTimeout: the next piece did not come within *timeout* seconds.
            Unavailable: the bodies that are being read are larger than the budget.
        """
        size = 0
        with anyio.move_on_after(timeout) as pause:
            while True:
                message = await self._receive()
                self._messages.append(message)
                if message["type"] != "http.request":
                    return
                piece = len(message.get("body", b""))
                size += piece
                share.take(piece)
                self.is_cut = size > self._limit
                self.is_whole = not (self.is_cut or message.get("more_body", False))
                if self.is_whole or self.is_cut:
                    return
                pause.deadline = anyio.current_time() + timeout
        raise RequestTimeout("The body of the request did not come in time.")

    def replace(self, body: bytes) -> None:
        """Let *body* be received instead of what was read."""
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        """What the server's ``receive`` would give, had nobody read before."""
        if self._messages:
            return self._messages.pop(0)
        return await self._receive()
