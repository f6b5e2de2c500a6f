"""What tasks sleep on until a time, or until they are woken.

When little is going on, waking the process up is most of what a batch costs. So a timer may
have *slack*: it fires at its time, or from its *earliest* time on with whatever else wakes the
process. On asyncio a sleep is a future and timers; a cancel scope around an event, as it must be
elsewhere, is a cancelled task. Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

import anyio
from anyio.lowlevel import current_token

__all__ = ("Timer", "Timers")


class Timers:
    """The alarms of all tasks of one event loop, by whose clock their times are."""

    def __init__(self) -> None:
        self._sleeping: set[Timer] = set()
        self.earliest = math.inf  # before that there is nobody to wake

    def new(self) -> Timer:
        """An alarm for one task of the event loop that runs now."""
        loop = current_token().native_token
        if isinstance(loop, asyncio.AbstractEventLoop):
            return _AsyncioTimer(self, loop)
        return _AnyioTimer(self)

    def fire_early(self, now: float) -> None:
        """Something runs anyway: wake whom it is early enough for. Nobody before ``earliest``."""
        later = math.inf
        for timer in self._sleeping:
            if timer.earliest <= now:
                timer.wake()
            elif timer.earliest < later:
                later = timer.earliest
        self.earliest = later

    def add(self, timer: Timer) -> None:
        """*timer* may fire early."""
        self._sleeping.add(timer)
        if timer.earliest < self.earliest:
            self.earliest = timer.earliest

    def discard(self, timer: Timer) -> None:
        """*timer* sleeps no more."""
        self._sleeping.discard(timer)


class Timer(ABC):
    """Of one task."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._is_asleep = False
        self.earliest = math.inf

    @abstractmethod
    def wake(self) -> None:
        """End the sleep; nothing while nobody sleeps."""

    def wake_at(self, time: float, *, earliest: float) -> None:
        """End the sleep at *time* at the latest, from *earliest* on with whatever else happens.

        Nothing while nobody sleeps.
        """
        if self._is_asleep:
            self.earliest = earliest
            self._timers.add(self)
            self._set(time)

    @abstractmethod
    async def sleep_until(self, time: float, *, earliest: float = math.inf) -> None:
        """Return at *time*, from *earliest* on with whatever else happens, or when woken."""

    @abstractmethod
    def _set(self, time: float) -> None: ...

    def _fall_asleep(self, earliest: float) -> None:
        self.earliest = earliest
        self._is_asleep = True
        self._timers.add(self)

    def _wake_up(self) -> None:
        self._is_asleep = False
        self._timers.discard(self)


class _AsyncioTimer(Timer):
    """Two timers: one for this sleep, and one for an end that most sleeps do not come near.

    The second is left as it is from sleep to sleep, and looks when it goes off. After a sleep that
    ended early, shortly before its time, it would soon go off for nothing: such a sleep has the
    first.
    """

    def __init__(self, timers: Timers, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(timers)
        self._loop = loop
        self._sleep: asyncio.Future[None] | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._end = math.inf
        self._end_handle: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def _set(self, time: float) -> None:
        if time >= self._end:
            return
        if self._handle is not None:
            if self._handle.when() <= time:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(time, self.wake)

    async def sleep_until(self, time: float, *, earliest: float = math.inf) -> None:
        self._fall_asleep(earliest)
        self._sleep = self._loop.create_future()
        self._end = time
        if earliest < math.inf:
            self._handle = self._loop.call_at(time, self.wake)
        elif self._end_handle is None or self._end_handle.when() > time:
            self._look_at(time)
        try:
            await self._sleep
        finally:
            self._sleep = None
            if self._handle is not None:
                self._handle.cancel()
                self._handle = None
            self._wake_up()

    def _look_at(self, time: float) -> None:
        if self._end_handle is not None:
            self._end_handle.cancel()
        self._end_handle = self._loop.call_at(time, self._look)

    def _look(self) -> None:
        self._end_handle = None
        if self._sleep is None or self._handle is not None:
            return
        if self._end > self._loop.time():
            self._look_at(self._end)
        else:
            self.wake()


class _AnyioTimer(Timer):
    def __init__(self, timers: Timers) -> None:
        super().__init__(timers)
        self._woken: anyio.Event | None = None
        self._scope = anyio.CancelScope()

    def wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def _set(self, time: float) -> None:
        self._scope.deadline = min(self._scope.deadline, time)

    async def sleep_until(self, time: float, *, earliest: float = math.inf) -> None:
        self._fall_asleep(earliest)
        self._woken = anyio.Event()
        self._scope = anyio.CancelScope(deadline=time)
        try:
            with self._scope:
                await self._woken.wait()
        finally:
            self._woken = None
            self._wake_up()
