"""What every test gets: each async test runs on asyncio and on trio."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings

from tests import deadlines

# Machines differ and share their cores: how long an example takes proves nothing.
settings.register_profile("steady", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)  # for `make fast`
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


PATIENCE: Final = deadlines.PATIENCE  # seconds for a thread to end that was told to
CACHED: Final = ("Trio thread", "AnyIO worker thread")  # kept by their makers, for the next call


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """A thread that goes on may fail during the next test, which would be blamed for it."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before]
    left = [each for each in left if not each.name.startswith(CACHED)]
    for each in left:
        each.join(PATIENCE)
    assert not [each for each in left if each.is_alive()], "the test left threads behind"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Core, memory store and ASGI adapter promise both; a driver's tests narrow it."""
    return str(request.param)
