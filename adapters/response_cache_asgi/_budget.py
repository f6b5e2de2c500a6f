"""A bound for all request bodies together that are read ahead, or parsed, in this process."""

from __future__ import annotations

from typing import Final

from response_cache.errors import Unavailable

__all__ = ("Budget", "Share")

RETRY_AFTER: Final = 1.0  # seconds after which a refused client may try again


class Budget:
    """*size* bytes, which all requests share."""

    def __init__(self, size: int) -> None:
        self._left = size

    def share(self) -> Share:
        """The share of one request. It holds nothing yet."""
        return Share(self)

    def take(self, size: int) -> bool:
        """Count *size* bytes, a negative number when they are given back; whether they fit."""
        self._left -= size
        return self._left >= 0


class Share:
    """What one request holds of *budget*. Must be closed."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size: int) -> None:
        """Hold *size* more bytes.

        Raises:
            Unavailable: the budget is used up. The bytes count as held all the same.
        """
        self._held += size
        if not self._budget.take(size):
            raise Unavailable("Too many large requests are being read.", retry_after=RETRY_AFTER)

    def close(self) -> None:
        """Give all bytes back: they are freed, or counted by another bound. May be repeated."""
        self._budget.take(-self._held)
        self._held = 0
