"""Calls from threads into the loop: results, errors, context, and what happens at the end."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from types import FrameType

import anyio
import anyio.lowlevel
import pytest

from response_cache.errors import Unavailable
from response_cache_wsgi._threads.portal import Portal
from tests.adapters.wsgi.driver import WAIT_TIMEOUT

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


@asynccontextmanager
async def nothing() -> AsyncGenerator[str]:
    yield "hosted"


@pytest.fixture
def portal() -> Iterator[Portal[str]]:
    opened = Portal(nothing)
    opened.start()
    assert opened.hosted == "hosted"
    yield opened
    opened.close(WAIT_TIMEOUT)


async def name() -> str:
    await anyio.lowlevel.checkpoint()
    return NAME.get()


async def broken() -> None:
    await anyio.lowlevel.checkpoint()
    raise ValueError("broken")


def test_a_call_gives_the_result_or_raises_the_error(portal: Portal[str]) -> None:
    assert portal.call(name()) == "nobody"
    with pytest.raises(ValueError, match="broken"):
        portal.call(broken())


def test_a_call_runs_in_the_context_of_its_thread(portal: Portal[str]) -> None:
    found: list[str] = []

    def ask(own: str) -> None:
        NAME.set(own)
        found.append(portal.call(name()))

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(str(n) for n in range(20))
    assert portal.call(name()) == "nobody"


def test_a_call_under_way_at_the_end_is_told_of_it(portal: Portal[str]) -> None:
    has_begun = threading.Event()
    outcomes: list[type[BaseException]] = []

    async def waits() -> None:
        has_begun.set()
        await anyio.sleep_forever()

    def ask() -> None:
        try:
            portal.call(waits())
        except Unavailable as error:
            outcomes.append(type(error))

    thread = threading.Thread(target=ask)
    thread.start()
    assert has_begun.wait(WAIT_TIMEOUT)
    portal.close(WAIT_TIMEOUT)
    thread.join(WAIT_TIMEOUT)
    assert outcomes == [Unavailable]


def test_threads_that_call_while_it_ends_are_all_answered(portal: Portal[str]) -> None:
    answered: list[bool] = []
    has_begun = threading.Semaphore(0)

    def ask() -> None:
        try:
            while portal.call(name()):
                has_begun.release()
        except Unavailable:
            answered.append(True)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert has_begun.acquire(timeout=WAIT_TIMEOUT)
    portal.close(WAIT_TIMEOUT)
    for thread in threads:
        thread.join(WAIT_TIMEOUT)
    assert len(answered) == 10


class Interrupted(Exception):
    """What a server's signal handler raises in the thread that waits."""


def test_work_that_nobody_waits_for_is_cancelled(portal: Portal[str]) -> None:
    is_cancelled = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    async def waits() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        try:
            await anyio.sleep_forever()
        finally:
            is_cancelled.set()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            portal.call(waits())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert is_cancelled.wait(WAIT_TIMEOUT)
