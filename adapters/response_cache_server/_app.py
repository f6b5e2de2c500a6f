"""The app of the sidecar: the health check, the cache around the upstream, and how it stops."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Iterable
from typing import Final

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_server._asgi import App, Receive, Scope, Send, send_json
from response_cache_server._builtin.upstream import BuiltInUpstream
from response_cache_server._proxy.app import ProxyApp
from response_cache_server._settings import LITELLM, Settings
from response_cache_server._target import with_whole_names

__all__ = ("HEALTH_PATH", "Sidecar", "build_app")

HEALTH_PATH: Final = "/healthz"


class Sidecar:
    """An ASGI app: answers the health check and passes every other request to the cache."""

    def __init__(self, cache: ResponseCacheMiddleware) -> None:
        self._cache = cache
        self._is_cut = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] == HEALTH_PATH:
                await self._tell_health(send)
                return
            if b"%2" in (scope.get("raw_path") or b""):
                scope = with_whole_names(scope)
        try:
            await self._cache(scope, receive, send)
        except asyncio.CancelledError:
            if not self._is_cut:
                raise

    async def drain(self) -> None:
        """Report unhealthy, refuse new background work, and bring running responses to an end.

        Running responses get ``drain_timeout`` seconds to end by themselves. Their readers are
        served until then. A stream that is still open at that time is broken off.
        """
        await self._cache.drain()

    def cut(self, requests: Iterable[asyncio.Task[None]]) -> None:
        """Cancel *requests*, the open ones of the server. Their connections are broken."""
        self._is_cut = True
        for request in tuple(requests):
            request.cancel()

    async def _tell_health(self, send: Send) -> None:
        if self._cache.is_draining:
            await send_json(send, 503, {"status": "draining"})
        else:
            await send_json(send, 200, {"status": "ok"})


def build_app(settings: Settings, *, drain_on_signals: bool = True) -> Sidecar:
    """The whole app as *settings* say.

    With *drain_on_signals* the app drains when the process gets a stop signal. Without it, the
    caller must call ``drain``.

    Raises:
        ValueError: the scheme of the store's URL is unknown.
        ImportError: the driver of the store is not installed.
    """
    cache = ResponseCacheMiddleware(
        _upstream(settings),
        store=settings.store,
        drain_on_signals=drain_on_signals,
        **settings.options(),
    )
    return Sidecar(cache)


def _upstream(settings: Settings) -> App:
    if settings.upstream is None:
        return BuiltInUpstream()
    if settings.upstream == LITELLM:
        return _litellm(reuse_connections=settings.reuse_connections is True)
    return ProxyApp(
        settings.upstream,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        write_timeout=settings.write_timeout,
        forwarded=settings.forwarded,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        reuse_connections=settings.reuse_connections is not False,
        trust_env=settings.trust_env,
        cors_origins=settings.cors_origins or (),
    )


def _litellm(*, reuse_connections: bool) -> App:
    if importlib.util.find_spec("litellm") is None:
        raise ImportError("LiteLLM is not installed: pip install 'response-cache[litellm]'")
    if not reuse_connections:
        os.environ["AIOHTTP_KEEPALIVE_TIMEOUT"] = "0"  # LiteLLM reads it when it is imported
    from response_cache_litellm import litellm_app

    return litellm_app()
