"""How many bytes the bodies may have together that are being read ahead in this process."""

from __future__ import annotations

from typing import Final

from response_cache.errors import Unavailable

__all__ = ("Budget",)

RETRY_AFTER: Final = 1.0  # seconds


class Budget:
    """Counts what is taken and given back."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """*size* bytes more are held.

        Raises:
            Unavailable: they are more than there is room for. They count as taken all the same.
        """
        self._left -= size
        if self._left < 0:
            raise Unavailable("Too many large requests are being read.", retry_after=RETRY_AFTER)

    def give_back(self, size: int) -> None:
        """*size* bytes are held no longer, or by somebody who counts them himself."""
        self._left += size
