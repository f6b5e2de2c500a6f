"""One request and its reply: reads the body if needed, and gives the server what it sends."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, assert_never
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import anyio

from response_cache.errors import APIError, Unavailable
from response_cache.http import (
    Body,
    Cors,
    Headers,
    PassThrough,
    Reply,
    Request,
    Route,
    Stream,
    dressed,
    error_reply,
    reply_without_cache,
)
from response_cache.options import DialectName
from response_cache_wsgi._app_reply import AppReply
from response_cache_wsgi._body import ReadAhead, put_body
from response_cache_wsgi._headers import as_bytes, as_native, request_headers
from response_cache_wsgi._host import Host
from response_cache_wsgi._preflight import PreflightOf
from response_cache_wsgi._threads.stream_body import StreamBody
from response_cache_wsgi._upstream import WrappedApp

__all__ = ("Exchange",)


class Exchange:
    """Serves requests of the cache's routes, from their first byte to the iterable of the reply."""

    def __init__(
        self,
        app: WSGIApplication,
        host: Host,
        cors: Cors,
        *,
        preflights: threading.BoundedSemaphore,
        max_request_bytes: int,
    ) -> None:
        self._app = app
        self._host = host
        self._cors = cors
        self._preflights = preflights
        self._limit = max_request_bytes

    def run(
        self, route: Route, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer the request, or pass it to the app as if its body had not been read."""
        try:
            reply = self._reply(route, environ)
        except APIError as error:  # there is no open cache
            reply = error_reply(error)
        if "HTTP_ORIGIN" in environ and (self._cors.is_set or not isinstance(reply, PassThrough)):
            start_response = self._with_cors(route.id, environ, start_response)
        match reply:
            case Body():
                start_response(_status_line(reply.status), as_native(reply.headers))
                return (reply.content,) if reply.content else ()
            case Stream():
                stream = StreamBody(self._host.portal(), reply.chunks)
                start_response(_status_line(reply.status), as_native(reply.headers))
                return stream
            case PassThrough():
                return self._pass_on(reply, environ, start_response)
            case never:
                assert_never(never)

    def _pass_on(
        self, way: PassThrough, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if way.body is None:
            return self._app(environ, start_response)
        put_body(environ, way.body)
        environ.pop("HTTP_ACCEPT_ENCODING", None)  # an error in the reply has to be read here
        return AppReply(way, start_response).of(self._app, environ)

    def answer_preflight(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        paths: tuple[str, ...],
        dialect: DialectName,
    ) -> Iterable[bytes] | None:
        """Our answer to a browser's preflight, if the option ``cors_origins`` is set; else None."""
        reply = self._cors.preflight(_request(environ), paths, dialect)
        if reply is None:
            return None
        start_response(_status_line(reply.status), as_native(reply.headers))
        return ()

    def _with_cors(
        self, id: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> StartResponse:
        """*start_response* that adds the CORS headers of the request's page."""
        request = _request(environ)
        if not self._cors.concerns(request):
            return start_response
        allowed = self._allowed(request, id, environ)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, as_native(dressed(as_bytes(headers), allowed)), *exc_info)

        return start

    def _allowed(self, request: Request, id: str, environ: WSGIEnvironment) -> Headers:
        known = self._cors.known(request, id)
        if known is not None:
            return known
        ask = PreflightOf(self._app, environ, self._preflights)
        work = partial(self._cors.allowed, request, id, ask)
        portal = self._host.open_portal
        try:
            return anyio.run(work) if portal is None else portal.call(work())
        except Unavailable:  # the event loop has ended meanwhile
            return ()

    def _reply(self, route: Route, environ: WSGIEnvironment) -> Reply | PassThrough:
        if not route.id:
            return self._create(environ)
        portal = self._host.portal()
        return portal.call(portal.hosted.api.answer(route, _request(environ)))

    def _create(self, environ: WSGIEnvironment) -> Reply | PassThrough:
        body = ReadAhead(environ, self._limit)
        body.restore()
        if not (body.is_whole or body.is_cut):
            return PassThrough()  # the client has disconnected: the app gets to see that
        request = _request(environ, body.content)
        early = reply_without_cache(request, cut_at=self._limit if body.is_cut else None)
        if early is not None:
            return early
        portal = self._host.portal()
        upstream = WrappedApp(self._app, environ, draining=portal.hosted.draining)
        return portal.call(portal.hosted.api.create(request, upstream))


def _request(environ: WSGIEnvironment, body: bytes = b"") -> Request:
    path: str = environ.get("PATH_INFO", "")
    query: str = environ.get("QUERY_STRING", "")
    return Request(
        environ["REQUEST_METHOD"],
        path.encode("latin-1").decode("utf-8", "replace"),
        query.encode("latin-1"),
        request_headers(environ),
        body,
        None,
        environ,
    )


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:  # a status that only an upstream knows
        return f"{status} Unknown"
