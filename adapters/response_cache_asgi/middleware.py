"""The middleware: configuration, and who answers what. Everything of one request is elsewhere."""

from __future__ import annotations

from typing import Any, Final

from response_cache import (
    Face,
    Options,
    OwnerOf,
    ResponseCache,
    Route,
    Store,
    error_reply,
    find,
    store_from_url,
)
from response_cache.errors import APIError
from response_cache_asgi.exchange import Exchange, path_below_root, send_body
from response_cache_asgi.host import Host
from response_cache_asgi.lifespan import Lifespan
from response_cache_asgi.streams import Streams
from response_cache_asgi.types import ASGIApp, Receive, Scope, Send

__all__ = ("ResponseCacheMiddleware",)

LAST_WORDS: Final = 1.0  # seconds that streams get to send what they have when the process drains


class ResponseCacheMiddleware:
    """Background mode for ``POST /v1/responses`` of the wrapped app, on asyncio and trio.

    What is not about a background response goes to *app* untouched. Stand inside of what must see
    every request (CORS, request logs) and outside of nothing that authenticates by itself: polls
    never reach the wrapped app.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Store | str = "memory://",
        *,
        owner: OwnerOf | None = None,
        drain_on_signals: bool = True,
        **options: Any,
    ) -> None:
        """Wrap *app*; *store* is a store or its URL.

        *owner* tells who asks, or refuses; by default a digest of the request's credential. With
        *drain_on_signals* running responses are drained as soon as SIGTERM or SIGINT reaches the
        server. *options* are the fields of ``response_cache.Options``.

        Raises:
            ValueError: an unknown option, a value out of its range, or a URL of no known store.
        """
        self.app = app
        self.options = Options(**options)
        self._store = store_from_url(store) if isinstance(store, str) else store
        self._owner = owner
        self._drain_on_signals = drain_on_signals
        self._streams = Streams()
        self._host = Host(self._make_face)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is ours, pass on what is not."""
        kind = scope["type"]
        if kind == "http":
            path = scope["path"]
            if "/responses" in path:
                route = find(scope["method"], path_below_root(scope), self.options.paths)
                if route is not None:
                    await self._exchange(route, scope, receive, send)
                    return
        elif kind == "lifespan":
            lifespan = Lifespan(self.app, self._host, self.drain, signals=self._drain_on_signals)
            await lifespan.run(scope, receive, send)
            return
        await self.app(scope, receive, send)

    @property
    def is_draining(self) -> bool:
        """Whether new background work is refused because the process is to stop."""
        face = self._host.face
        return face is not None and face.cache.is_draining

    async def drain(self) -> None:
        """Take no more background work and bring the running work to an end.

        Takes at most ``drain_timeout`` and a moment for open streams to send their last words.
        """
        face = self._host.face
        if face is not None:
            await face.cache.drain()
        await self._streams.end(LAST_WORDS)

    async def _exchange(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            face = self._host.face or await self._host.started()
        except APIError as error:
            await send_body(error_reply(error), send)
            return
        exchange = Exchange(
            self.app,
            face,
            max_request_bytes=self.options.max_request_bytes,
            streams=self._streams,
        )
        await exchange.run(route, scope, receive, send)

    def _make_face(self) -> Face:
        return Face(ResponseCache(self._store, self.options), self._owner)
