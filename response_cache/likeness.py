"""What the deltas of one text have in common, so that one more of them needs no parsing.

A model's answer is mostly one text in a thousand deltas, which as bytes differ in three places: the
number, the delta, and the padding. A stretch of a stream in which they follow each other is cut at
what stays the same, and our events are made by filling two of the three in: a third of the work.

Nothing depends on it: what is not recognised, for whatever reason, is read as any other event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from response_cache.codec import load

__all__ = ("Alike", "Likeness")

# In a frame without a backslash a quote begins or ends a string. So what follows these words is
# the value of a key, and a value that is a string ends at the next quote.
_PLACES: Final = re.compile(
    b'(?P<number>(?<=,"sequence_number":)[0-9]+)'
    b'|(?P<delta>(?<="delta":")[^"]*)'
    b'|(?P<padding>(?<=,"obfuscation":")[0-9A-Za-z]*)'
)
_KEYS: Final = (b'"sequence_number"', b'"delta"')
_KINDS: Final = (["delta", "number"], ["delta", "number", "padding"])
WINDOW: Final = 32 * 2**10  # bytes of a stream that are looked at together


class Alike(NamedTuple):
    """A stretch of a stream that holds nothing but deltas of one text."""

    texts: list[str]
    events: list[bytes]  # ours
    end: int  # in the stream


class Likeness:
    """The bytes that stay the same around the places that differ."""

    def __init__(self, theirs: _Parts, ours: _Parts) -> None:
        """As an upstream sends them, and as we record them."""
        self._first, *self._inner, self._last = theirs.literals
        self._between = self._last + self._first
        self._number, self._delta = theirs.places.index("number"), theirs.places.index("delta")
        self._padding = theirs.places.index("padding") if "padding" in theirs.places else None
        before, between, after = (literal.replace(b"%", b"%%") for literal in ours.literals)
        self._is_number_first = ours.places == ("number", "delta")
        filled = (b"%d", b"%b") if self._is_number_first else (b"%b", b"%d")
        self._ours = b"".join((before, filled[0], between, filled[1], after))

    @classmethod
    def of(cls, frame: bytes, ours: bytes, number: int) -> Likeness | None:
        """Of events like *frame*, which became *ours* under *number*; None if it cannot tell."""
        theirs, recorded = _Parts.of(frame), _Parts.of(ours)
        if theirs is None or recorded is None or "padding" in recorded.places:
            return None
        made = cls(theirs, recorded)
        likely = made.stretch(frame, 0, number, 1)
        return made if likely is not None and likely.events == [ours] else None

    def stretch(self, stream: bytes, start: int, number: int, most: int) -> Alike | None:
        """The deltas that *stream* goes on with at *start*, if it does; at most *most* of them.

        Our events are numbered from *number* on.
        """
        if not stream.startswith(self._first, start):
            return None
        pieces = stream[start + len(self._first) : start + WINDOW].split(self._between)
        pieces[-1], is_whole, _ = pieces[-1].partition(self._last)
        deltas = self._deltas(pieces[:most] if is_whole else pieces[:-1][:most])
        texts = _texts(deltas)
        if not texts:
            return None
        length = sum(map(len, pieces[: len(texts)])) + len(texts) * len(self._between)
        return Alike(texts, self._events(deltas, number), start + length)

    def _deltas(self, pieces: list[bytes]) -> list[bytes]:
        """What stands in each of *pieces* in the place of the delta, until one is of another kind.

        A string that ends with a backslash is too hard to tell from one that goes on.
        """
        found: list[bytes] = []
        number, delta, padding = self._number, self._delta, self._padding
        for piece in pieces:
            values = []
            for literal in self._inner:
                value, is_there, piece = piece.partition(literal)
                if not is_there:
                    return found
                values.append(value)
            values.append(piece)
            if (
                not values[number].isdigit()
                or values[number].startswith(b"0")
                or (padding is not None and not values[padding].isalnum())
                or values[delta].endswith(b"\\")
            ):
                return found
            found.append(values[delta])
        return found

    def _events(self, deltas: list[bytes], first: int) -> list[bytes]:
        ours = self._ours
        if self._is_number_first:
            return [ours % (number, delta) for number, delta in enumerate(deltas, first)]
        return [ours % (delta, number) for number, delta in enumerate(deltas, first)]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A frame, cut at the places that differ."""

    literals: tuple[bytes, ...]  # one before each place, and one after them
    places: tuple[str, ...]

    @classmethod
    def of(cls, frame: bytes) -> _Parts | None:
        """Those of *frame*; None if they could be taken for something else."""
        if b"\\" in frame or any(frame.count(key) != 1 for key in _KEYS):
            return None
        found = [*_PLACES.finditer(frame)]
        places = tuple(str(place.lastgroup) for place in found)
        if sorted(places) not in _KINDS:
            return None
        ends = [0, *(place.end() for place in found)]
        starts = [*(place.start() for place in found), len(frame)]
        literals = tuple(frame[end:start] for end, start in zip(ends, starts, strict=True))
        return cls(literals, places)


def _texts(deltas: list[bytes]) -> list[str]:
    """What *deltas*, the inner parts of strings in JSON, say; nothing if one of them is no such."""
    try:
        said = b'"'.join(deltas).decode()
        if "\\" in said or not said.isprintable():
            return _read(deltas)
    except ValueError:
        return []
    texts = said.split('"')
    return texts if len(texts) == len(deltas) else []


def _read(deltas: list[bytes]) -> list[str]:
    texts: list[str] = load(b'["%b"]' % b'","'.join(deltas))
    return texts if len(texts) == len(deltas) else []
