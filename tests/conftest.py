"""What every test gets: each async test runs on asyncio and on trio."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Machines differ and share their cores: how long an example takes proves nothing.
settings.register_profile("steady", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Core, memory store and ASGI adapter promise both; a driver's tests narrow it."""
    return str(request.param)
