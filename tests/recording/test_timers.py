"""How tasks sleep: until a time, until they are woken, or a little early with others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVarTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint

from response_cache._recording.timers import Timer, Timers
from response_cache.testing._virtual_time import VirtualLoop, virtual_backend

Arguments = TypeVarTuple("Arguments")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Sleeper:
    """A task that sleeps once."""

    def __init__(self, timers: Timers) -> None:
        self.timer: Timer = timers.new()
        self.start = anyio.current_time()
        self.woke: float | None = None  # seconds from the start

    async def sleep(self, seconds: float, earliest: float) -> None:
        await self.timer.sleep_until(self.start + seconds, earliest=self.start + earliest)
        self.woke = anyio.current_time() - self.start

    def hurry(self, seconds: float, earliest: float) -> None:
        self.timer.wake_at(self.start + seconds, earliest=self.start + earliest)


@asynccontextmanager
async def sleeping(
    timers: Timers, *times: tuple[float, float]
) -> AsyncIterator[tuple[Sleeper, ...]]:
    """One sleeper for each time, and the time from which on it is early enough."""
    sleepers = tuple(Sleeper(timers) for _ in times)
    async with anyio.create_task_group() as tasks:
        for sleeper, (seconds, earliest) in zip(sleepers, times, strict=True):
            tasks.start_soon(sleeper.sleep, seconds, earliest)
        await quiet()
        yield sleepers


async def quiet() -> None:
    for _ in range(10):
        await checkpoint()


async def test_a_sleep_ends_at_its_time() -> None:
    async with sleeping(Timers(), (5.0, 5.0)) as (sleeper,):
        pass
    assert sleeper.woke == pytest.approx(5.0)


async def test_a_time_that_has_passed_ends_it_at_once() -> None:
    async with sleeping(Timers(), (-1.0, -1.0)) as (sleeper,):
        pass
    assert sleeper.woke == pytest.approx(0.0)


async def test_it_can_be_woken_and_sleep_again() -> None:
    async with sleeping(Timers(), (5.0, 5.0)) as (sleeper,):
        sleeper.timer.wake()
        sleeper.timer.wake()
        await quiet()
        assert sleeper.woke == pytest.approx(0.0)
        await sleeper.sleep(3.0, 3.0)
        assert sleeper.woke == pytest.approx(3.0)


async def test_waking_who_does_not_sleep_is_forgotten() -> None:
    timers = Timers()
    sleeper = Sleeper(timers)
    sleeper.timer.wake()
    sleeper.hurry(0.5, 0.5)
    assert timers.earliest == float("inf")
    await sleeper.sleep(2.0, 2.0)
    assert sleeper.woke == pytest.approx(2.0)


@pytest.mark.parametrize(("seconds", "woke"), [(1.0, 1.0), (9.0, 5.0)])
async def test_a_sleep_can_be_cut_short_but_not_made_longer(seconds: float, woke: float) -> None:
    async with sleeping(Timers(), (5.0, 5.0)) as (sleeper,):
        sleeper.hurry(seconds, seconds)
    assert sleeper.woke == pytest.approx(woke)


async def test_nobody_is_woken_before_it_is_early_enough() -> None:
    timers = Timers()
    async with sleeping(timers, (5.0, 4.0), (6.0, 4.5), (7.0, 7.0)) as sleepers:
        await anyio.sleep(3.0)
        assert timers.earliest > anyio.current_time()
        await anyio.sleep(1.2)
        assert timers.earliest <= anyio.current_time()
        timers.fire_early(anyio.current_time())
        await quiet()
        assert timers.earliest == pytest.approx(sleepers[0].start + 4.5)
    assert [sleeper.woke for sleeper in sleepers] == pytest.approx([4.2, 6.0, 7.0])


async def test_who_was_hurried_may_be_woken_early_too() -> None:
    timers = Timers()
    async with sleeping(timers, (60.0, 60.0)) as (sleeper,):
        sleeper.hurry(5.0, 4.0)
        await anyio.sleep(4.5)
        assert timers.earliest <= anyio.current_time()
        timers.fire_early(anyio.current_time())
    assert sleeper.woke == pytest.approx(4.5)


async def test_who_was_cancelled_is_not_rung_for() -> None:
    timers = Timers()
    with anyio.move_on_after(1.0):
        await timers.new().sleep_until(anyio.current_time() + 9.0, earliest=anyio.current_time())
    timers.fire_early(anyio.current_time())
    assert timers.earliest == float("inf")


async def test_each_sleep_has_its_own_end_however_the_last_one_ended() -> None:
    async with sleeping(Timers(), (5.0, math.inf)) as (sleeper,):
        await anyio.sleep(1.0)
        sleeper.timer.wake()
        await quiet()
        for seconds, earliest in ((3.0, math.inf), (9.0, math.inf), (11.0, 10.0), (20.0, math.inf)):
            await sleeper.sleep(seconds, earliest)
            assert sleeper.woke == pytest.approx(seconds)


class TimedLoop(VirtualLoop):
    """Remembers its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers.append(super().call_at(when, callback, *args, context=context))
        return self.timers[-1]

    def goes_off_at(self, seconds: float) -> bool:
        """Whether it woke up for a timer at that time that nobody cancelled."""
        return seconds in [timer.when() for timer in self.timers if not timer.cancelled()]


@pytest.mark.parametrize("first", [(5.0, 4.0), (5.0, math.inf)])
def test_who_was_woken_early_has_no_timer_left_that_goes_off_for_nothing(
    first: tuple[float, float],
) -> None:
    """On asyncio: waking the process up for nothing costs a fifth of a batch."""
    loop = TimedLoop()

    async def sleep() -> None:
        timers = Timers()
        async with sleeping(timers, first) as (sleeper,):
            await anyio.sleep(4.5)
            sleeper.timer.wake()
            await quiet()
            for seconds in range(10, 40, 10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sleeper.sleep, seconds, seconds - 4.0)
                    await anyio.sleep(sleeper.start + seconds - 3.5 - anyio.current_time())
                    timers.fire_early(anyio.current_time())
                assert sleeper.woke == pytest.approx(seconds - 3.5)
            await anyio.sleep(9.0)

    anyio.run(sleep, backend_options={"loop_factory": lambda: loop})
    assert not any(map(loop.goes_off_at, (10.0, 20.0, 30.0)))
