"""When the next batch of a response may go to its store: a token bucket."""

from __future__ import annotations

import math

__all__ = ("FlushSchedule",)

_SLOTS = 4  # of an interval
_STRETCH = 4.0  # a store that needs longer than a quarter of the interval gets fewer batches

_ROUNDING = 1e-7  # what is due at a slot, but for errors of arithmetic, goes at it


class FlushSchedule:
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
        self._burst = float(burst)
        self._ready = -math.inf  # when the bucket has, or had, one token
        self.due = -math.inf  # from when on the next batch may go
        self.earliest = -math.inf  # from when on with whatever else happens

    def batch_sent(self, now: float, took: float, *, is_watched: bool = True) -> None:
        """A batch has gone at *now*, and the store needed *took* seconds for it.

        While nobody waits for them, and nobody is about to, batches go at the longest interval.
        """
        if self._shortest <= 0:
            return
        tokens = min(self._burst, 1.0 + (now - self._ready) / self._interval)
        rest = max(tokens - 1.0, -1.0 / _SLOTS)  # early ones make the next one late
        shortest = self._shortest
        if not is_watched:
            shortest = self._longest
            rest = rest if self._is_eager else min(rest, 0.0)
        self._interval = interval = min(max(shortest, _STRETCH * took), self._longest)
        slot = interval / _SLOTS
        self._ready = ready = now + (1.0 - rest) * interval
        self.due = now if ready <= now else math.ceil(ready / slot - _ROUNDING) * slot
        self.earliest = self.due - slot
