"""When the next batch of a response may go to its store.

A rate limit with bursts that keeps one time instead of a counter: the generic cell rate algorithm
(GCRA, ITU-T I.371).
"""

from __future__ import annotations

import math

__all__ = ("FlushSchedule",)

_SLOTS = 4  # of an interval
_STRETCH = 4.0  # a store that needs longer than a quarter of the interval gets fewer batches

_ROUNDING = 1e-7  # what is due at a slot, but for errors of arithmetic, goes at it


class FlushSchedule:
    """A few batches at once after a pause, then one for each interval; slow stores get fewer.

    A batch that has to wait goes at the end of a slot of the clock, which is a quarter of the
    interval. So the batches of many responses come due together and share round trips, in four
    groups. A batch may go one slot early if the process is awake anyway (timer slack).
    """

    def __init__(
        self, interval: float, *, longest: float, burst: int, is_eager: bool = False
    ) -> None:
        """*interval* and *longest* are seconds; an interval of 0 never delays.

        *is_eager*: a reader is about to wait for the batches, so the first ones are not delayed.
        """
        self._is_eager = is_eager
        self._shortest = interval
        self._longest = max(interval, longest)
        self._interval = interval
        self._burst = float(burst)
        self._ready = -math.inf  # when one batch is saved up, or was
        self.due = -math.inf  # the next batch may go from this time on
        self.earliest = -math.inf  # from this time on if the process is awake anyway

    def batch_sent(self, now: float, took: float, *, is_watched: bool = True) -> None:
        """A batch has gone at *now*, and the store needed *took* seconds for it.

        *is_watched*: a reader may be waiting for the events. While there is none, batches go at the
        longest interval.
        """
        if self._shortest <= 0:
            return
        saved = min(self._burst, 1.0 + (now - self._ready) / self._interval)  # in batches
        rest = max(saved - 1.0, -1.0 / _SLOTS)  # an early batch makes the next one late
        shortest = self._shortest
        if not is_watched:
            shortest = self._longest
            rest = rest if self._is_eager else min(rest, 0.0)
        self._interval = interval = min(max(shortest, _STRETCH * took), self._longest)
        slot = interval / _SLOTS
        self._ready = ready = now + (1.0 - rest) * interval
        self.due = now if ready <= now else math.ceil(ready / slot - _ROUNDING) * slot
        self.earliest = self.due - slot
