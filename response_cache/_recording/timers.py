"""Timers with slack: a task sleeps until a time, or until it is woken.

Where little is going on, waking the process up is most of what a batch costs. So a timer may have
*slack*, as timers of the Linux kernel have: it fires at its time, but from its *earliest* time on
also when something else wakes the process. Times are seconds of the event loop's clock.

On asyncio a sleep is a future and a timer of the loop. A cancel scope around an event, as it is
on other loops, would cost more: it ends the sleep by cancelling the task.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

import anyio
from anyio.lowlevel import current_token

__all__ = ("Timer", "Timers")


class Timers:
    """The timers of one event loop."""

    def __init__(self) -> None:
        self._sleeping: set[Timer] = set()
        self.earliest: float = math.inf  # before this time no timer may fire early

    def new(self) -> Timer:
        """A timer for one task of the event loop that runs now."""
        loop = current_token().native_token
        if isinstance(loop, asyncio.AbstractEventLoop):
            return _AsyncioTimer(self, loop)
        return _AnyioTimer(self)

    def fire_early(self, now: float) -> None:
        """The process is awake: fire each timer whose earliest time has come.

        Call it only when ``earliest`` has come, since it looks at every timer.
        """
        later = math.inf
        for timer in self._sleeping:
            if timer.earliest <= now:
                timer.wake()
            elif timer.earliest < later:
                later = timer.earliest
        self.earliest = later

    def add(self, timer: Timer) -> None:
        """*timer* sleeps, and may fire early."""
        self._sleeping.add(timer)
        if timer.earliest < self.earliest:
            self.earliest = timer.earliest

    def discard(self, timer: Timer) -> None:
        """*timer* sleeps no more."""
        self._sleeping.discard(timer)


class Timer(ABC):
    """What one task sleeps on."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._is_asleep = False
        self.earliest: float = math.inf

    @abstractmethod
    def wake(self) -> None:
        """End the sleep. Nothing happens when the task does not sleep."""

    def wake_at(self, time: float, *, earliest: float) -> None:
        """End the sleep at *time* at the latest, or early from *earliest* on.

        Nothing happens when the task does not sleep.
        """
        if self._is_asleep:
            self.earliest = earliest
            self._timers.add(self)
            self._set(time)

    @abstractmethod
    async def sleep_until(self, time: float, *, earliest: float = math.inf) -> None:
        """Return at *time*, early from *earliest* on, or when ``wake`` is called."""

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
    """Two timers of the loop, since to set and cancel one for each sleep is what a sleep costs.

    Most sleeps wait for a heartbeat and are woken long before it. They share the *end timer*, which
    stays set from sleep to sleep, and looks at the time when it fires. A sleep with slack ends
    shortly before its time, when the end timer would soon fire for nothing: it has a timer of its
    own.
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
