"""What tasks sleep on until a time, or until they are woken.

When little is going on, waking the process up is most of what a batch costs. So a sleeper may say
from when on it would be *early* enough, and whatever else wakes the process from then on takes it
along. On asyncio a sleep is a future and timers; a cancel scope around an event, as it must be
elsewhere, is a cancelled task. Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod

import anyio
from anyio.lowlevel import current_token

__all__ = ("Alarm", "Alarms")


class Alarms:
    """The alarms of all tasks of one event loop, by whose clock their times are."""

    def __init__(self) -> None:
        self._sleeping: set[Alarm] = set()
        self.early = math.inf  # before that there is nobody to wake

    def new(self) -> Alarm:
        """An alarm for one task of the event loop that runs now."""
        loop = current_token().native_token
        if isinstance(loop, asyncio.AbstractEventLoop):
            return _AsyncioAlarm(self, loop)
        return _AnyAlarm(self)

    def ring(self, now: float) -> None:
        """Something runs anyway: wake whom it is early enough for. Nobody before ``early``."""
        later = math.inf
        for alarm in self._sleeping:
            if alarm.early <= now:
                alarm.wake()
            elif alarm.early < later:
                later = alarm.early
        self.early = later

    def add(self, alarm: Alarm) -> None:
        """*alarm* may ring early."""
        self._sleeping.add(alarm)
        if alarm.early < self.early:
            self.early = alarm.early

    def discard(self, alarm: Alarm) -> None:
        """*alarm* sleeps no more."""
        self._sleeping.discard(alarm)


class Alarm(ABC):
    """Of one task."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._is_asleep = False
        self.early = math.inf

    @abstractmethod
    def wake(self) -> None:
        """End the sleep; nothing while nobody sleeps."""

    def wake_at(self, time: float, *, early: float) -> None:
        """End the sleep at *time* at the latest, from *early* on with whatever else happens.

        Nothing while nobody sleeps.
        """
        if self._is_asleep:
            self.early = early
            self._alarms.add(self)
            self._set(time)

    @abstractmethod
    async def sleep_until(self, time: float, *, early: float = math.inf) -> None:
        """Return at *time*, from *early* on with whatever else happens, or when woken."""

    @abstractmethod
    def _set(self, time: float) -> None: ...

    def _fall_asleep(self, early: float) -> None:
        self.early = early
        self._is_asleep = True
        self._alarms.add(self)

    def _wake_up(self) -> None:
        self._is_asleep = False
        self._alarms.discard(self)


class _AsyncioAlarm(Alarm):
    """Two timers: one for this sleep, and one for an end that most sleeps do not come near.

    The second is left as it is from sleep to sleep, and looks when it goes off. After a sleep that
    ended early, shortly before its time, it would soon go off for nothing: such a sleep has the
    first.
    """

    def __init__(self, alarms: Alarms, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(alarms)
        self._loop = loop
        self._sleep: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end = math.inf
        self._end_timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    def _set(self, time: float) -> None:
        if time >= self._end:
            return
        if self._timer is not None:
            if self._timer.when() <= time:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(time, self.wake)

    async def sleep_until(self, time: float, *, early: float = math.inf) -> None:
        self._fall_asleep(early)
        self._sleep = self._loop.create_future()
        self._end = time
        if early < math.inf:
            self._timer = self._loop.call_at(time, self.wake)
        elif self._end_timer is None or self._end_timer.when() > time:
            self._look_at(time)
        try:
            await self._sleep
        finally:
            self._sleep = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._wake_up()

    def _look_at(self, time: float) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = self._loop.call_at(time, self._look)

    def _look(self) -> None:
        self._end_timer = None
        if self._sleep is None or self._timer is not None:
            return
        if self._end > self._loop.time():
            self._look_at(self._end)
        else:
            self.wake()


class _AnyAlarm(Alarm):
    def __init__(self, alarms: Alarms) -> None:
        super().__init__(alarms)
        self._woken: anyio.Event | None = None
        self._scope = anyio.CancelScope()

    def wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    def _set(self, time: float) -> None:
        self._scope.deadline = min(self._scope.deadline, time)

    async def sleep_until(self, time: float, *, early: float = math.inf) -> None:
        self._fall_asleep(early)
        self._woken = anyio.Event()
        self._scope = anyio.CancelScope(deadline=time)
        try:
            with self._scope:
                await self._woken.wait()
        finally:
            self._woken = None
            self._wake_up()
