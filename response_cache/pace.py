"""When the next batch of a response may go to its store: a token bucket."""

from __future__ import annotations

__all__ = ("Pace",)

_STRETCH = 4.0  # a store that needs longer than a quarter of the interval gets fewer batches


class Pace:
    """A few batches at once after a pause, then one for each interval; slow stores get fewer."""

    def __init__(self, interval: float, *, longest: float, burst: int) -> None:
        """*interval* and *longest* are seconds; an interval of 0 never delays."""
        self._shortest = interval
        self._longest = max(interval, longest)
        self._interval = interval
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = 0.0

    def delay(self, now: float) -> float:
        """Seconds until the next batch may go, at the time *now*."""
        if self._shortest <= 0:
            return 0.0
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) * self._interval)

    def spend(self, now: float, took: float, *, is_watched: bool = True) -> None:
        """A batch has gone at *now*, and the store needed *took* seconds for it.

        While nobody waits for them, batches go at the longest interval.
        """
        if self._shortest <= 0:
            return
        self._refill(now)
        self._tokens = max(0.0, self._tokens - 1.0)
        shortest = self._shortest if is_watched else self._longest
        self._interval = min(max(shortest, _STRETCH * took), self._longest)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) / self._interval)
        self._at = now
