"""The HTTP suite over the WSGI middleware: the same promises as over every other adapter."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from anyio.from_thread import BlockingPortal

from response_cache.testing import HttpConformance, ScriptedUpstream, Serve
from response_cache_wsgi import ResponseCacheMiddleware
from tests.adapters.wsgi_driver import InThreads, ScriptedApp


class OverWSGI(HttpConformance):
    """Around a scripted app, called in threads. Its clock is the real one."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Of the client and the upstream; the middleware has an event loop of its own."""
        return "asyncio"

    @pytest.fixture
    def url(self) -> str:
        """The store."""
        raise TypeError("a subclass names the store")

    @pytest.fixture
    def serve(self, url: str) -> Serve:
        """The middleware over *url*, closed at the end of the test."""

        def served(
            upstream: ScriptedUpstream, **options: Any
        ) -> AbstractAsyncContextManager[httpx.AsyncClient]:
            return served_in_threads(upstream, url, options)

        return served


class TestOnMemory(OverWSGI):
    """The store of one process."""

    @pytest.fixture
    def url(self) -> str:
        return "memory://"


class TestOnSQLite(OverWSGI):
    """The store of one machine."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/responses.db"


@asynccontextmanager
async def served_in_threads(
    upstream: ScriptedUpstream, url: str, options: dict[str, Any]
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the middleware around *upstream*."""
    async with BlockingPortal() as portal:
        app = ScriptedApp(upstream, portal)
        wrapped = ResponseCacheMiddleware(app, store=url, **{"drain_timeout": 0.2, **options})
        transport = InThreads(wrapped)
        async with httpx.AsyncClient(transport=transport, base_url="http://test/v1") as client:
            yield client
        await anyio.to_thread.run_sync(wrapped.close)  # in the order of a server: it hears no more
