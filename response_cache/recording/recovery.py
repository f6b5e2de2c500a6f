"""What a recorder keeps of the log that the store acknowledged, in case that the store loses it."""

from __future__ import annotations

from collections.abc import Sequence

from response_cache.log.batches import pack, unpack

__all__ = ("ResendBuffer",)


class ResendBuffer:
    """The acknowledged part of one log as packed blocks, up to a bound in bytes."""

    def __init__(self, limit: int) -> None:
        """Keep at most *limit* packed bytes; past it nothing is kept any more."""
        self._limit = limit
        self._blocks: list[tuple[int, bytes]] = []  # number of the first event, packed events
        self._bytes = 0
        self.is_complete = True  # whether every event added can still be given back

    def add(self, first: int, events: Sequence[bytes]) -> None:
        """Keep *events*, numbered from *first*."""
        if not self.is_complete or not events:
            return
        block = pack(events)
        self._bytes += len(block)
        if self._bytes > self._limit:
            self._blocks.clear()
            self.is_complete = False
        else:
            self._blocks.append((first, block))

    def since(self, number: int) -> list[bytes]:
        """The kept events numbered *number* and above, byte for byte."""
        found: list[bytes] = []
        for index, (first, block) in enumerate(self._blocks):
            following = self._blocks[index + 1][0] if index + 1 < len(self._blocks) else None
            if following is not None and following <= number:
                continue
            found += unpack(block)[max(0, number - first) :]
        return found
