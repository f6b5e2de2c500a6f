"""The middleware: it holds the configuration, and decides who answers which request."""

from __future__ import annotations

from typing import Unpack, overload

from response_cache import OptionFields, Options, OwnerOf, ResponseCache, Store
from response_cache.http import Cors, ResponsesAPI, match_route
from response_cache_asgi._configuration import configure
from response_cache_asgi._exchange import Exchange, path_below_root
from response_cache_asgi._host import Host
from response_cache_asgi._lifespan import Lifespan
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send

__all__ = ("ResponseCacheMiddleware",)


class ResponseCacheMiddleware:
    """Background mode for ``POST /v1/responses`` of the wrapped app, on asyncio and trio.

    Requests that are not about background responses go to *app* untouched. Other middleware may
    stand inside of this one or outside:

    * Middleware that must see every request (request logs) has to stand outside: polls never reach
      what is inside.
    * Authentication that stands inside sees creates alone. For polls there is *owner*.
    * CORS may stand on either side: see ``response_cache.http.Cors``.
    """

    # Frameworks pass *app* by position or by name. With one signature for both, a keyword ``app``
    # could also be an option, which the types of Starlette's ``add_middleware`` refuse.
    @overload
    def __init__(
        self,
        app: ASGIApp,
        /,
        store: Store | str = ...,
        *,
        owner: OwnerOf | None = ...,
        drain_on_signals: bool = ...,
        **options: Unpack[OptionFields],
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        app: ASGIApp,
        store: Store | str = ...,
        owner: OwnerOf | None = ...,
        drain_on_signals: bool = ...,
        **options: Unpack[OptionFields],
    ) -> None: ...

    def __init__(
        self,
        app: ASGIApp,
        store: Store | str = "memory://",
        *,
        owner: OwnerOf | None = None,
        drain_on_signals: bool = True,
        **options: Unpack[OptionFields],
    ) -> None:
        """Wrap *app*; *store* is a store or its URL.

        *owner* names the owner of a request, or refuses it; by default the owner is a digest of the
        request's credential. With *drain_on_signals* the cache is drained as soon as SIGTERM or
        SIGINT reaches the server. *options* are the fields of ``response_cache.Options``.

        Starlette constructs its middleware inside of an ASGI call. There nothing is raised: the
        start of the app fails with the same message. Without a lifespan, each request that needs
        the cache is answered with it (500).

        Raises:
            ValueError: an unknown option, a value out of its range, or a URL of no known store.
            ImportError: the store's driver is not installed.
        """
        self.app = app
        self._configuration = configure(store, options)
        self.options: Options = self._configuration.options
        self._owner = owner
        self._host = Host(self._make_api, drains_on_signals=drain_on_signals)
        self._cors = Cors(self.options.cors_origins)
        self._exchange = Exchange(
            app,
            self._host,
            self._cors,
            max_request_bytes=self.options.max_request_bytes,
            max_reading_bytes=self.options.max_reading_bytes,
            body_timeout=self.options.body_timeout,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the requests of the cache's routes, and pass all others to the app."""
        kind = scope["type"]
        if kind == "http":
            paths, dialect = self.options.paths, self.options.dialect
            route = match_route(scope["method"], path_below_root(scope), paths, dialect)
            if route is not None:
                if route.id:
                    await self._exchange.answer(route, scope, receive, send)
                else:
                    await self._exchange.create(scope, receive, send)
                return
            is_asked = self._cors.is_set and scope["method"] == "OPTIONS"
            if is_asked and await self._exchange.answer_preflight(scope, send, paths, dialect):
                return
        elif kind == "lifespan":
            await Lifespan(self.app, self._host, receive, send).run(scope)
            return
        await self.app(scope, receive, send)

    @property
    def is_draining(self) -> bool:
        """Whether new background work is refused because the process is to stop."""
        return self._host.is_draining

    async def start(self) -> None:
        """Open the store in this event loop now, not at the first request.

        For an app whose server runs no lifespan. In a lifespan the store is open already.

        Raises:
            Unavailable: it could not be opened; the message says why.
            Misconfigured: an option or the store is wrong; the message says which.
        """
        await self._host.start()

    async def drain(self) -> None:
        """Take no more background work; bring running responses and streams to their end.

        Takes at most ``drain_timeout`` seconds, and half a second more in which open streams send
        what they have; then they are broken off. Only the work of the event loop that calls this is
        drained.
        """
        await self._host.drain()

    def _make_api(self) -> ResponsesAPI:
        store = self._configuration.require_store()
        return ResponsesAPI(ResponseCache(store, self.options), self._owner)
