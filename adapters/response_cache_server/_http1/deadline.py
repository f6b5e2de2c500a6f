"""The one timer of a connection.

The deadline of a connection changes with each request, and is rarely reached. So to move it later
costs one assignment. The event loop gets a new timer only when the deadline moves earlier, or after
the last timer has fired.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ("Deadline",)

TIMER_TOLERANCE: Final = 0.002  # seconds by which timers of event loops may fire too early


class Deadline:
    """Calls a function at its time, unless it is moved or cleared before."""

    __slots__ = ("_at", "_loop", "_rings_at", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._at = inf
        self._rings_at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._then: Callable[[], None] | None = None

    def set(self, seconds: float, then: Callable[[], None]) -> None:
        """Call *then* after *seconds*, in the place of the function that was set before."""
        self._at = self._loop.time() + seconds
        self._then = then
        if self._at < self._rings_at:
            self._arm()

    def clear(self) -> None:
        """Call nothing."""
        self._at = inf

    def cancel(self) -> None:
        """Call nothing any more, and cancel the timer."""
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
