"""What every test gets: each async test runs on asyncio and on trio."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Core, memory store and ASGI adapter promise both; a driver's tests narrow it."""
    return str(request.param)
