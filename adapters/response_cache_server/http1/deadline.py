"""The one timer of a connection.

What a connection waits for changes with each request, and most of what it waits for comes. So a
deadline that is moved later costs an assignment; the timer in the event loop is made anew only
when it is to ring earlier, or has rung.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ("Deadline",)

TIMER_TOLERANCE: Final = 0.002  # seconds by which timers of event loops may ring too early


class Deadline:
    """Calls a function at a time, unless it is moved or cleared before."""

    __slots__ = ("_at", "_loop", "_rings_at", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = inf
        self._rings_at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._then: Callable[[], None] | None = None

    def set(self, seconds: float, then: Callable[[], None]) -> None:
        """Call *then* after *seconds*, and nothing that was to be called before."""
        self._at = self._loop.time() + seconds
        self._then = then
        if self._at < self._rings_at:
            self._arm()

    def clear(self) -> None:
        """Call nothing."""
        self._at = inf

    def cancel(self) -> None:
        """Call nothing any more, and leave no timer behind."""
        self._at = self._rings_at = inf
        self._then = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._at
        self._timer = self._loop.call_at(self._at, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, inf
        if self._at == inf:
            return
        if self._loop.time() < self._at - TIMER_TOLERANCE:
            self._arm()
        elif self._then is not None:
            self._at = inf
            self._then()
