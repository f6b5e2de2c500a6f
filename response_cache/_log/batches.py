"""A batch of events, and the block of bytes that it is packed into to be kept and stored.

A block begins with the lengths of its parts in decimal, separated by commas, and a line end. The
parts follow. A part is an event, or a run of events, whose length has an ``r`` before it. A block
that is not short is compressed as a whole by zlib (RFC 1950). Its first byte tells: it is ``x``,
with which no list of lengths begins.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias, overload

from response_cache._log.delta_runs import DeltaRun

__all__ = ("Batch", "pack", "repacked", "unpack")

Part: TypeAlias = bytes | DeltaRun

_FAST: Final = 1  # zlib level: events repeat themselves so much that more effort gains little
_ZLIB: Final = b"x"
_RUN: Final = b"r"
_SHORT: Final = 2048  # bytes up to which to compress a block costs more than it saves


class Batch(Sequence[bytes]):
    """Events in their order, which are packed once at most.

    A store and the resend buffer use the same block. No event may be added after that.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._length = 0
        self._block: bytes | None = None
        self.size: int = 0  # bytes that it keeps, which for a run is much less than its events have

    def append(self, event: bytes) -> None:
        """Add one event."""
        self._parts.append(event)
        self._length += 1
        self.size += len(event)

    def extend(self, run: DeltaRun) -> None:
        """Add a run of events. The run belongs to the batch from now on."""
        self._length += run.length
        last = self._parts[-1] if self._parts else None
        grown = last.absorb(run) if isinstance(last, DeltaRun) else 0
        if not grown:
            self._parts.append(run)
        self.size += grown or run.size

    @property
    def block(self) -> bytes:
        """All events, packed."""
        return pack(self)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, DeltaRun):
                yield from part
            else:
                yield part

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return [*self][index]


def pack(events: Sequence[bytes]) -> bytes:
    """*events* as one block."""
    if not isinstance(events, Batch):
        return _pack(events)
    if events._block is None:
        events._block = _pack(events._parts)
    return events._block


def unpack(block: bytes) -> list[bytes]:
    """The events of a block."""
    events: list[bytes] = []
    for part in _parts(block):
        if isinstance(part, DeltaRun):
            events += part
        else:
            events.append(part)
    return events


def repacked(blocks: Iterable[bytes], most: int) -> Iterator[Batch]:
    """The events of *blocks* in as few batches as possible, of at most *most* events each."""
    batch = Batch()
    for part in (part for block in blocks for part in _parts(block)):
        rest: Part | None = part
        while rest is not None:
            if len(batch) == most:
                yield batch
                batch = Batch()
            if not isinstance(rest, DeltaRun):
                batch.append(rest)
                rest = None
            elif rest.length <= most - len(batch):
                batch.extend(rest)
                rest = None
            else:
                head, rest = rest.cut(most - len(batch))
                batch.extend(head)
    if batch:
        yield batch


def _pack(parts: Sequence[Part]) -> bytes:
    lengths, pieces = [], []
    for part in parts:
        if isinstance(part, DeltaRun):
            piece = part.dump()
            lengths.append(f"r{len(piece)}")
        else:
            piece = part
            lengths.append(str(len(piece)))
        pieces.append(piece)
    head = ",".join(lengths) + "\n"
    plain = b"".join((head.encode(), *pieces))
    return plain if len(plain) <= _SHORT else zlib.compress(plain, _FAST)


def _parts(block: bytes) -> Iterator[Part]:
    plain = zlib.decompress(block) if block.startswith(_ZLIB) else block
    lengths, _, joined = plain.partition(b"\n")
    start = 0
    for length in lengths.split(b",") if lengths else ():
        is_run = length.startswith(_RUN)
        end = start + int(length.removeprefix(_RUN))
        piece = joined[start:end]
        yield DeltaRun.load(piece) if is_run else piece
        start = end
