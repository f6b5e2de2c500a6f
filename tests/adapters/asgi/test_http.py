"""The HTTP suite over the ASGI middleware on real stores; on memory it runs in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from response_cache.testing import InProcess, ScriptedUpstream
from response_cache_asgi import ResponseCacheMiddleware
from tests.adapters.http_in_real_time import HttpInRealTime, Served

pytestmark = pytest.mark.slow


class TestOverASGI(HttpInRealTime):
    """Around a scripted app, in the event loop of the client."""

    @pytest.fixture(params=["sqlite", "redis"])
    def kept_in(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def served(self) -> Served:
        return served_in_process


@asynccontextmanager
async def served_in_process(
    upstream: ScriptedUpstream, url: str, options: dict[str, Any]
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the middleware around *upstream*."""
    wrapped = ResponseCacheMiddleware(upstream, url, drain_on_signals=False, **options)
    async with httpx.AsyncClient(transport=InProcess(wrapped), base_url="http://test/v1") as client:
        yield client
