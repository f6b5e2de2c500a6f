"""A run: events in a row that differ in nothing but their number and one text, in a short form.

Most of a log is such runs: the deltas of one text. As whole events they are ten times as long, and
most of what a delta costs is to write, compress and read the bytes that all of them share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ("DeltaRun", "Shape")


class Shape(NamedTuple):
    """The bytes that all events of a run share: before, between and after number and text."""

    before: bytes
    between: bytes
    after: bytes
    is_number_first: bool

    def filled(self, first: int, texts: list[bytes]) -> Iterator[bytes]:
        """The events with these *texts*, numbered from *first* on."""
        before, between, after = (literal.replace(b"%", b"%%") for literal in self[:3])
        if self.is_number_first:
            event = b"".join((before, b"%d", between, b"%b", after))
            return (event % numbered for numbered in enumerate(texts, first))
        event = b"".join((before, b"%b", between, b"%d", after))
        return (event % (text, number) for number, text in enumerate(texts, first))


class DeltaRun:
    """Events of one shape, numbered without gaps. No text has a line end in it."""

    __slots__ = ("_lines", "first", "length", "shape", "size")

    def __init__(self, shape: Shape, first: int, length: int, lines: bytes) -> None:
        """*lines* has *length* texts, one or more, with a line end between each two."""
        self.shape: Shape = shape
        self.first: int = first
        self.length: int = length
        self._lines = [lines]  # in pieces, with a line end between each two
        before, between, after, _ = shape
        self.size: int = len(before) + len(between) + len(after) + len(lines)  # bytes that it keeps

    def __iter__(self) -> Iterator[bytes]:
        return self.shape.filled(self.first, self._texts())

    def absorb(self, other: DeltaRun) -> int:
        """Add *other* to this run if it goes on where this run ends.

        Returns by how many bytes ``size`` has grown; 0 if *other* does not go on.
        """
        if other.first != self.first + self.length or other.shape != self.shape:
            return 0
        self.length += other.length
        self._lines += other._lines
        grown = sum(len(lines) + 1 for lines in other._lines)
        self.size += grown
        return grown

    def cut(self, length: int) -> tuple[DeltaRun, DeltaRun]:
        """The first *length* events and the rest as two runs; neither may be empty."""
        texts = self._texts()
        head, rest = b"\n".join(texts[:length]), b"\n".join(texts[length:])
        return (
            DeltaRun(self.shape, self.first, length, head),
            DeltaRun(self.shape, self.first + length, self.length - length, rest),
        )

    def dump(self) -> bytes:
        """The run as bytes, for ``load``."""
        before, between, after, is_number_first = self.shape
        lengths = f"{len(before)},{len(between)},{len(after)}"
        head = f"{self.first},{1 if is_number_first else 0},{lengths}\n".encode()
        return b"".join((head, before, between, after, b"\n".join(self._lines)))

    @classmethod
    def load(cls, dumped: bytes) -> DeltaRun:
        """The run that ``dump`` gave as *dumped*."""
        head, _, body = dumped.partition(b"\n")
        first, is_number_first, *lengths = map(int, head.split(b","))
        literals = []
        for length in lengths:
            literals.append(body[:length])
            body = body[length:]
        before, between, after = literals
        shape = Shape(before, between, after, bool(is_number_first))
        return cls(shape, first, body.count(b"\n") + 1, body)

    def _texts(self) -> list[bytes]:
        return b"\n".join(self._lines).split(b"\n")
