"""The middleware: it holds the configuration, and decides who answers which request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Unpack
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from response_cache import OptionFields, Options, ResponseCache, Store
from response_cache.http import Cors, ResponsesAPI, match_route
from response_cache.options import options_of
from response_cache.stores import store_of
from response_cache_wsgi._exchange import Exchange
from response_cache_wsgi._host import Host
from response_cache_wsgi._owners import AnyOwnerOf, async_owner_of
from response_cache_wsgi._preflight import call_slots

__all__ = ("ResponseCacheMiddleware",)

MAX_RUNNING: Final = 100  # each running response has a thread here
OTHER_PARAMETERS: Final = ("app", "store", "owner", "drain_on_signals")  # beside options


class ResponseCacheMiddleware:
    """Background mode for ``POST /v1/responses`` of the wrapped app.

    Requests that are not about background responses go to *app* untouched. Background runs call
    *app* in threads of ours, several at a time, also under a server that has one thread.
    """

    def __init__(
        self,
        app: WSGIApplication,
        store: Store | str = "memory://",
        *,
        owner: AnyOwnerOf | None = None,
        drain_on_signals: bool = True,
        **options: Unpack[OptionFields],
    ) -> None:
        """Wrap *app*; *store* is a store or its URL.

        A server that forks after the first request needs the URL: an open store does not survive a
        fork. *owner* names the owner of a request, or refuses it; a plain function is called in a
        thread. With *drain_on_signals* the cache is drained as soon as SIGTERM or SIGINT reaches
        the server. *options* are the fields of ``response_cache.Options``; ``max_running`` is 100
        unless given.

        Raises:
            ValueError: an unknown option, a value out of its range, or a URL of no known store.
            ImportError: the store's driver is not installed.
        """
        self.app = app
        self.options: Options = options_of(
            {"max_running": MAX_RUNNING, **options}, beside=OTHER_PARAMETERS
        )
        self._owner = None if owner is None else async_owner_of(owner)
        self._cors = Cors(self.options.cors_origins)
        self._preflights = call_slots()
        # Raises now if the store is wrong. From a URL each process makes a store of its own.
        store_of(store, dialect=self.options.dialect)
        self._store = store
        self._host = Host(
            self._make_api,
            is_forkable=isinstance(store, str),
            drain_timeout=self.options.drain_timeout,
            drains_on_signals=drain_on_signals,
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the requests of the cache's routes, and pass all others to the app."""
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        route = match_route(method, path, self.options.paths, self.options.dialect)
        if route is not None:
            return self._exchange().run(route, environ, start_response)
        if self._cors.is_set and method == "OPTIONS":
            answer = self._exchange().answer_preflight(
                environ, start_response, self.options.paths, self.options.dialect
            )
            if answer is not None:
                return answer
        return self.app(environ, start_response)

    def _exchange(self) -> Exchange:
        return Exchange(
            self.app,
            self._host,
            self._cors,
            preflights=self._preflights,
            max_request_bytes=self.options.max_request_bytes,
        )

    @property
    def is_draining(self) -> bool:
        """Whether new background work is refused because the process is to stop."""
        return self._host.is_draining

    def start(self) -> None:
        """Open the store in this process now, not at the first request.

        Called in the main thread, it also has stop signals drain the cache. A server that loads the
        app and then forks needs that: with gunicorn's ``preload_app``, call it in the hook
        ``post_worker_init``.

        Raises:
            Unavailable: the store could not be opened; the message says why.
        """
        self._host.start()

    def drain(self) -> None:
        """Take no more background work; bring running responses and streams to their end.

        Takes at most ``drain_timeout`` seconds, and half a second more in which open streams send
        what they have; then they are broken off.
        """
        self._host.drain()

    def close(self) -> None:
        """Drain, and close the store for good. Done by itself when the interpreter exits."""
        self._host.close()

    def _make_api(self) -> ResponsesAPI:
        return ResponsesAPI(ResponseCache(self._store, self.options), self._owner)
