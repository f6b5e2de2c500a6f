"""Streams that are being sent, and a drain that ends them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from response_cache._hosting import Streams
from response_cache.errors import StreamBroken
from response_cache.testing._virtual_time import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, with a clock that jumps."""
    return virtual_backend(request.param)


async def test_streams_that_end_are_waited_for_and_no_longer() -> None:
    streams, begun = Streams(), anyio.current_time()

    async def send(seconds: float) -> None:
        with streams.sending():
            await anyio.sleep(seconds)

    async with anyio.create_task_group() as tasks:
        for seconds in (1, 2, 3):
            tasks.start_soon(send, seconds)
        await anyio.wait_all_tasks_blocked()
        await streams.end(within=100)
        assert anyio.current_time() - begun == pytest.approx(3, abs=0.1)
    await streams.end(within=100)
    assert anyio.current_time() - begun == pytest.approx(3, abs=0.1)


async def test_a_stream_that_does_not_end_in_time_is_broken_off() -> None:
    streams = Streams()

    async def send() -> None:
        with pytest.raises(StreamBroken), streams.sending():
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
        await streams.end(within=5)
        assert anyio.current_time() - begun == pytest.approx(5, abs=0.1)


async def test_a_stream_whose_reader_is_cancelled_is_not_broken_off() -> None:
    streams = Streams()
    with anyio.move_on_after(1) as reader:
        with streams.sending():
            await anyio.sleep_forever()
    assert reader.cancelled_caught
    await streams.end(within=0)
