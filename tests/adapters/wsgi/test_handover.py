"""What passes between threads and the loop: in order, within bounds, to the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from response_cache import UpstreamStopped
from response_cache_wsgi._threads.handover import (
    MAX_BUFFERED_BYTES,
    MAX_JOINED_BYTES,
    PART_OVERHEAD_BYTES,
    ToLoop,
    ToThread,
)
from tests.adapters.wsgi.driver import WAIT_TIMEOUT


@pytest.fixture
def anyio_backend() -> str:
    """The portal's own."""
    return "asyncio"


class Flood:
    """A thread that puts the same part again and again, until it is refused."""

    def __init__(self, parts: ToLoop[bytes], part: bytes) -> None:
        self.count = 0
        self._parts, self._part = parts, part
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._parts.put(self._part)
                self.count += 1
        except UpstreamStopped:
            self._parts.end()

    def join(self) -> None:
        self._thread.join(WAIT_TIMEOUT)
        assert not self._thread.is_alive()


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once *condition*, about a thread, holds."""
    with anyio.fail_after(WAIT_TIMEOUT):
        while not condition():  # noqa: ASYNC110 - threads set no events here
            await anyio.sleep(0.001)


@pytest.mark.parametrize("part", [b"", b"x", b"x" * 10_000, b"x" * MAX_BUFFERED_BYTES])
async def test_a_thread_waits_while_the_loop_is_behind(part: bytes) -> None:
    parts: ToLoop[bytes] = ToLoop()
    flood = Flood(parts, part)
    bound = -(-MAX_BUFFERED_BYTES // (PART_OVERHEAD_BYTES + len(part)))
    await eventually(lambda: flood.count == bound)
    assert len(await parts.take()) == bound
    await eventually(lambda: flood.count == 2 * bound)
    parts.refuse()
    await parts.ended()
    flood.join()
    assert flood.count == 2 * bound


async def test_all_parts_come_in_order_and_then_the_end() -> None:
    parts: ToLoop[bytes] = ToLoop()
    sent = [b"%d" % n for n in range(20_000)]

    def send() -> None:
        for part in sent:
            parts.put(part)
        parts.end()

    taken: list[bytes] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, send)
        while batch := await parts.take():
            taken += batch
    assert taken == sent
    assert await parts.take() == []


async def test_the_loop_waits_while_a_thread_is_behind() -> None:
    chunks = ToThread(asyncio.get_running_loop())
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(10):
            await chunks.put(b"x" * (MAX_BUFFERED_BYTES // 4))
            sent += 1
        chunks.end()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert sent == 3  # the fourth fills it
        received = 0
        while chunk := await anyio.to_thread.run_sync(chunks.take):
            received += len(chunk)
    assert received == 10 * (MAX_BUFFERED_BYTES // 4)


async def test_a_thread_is_told_what_the_other_side_ended_with() -> None:
    chunks = ToThread(asyncio.get_running_loop())
    await chunks.put(b"the rest")
    chunks.end(ValueError("broken"))
    assert chunks.take() == b"the rest"
    with pytest.raises(ValueError, match="broken"):
        chunks.take()


async def test_a_thread_that_will_not_wait_is_told_that_there_is_nothing() -> None:
    chunks = ToThread(asyncio.get_running_loop())
    assert chunks.take(within=0) is None


async def test_short_chunks_come_joined_and_long_ones_as_they_are() -> None:
    chunks = ToThread(asyncio.get_running_loop())
    for chunk in (b"a", b"b" * MAX_JOINED_BYTES, b"c" * MAX_JOINED_BYTES, b"d"):
        await chunks.put(chunk)
    chunks.end()
    taken = [await anyio.to_thread.run_sync(chunks.take) for _ in range(4)]
    assert taken == [b"a", b"b" * MAX_JOINED_BYTES, b"c" * MAX_JOINED_BYTES, b"d"]
    assert await anyio.to_thread.run_sync(chunks.take) == b""
    others = ToThread(asyncio.get_running_loop())
    for chunk in (b"a", b"b", b"c"):
        await others.put(chunk)
    assert await anyio.to_thread.run_sync(others.take) == b"abc"
