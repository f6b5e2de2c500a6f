"""The middleware: configuration, and who answers what. Everything of one request is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Unpack
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from response_cache import ResponseCache, ResponsesAPI, Store, match_route
from response_cache.http.cors import Cors
from response_cache.option_fields import OptionFields
from response_cache.options import options_of
from response_cache.protocol.dialects import DIALECTS
from response_cache.stores import store_of
from response_cache_wsgi.exchange import Exchange
from response_cache_wsgi.host import Host
from response_cache_wsgi.owners import AnyOwnerOf, async_owner_of
from response_cache_wsgi.preflight import call_slots

__all__ = ("ResponseCacheMiddleware",)

MAX_RUNNING: Final = 100  # each running response has a thread here
OTHER_PARAMETERS: Final = ("app", "store", "owner", "drain_on_signals")  # beside options


class ResponseCacheMiddleware:
    """Background mode for ``POST /v1/responses`` of the wrapped app.

    What is not about a background response goes to *app* untouched. For background work *app* is
    called from threads of ours, several at a time, whatever the server does.
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

        Servers that fork after the first request need the URL: a store does not survive a fork.
        *owner* tells who asks, or refuses; a plain function is called in a thread. With
        *drain_on_signals* running responses are drained as soon as SIGTERM or SIGINT reaches the
        server. *options* are the fields of ``response_cache.Options``; ``max_running`` is 100
        unless given.

        Raises:
            ValueError: an unknown option, a value out of its range, or a URL of no known store.
            ImportError: the store's driver is not installed.
        """
        self.app = app
        self.options = options_of({"max_running": MAX_RUNNING, **options}, beside=OTHER_PARAMETERS)
        self._owner = None if owner is None else async_owner_of(owner)
        self._ids = DIALECTS[self.options.dialect].ids
        self._cors = Cors(self.options.cors_origins)
        self._preflights = call_slots()
        # Raises now what is wrong with it; of a URL each process makes its own.
        store_of(store, dialect=self.options.dialect)
        self._store = store
        self._host = Host(
            self._make_api,
            is_forkable=isinstance(store, str),
            drain_timeout=self.options.drain_timeout,
            drains_on_signals=drain_on_signals,
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer what is ours, pass on what is not."""
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        route = match_route(method, path, self.options.paths, self._ids)
        if route is not None:
            return self._exchange().run(route, environ, start_response)
        if self._cors.is_set and method == "OPTIONS":
            answer = self._exchange().answer_preflight(
                environ, start_response, self.options.paths, self._ids
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

        Called in the main thread, it also sees to it that signals drain; a server that forks after
        it has loaded the app needs that (gunicorn's ``preload_app``: in ``post_worker_init``).

        Raises:
            Unavailable: the store could not be opened; the message says why.
        """
        self._host.start()

    def drain(self) -> None:
        """Take no more background work in this process and bring the running work to an end.

        Takes at most ``drain_timeout`` and a moment for open streams to send their last words; what
        has not ended then is broken off.
        """
        self._host.drain()

    def close(self) -> None:
        """Drain, and close the store. For good; done by itself when the interpreter exits."""
        self._host.close()

    def _make_api(self) -> ResponsesAPI:
        return ResponsesAPI(ResponseCache(self._store, self.options), self._owner)
