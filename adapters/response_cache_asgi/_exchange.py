"""One request and its reply: reads the body if needed, asks the cache, sends the reply."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, closing
from typing import assert_never

from response_cache._hosting import Streams
from response_cache.errors import APIError
from response_cache.http import (
    CLIENT_HEADERS,
    Body,
    Cors,
    PassThrough,
    Reply,
    Request,
    ResponsesAPI,
    Route,
    Stream,
    Verb,
    dressed,
    error_reply,
    reply_without_cache,
)
from response_cache.options import DialectName
from response_cache_asgi._body import RequestBody
from response_cache_asgi._budget import Budget, Share
from response_cache_asgi._host import Host
from response_cache_asgi._preflight import PreflightOf
from response_cache_asgi._replies import AppReply, send_body, send_stream, until_disconnect
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send
from response_cache_asgi._upstream import WrappedApp

__all__ = ("Exchange", "path_below_root")


def path_below_root(scope: Scope) -> str:
    """The path of *scope* without the root path that a mount or a proxy put before it."""
    path: str = scope["path"]
    root: str = (scope.get("root_path") or "").rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


class Exchange:
    """Serves requests of the cache's routes, from their first byte to the last of the reply."""

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
        """Answer a request about a stored response (every verb but create)."""
        request = _request(scope)
        app_send, send = self._sends(request, route.id, scope, send)
        try:
            hosted = self._host.open_here or await self._host.hosted()
        except APIError as error:  # there is no open cache
            await send_body(error_reply(error), send)
            return
        if route.verb is Verb.RETRIEVE and request.header(b"prefer"):
            reply = await _answer_long_poll(hosted.api, route, request, receive)
            receive = _with_empty_body(receive)
        else:
            reply = await hosted.api.answer(route, request)
        if isinstance(reply, Body):
            await send_body(reply, send)
        elif isinstance(reply, PassThrough):
            await self._app(scope, receive, app_send)
        elif reply is not None:
            await send_stream(reply, hosted.streams, receive, send)

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a create, or pass it to the app as if its body had not been read."""
        body = RequestBody(receive, self._limit)
        app_send, send = self._sends(_request(scope), "", scope, send)
        with closing(self._budget.share()) as share:
            try:
                await body.read(share, self._body_timeout)
                reply, streams = await self._reply_to_create(body, share, scope, receive)
            except APIError as error:
                reply, streams = error_reply(error), None
        match reply:
            case None:
                return  # the client has disconnected
            case PassThrough():
                await self._pass_on(reply, scope, body, app_send)
            case Body():
                await send_body(reply, send)
            case Stream():
                await send_stream(reply, streams or Streams(), receive, send)
            case never:
                assert_never(never)

    async def _reply_to_create(
        self, body: RequestBody, share: Share, scope: Scope, receive: Receive
    ) -> tuple[Reply | PassThrough | None, Streams | None]:
        """The reply to a create, and the streams that it belongs to if an open cache gave it.

        The *share* is held while the body is parsed, which may have to wait for its turn. It is
        given back before the wait for the app, which may be long.
        """
        if not (body.is_whole or body.is_cut):
            return PassThrough(), None  # the client has disconnected: the app gets to see that
        request = _request(scope, body.content)
        early = reply_without_cache(request, cut_at=self._limit if body.is_cut else None)
        if early is not None:
            return early, None
        hosted = await self._host.hosted()

        def while_connected() -> AbstractAsyncContextManager[None]:
            share.close()
            return until_disconnect(receive)  # the whole body was received

        reply = await hosted.api.create(
            request, WrappedApp(self._app, scope), while_connected=while_connected
        )
        return reply, hosted.streams

    async def answer_preflight(
        self, scope: Scope, send: Send, paths: tuple[str, ...], dialect: DialectName
    ) -> bool:
        """Answer a browser's preflight as the option ``cors_origins`` says; whether it was one."""
        reply = self._cors.preflight(_request(scope), paths, dialect)
        if reply is not None:
            await send_body(reply, send)
        return reply is not None

    def _sends(self, request: Request, id: str, scope: Scope, send: Send) -> tuple[Send, Send]:
        """*send* for the app's reply to *request*, and *send* for ours.

        The second adds the CORS headers that let the page of *request* read our reply. The first
        adds them only where the option ``cors_origins`` is set: else the app adds its own.
        """
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

    async def _pass_on(self, way: PassThrough, scope: Scope, body: RequestBody, send: Send) -> None:
        if way.body is None:
            await self._app(scope, body.receive, send)
            return
        body.replace(way.body)
        headers = _headers_for(scope["headers"], way.body)
        reply = AppReply(way, send)
        await self._app({**scope, "headers": headers}, body.receive, reply.send)


async def _answer_long_poll(
    api: ResponsesAPI, route: Route, request: Request, receive: Receive
) -> Reply | PassThrough | None:
    """The reply to a poll that waits for a change; None if its client disconnects meanwhile."""
    async with until_disconnect(receive):
        return await api.answer(route, request)
    return None


def _with_empty_body(receive: Receive) -> Receive:
    """*receive* of a request whose body is empty and was received already."""
    body = RequestBody(receive, 0)
    body.replace(b"")
    return body.receive


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
    """*headers* of a request, adapted to another *body*.

    Without ``Accept-Encoding``: an error in the reply has to be read here.
    """
    kept = [pair for pair in headers if pair[0].lower() not in CLIENT_HEADERS]
    return [*kept, (b"content-length", b"%d" % len(body))]
