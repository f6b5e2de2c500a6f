"""A batch of events as one compressed block of bytes: how batches are kept and stored."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

__all__ = ("Batch", "pack", "unpack")

_FAST: Final = 1  # zlib level: events repeat themselves so much that more effort gains little


class Batch(tuple[bytes, ...]):
    """Events that are packed at most once, however many want them packed: a store, and who keeps
    them in case that it forgets.
    """

    _block: bytes | None = None

    @property
    def block(self) -> bytes:
        """All of them, packed."""
        if self._block is None:
            self._block = _pack(self)
        return self._block


def pack(events: Sequence[bytes]) -> bytes:
    """*events* as one compressed block."""
    return events.block if isinstance(events, Batch) else _pack(events)


def _pack(events: Sequence[bytes]) -> bytes:
    """Their lengths in text, a line end, then their bytes."""
    lengths = ",".join(map(str, map(len, events))).encode()
    return zlib.compress(b"\n".join((lengths, b"".join(events))), _FAST)


def unpack(block: bytes) -> list[bytes]:
    """The events of a packed block."""
    lengths, _, joined = zlib.decompress(block).partition(b"\n")
    if not lengths:
        return []
    ends = list(accumulate(int(length) for length in lengths.split(b",")))
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]
