"""What every test gets: each async test runs on asyncio and on trio."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import pytest
from hypothesis import settings

from tests import deadlines

# Machines differ and share their cores: how long an example takes proves nothing.
settings.register_profile("steady", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)  # for `make fast`
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT  # seconds for a thread to end that was told to
SLOW: Final = "\npytestmark = pytest.mark.slow\n"
CACHED: Final = ("Trio thread", "AnyIO worker thread")  # kept by their makers, for the next call


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import, for `make fast`, what is slow as a whole."""
    is_fast = "not slow" in config.option.markexpr and collection_path.suffix == ".py"
    return True if is_fast and SLOW in collection_path.read_text("utf-8") else None


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """A thread that goes on may fail during the next test, which would be blamed for it."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before]
    left = [each for each in left if not each.name.startswith(CACHED)]
    for each in left:
        each.join(WAIT_TIMEOUT)
    assert not [each for each in left if each.is_alive()], "the test left threads behind"


@pytest.fixture
def servers_handler() -> Iterator[list[int]]:
    """A server's handler for SIGTERM; gives the signals that it got."""
    got: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        got.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    yield got
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Core, memory store and ASGI adapter promise both; a driver's tests narrow it."""
    return str(request.param)
