"""The web face: the HTTP suite over the ASGI middleware, and the face's own small rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from response_cache.stores.memory import MemoryStore
from response_cache.testing import HttpConformance, HttpTimeConformance, Serve
from response_cache.testing.in_process import InProcess
from response_cache.testing.upstream import ScriptedUpstream
from response_cache.testing.virtual_time import virtual_backend
from response_cache_asgi import ResponseCacheMiddleware


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, with a clock that jumps."""
    return virtual_backend(request.param)


@asynccontextmanager
async def serve_in_process(
    upstream: ScriptedUpstream, **options: Any
) -> AsyncGenerator[httpx.AsyncClient]:
    """The middleware around *upstream*, with a memory store on the loop's time."""
    options.setdefault("store", MemoryStore(clock=anyio.current_time))
    app = ResponseCacheMiddleware(upstream, drain_on_signals=False, **options)
    transport = InProcess(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://site/v1") as client:
        yield client


class TestMiddleware(HttpConformance, HttpTimeConformance):
    @pytest.fixture
    def serve(self) -> Serve:
        return serve_in_process


@pytest.mark.parametrize("suite", [HttpConformance, HttpTimeConformance])
def test_no_test_of_the_suite_hides_another(suite: type) -> None:
    names = Counter(name for group in suite.__bases__ for name in vars(group))
    assert {name for name, count in names.items() if count > 1 and name[:5] == "test_"} == set()
