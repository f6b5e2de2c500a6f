"""How many bytes the bodies may have together that are read ahead, or judged, in this process."""

from __future__ import annotations

from typing import Final

from response_cache.errors import Unavailable

__all__ = ("Budget", "Share")

RETRY_AFTER: Final = 1.0  # seconds


class Budget:
    """*size* bytes, for the shares of all requests."""

    def __init__(self, size: int) -> None:
        self._left = size

    def share(self) -> Share:
        """Nothing yet, for one request."""
        return Share(self)

    def take(self, size: int) -> bool:
        """Count *size* bytes, less than none if they are given back; whether there was room."""
        self._left -= size
        return self._left >= 0


class Share:
    """What one request holds of *budget*, until it is closed."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size: int) -> None:
        """*size* bytes more are held.

        Raises:
            Unavailable: they are more than there is room for. They count as taken all the same.
        """
        self._held += size
        if not self._budget.take(size):
            raise Unavailable("Too many large requests are being read.", retry_after=RETRY_AFTER)

    def close(self) -> None:
        """All of it is held no longer, or by somebody who counts it himself. May be repeated."""
        self._budget.take(-self._held)
        self._held = 0
