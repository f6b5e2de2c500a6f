"""When the next batch of a response may go to its store: a token bucket."""

from __future__ import annotations

import math

__all__ = ("Pace",)

_SLOTS = 4  # of an interval
_STRETCH = 4.0  # a store that needs longer than a quarter of the interval gets fewer batches

_ROUNDING = 1e-7  # what is due at a slot, but for errors of arithmetic, goes at it


class Pace:
    """A few batches at once after a pause, then one for each interval; slow stores get fewer.

    Batches that have to wait go at whole slots of the clock, a quarter of the interval each. So
    those of many responses come due together, to share round trips, and yet not all at once. One
    slot before that is early enough, too, when something else happens then.
    """

    def __init__(
        self, interval: float, *, longest: float, burst: int, is_eager: bool = False
    ) -> None:
        """*interval* and *longest* are seconds; an interval of 0 never delays.

        *is_eager*: somebody is about to wait for the batches, so the first ones do not.
        """
        self._is_eager = is_eager
        self._shortest = interval
        self._longest = max(interval, longest)
        self._interval = interval
        self.slot = interval / _SLOTS  # seconds by which a batch may go early
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = 0.0

    def due(self, now: float) -> float:
        """When the next batch may go, as it looks at the time *now*, and never before that."""
        if self._shortest <= 0:
            return now
        self._refill(now)
        if self._tokens >= 1.0 - _ROUNDING:
            return now
        slots = (now + (1.0 - self._tokens) * self._interval) / self.slot
        return max(now, math.ceil(slots - _ROUNDING) * self.slot)

    def spend(self, now: float, took: float, *, is_watched: bool = True) -> None:
        """A batch has gone at *now*, and the store needed *took* seconds for it.

        While nobody waits for them, and nobody is about to, batches go at the longest interval.
        """
        if self._shortest <= 0:
            return
        self._refill(now)
        rest = max(self._tokens - 1.0, -1.0 / _SLOTS)  # early ones make the next one late
        self._tokens = rest if is_watched or self._is_eager else min(rest, 0.0)
        shortest = self._shortest if is_watched else self._longest
        self._interval = min(max(shortest, _STRETCH * took), self._longest)
        self.slot = self._interval / _SLOTS

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) / self._interval)
        self._at = now
