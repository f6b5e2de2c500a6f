"""The outermost app in a worker of the proxy: it decides between the cache and the proxy.

A request from outside goes to the cache where it is about background responses, else to the proxy.
The cache calls back in two cases: it passes a request on to the proxy, or it has the proxy make a
background response. That is a request of its own, which the proxy's middleware counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from response_cache.errors import APIError
from response_cache.http import match_route
from response_cache.options import DialectName
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._exchange import path_below_root
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send
from response_cache_asgi._upstream import EXTENSION
from response_cache_litellm._proxy.background_run import BackgroundRun, current_background_run
from response_cache_litellm._proxy.disconnect import DelayedDisconnect
from response_cache_litellm._proxy.usage import usage_in

__all__ = ("CALL_ID", "OuterRequest", "ProxyFront", "current_outer_request")

logger = logging.getLogger("response_cache.litellm")

CALL_ID: Final = b"x-litellm-call-id"  # under this name LiteLLM's logs know a request
_OF_A_RUN: Final = frozenset((CALL_ID, b"accept"))


@dataclass(frozen=True, slots=True)
class OuterRequest:
    """A request at the front, as the server gave it."""

    scope: Scope
    send: Send


current_outer_request: Final[ContextVar[OuterRequest]] = ContextVar("response_cache_outer_request")


class ProxyFront:
    """An ASGI app in front of *proxy*, the stack of the proxy's middleware."""

    def __init__(
        self,
        proxy: ASGIApp,
        *,
        make_cache: Callable[[ASGIApp], ResponseCacheMiddleware],
        with_reply_headers: Callable[[ASGIApp], ASGIApp],
        paths: tuple[str, ...],
        dialect: DialectName = "openai",
    ) -> None:
        """*make_cache* is called when the proxy has started: it has its settings then.

        *with_reply_headers* wraps the cache, and gives its replies the proxy's headers.
        A POST to one of *paths* creates a response. *dialect* gives the form of ids.
        """
        self._proxy = proxy
        self._make_cache = make_cache
        self._with_reply_headers = with_reply_headers
        self._paths = paths
        self._dialect: DialectName = dialect
        self._cache: ResponseCacheMiddleware | None = None
        self._inner: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests about background responses; pass any other to the proxy."""
        if scope["type"] == "lifespan":
            await self._proxy(scope, self._draining(receive), self._started(send))
            return
        inside = self._inside()
        if scope["type"] == "http" and self._is_ours(scope):
            outer = current_outer_request.set(OuterRequest(scope, send))
            try:
                await inside(scope, receive, send)
            finally:
                current_outer_request.reset(outer)
        else:
            await self._proxy(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        path = path_below_root(scope)
        return match_route(scope["method"], path, self._paths, self._dialect) is not None

    def _inside(self) -> ASGIApp:
        """The cache, made now if need be; the proxy itself where it cannot be made."""
        if self._inner is None:
            try:
                self._cache = self._make_cache(self._behind)
            except (ValueError, ImportError) as error:
                logger.error("background responses are off: %s", error)  # noqa: TRY400 - one line
                self._inner = self._proxy
            else:
                self._inner = self._with_reply_headers(self._cache)
        return self._inner

    async def _behind(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The proxy as the cache sees it."""
        extension = (scope.get("extensions") or {}).get(EXTENSION)
        if extension is None:  # passed on: the proxy adds its headers itself
            await self._proxy(scope, receive, current_outer_request.get().send)
        else:
            await self._run(BackgroundRun(extension["answer"]), scope, receive, send)

    async def _run(self, run: BackgroundRun, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            run.note_usage(usage_in(message.get("body", b"")))
            await send(message)

        headers = [pair for pair in scope["headers"] if pair[0].lower() not in _OF_A_RUN]
        headers += [(b"accept", b"text/event-stream"), (CALL_ID, run.answer.id.encode())]
        current_background_run.set(run)  # for the rest of this task, which is the run's
        delayed = DelayedDisconnect(run.answer, receive, send_on)
        await self._proxy({**scope, "headers": headers}, delayed.receive, delayed.send)

    def _started(self, send: Send) -> Send:
        """*send* of a lifespan: the cache is made and opened as soon as the proxy has started.

        Only ``proxy_app`` is here so early. Else the first request of any kind makes the cache.
        """

        async def sent(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                message = await self._opened(message)
            await send(message)

        return sent

    async def _opened(self, message: Message) -> Message:
        """*message*; or a failed start where the store cannot be opened."""
        self._inside()
        try:
            if self._cache is not None:
                await self._cache.start()
        except APIError as error:
            return {"type": "lifespan.startup.failed", "message": error.message}
        return message

    def _draining(self, receive: Receive) -> Receive:
        """*receive* of a lifespan: running responses end before the proxy shuts down."""

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self._cache is not None:
                await self._cache.drain()
            return message

        return received
