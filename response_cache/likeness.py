"""What the deltas of one text have in common, so that one more of them needs no parsing.

A model's answer is mostly one text in a thousand deltas, which as bytes differ in three places: the
number, the delta, and the padding. Those that follow each other in a stream are recognised by what
stays the same, and become a run of our events: a fraction of the work.

Nothing depends on it: what is not recognised, for whatever reason, is read as any other event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, takewhile
from typing import Final, NamedTuple

from response_cache.codec import load
from response_cache.runs import Run, Shape

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

# What may stand in the places, in JSON. Only the delta is of use.
_VALUES: Final = {
    "number": b"(?:0|[1-9][0-9]{0,17})",
    "delta": rb'([^"\\]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\]*+)*+)',
    "padding": b"[0-9A-Za-z]++",
}

LONGEST: Final = 64  # deltas of a stretch: so many at most are looked at again for one that is odd


class Alike(NamedTuple):
    """A stretch of a stream that holds nothing but deltas of one text."""

    texts: list[str]
    run: Run  # of our events
    end: int  # in the stream


class Likeness:
    """The bytes that stay the same around the places that differ."""

    def __init__(self, theirs: _Parts, ours: _Parts) -> None:
        """As an upstream sends them, and as we record them."""
        self._match = _pattern(theirs.places, tuple(map(len, theirs.literals))).match
        self._literals = theirs.literals
        self._delta = theirs.places.index("delta") + 2  # the group; those of literals are before it
        self._others = tuple(n + (n >= self._delta) for n in range(1, len(theirs.literals) + 1))
        before, between, after = ours.literals
        self._shape = Shape(before, between, after, ours.places == ("number", "delta"))

    @classmethod
    def of(cls, frame: bytes, ours: bytes, number: int) -> Likeness | None:
        """Of events like *frame*, which became *ours* under *number*; None if it cannot tell."""
        theirs, recorded = _Parts.of(frame), _Parts.of(ours)
        if theirs is None or recorded is None or "padding" in recorded.places:
            return None
        made = cls(theirs, recorded)
        likely = made.stretch(frame, 0, number, 1)
        return made if likely is not None and [*likely.run] == [ours] else None

    def stretch(self, stream: bytes, start: int, number: int, most: int) -> Alike | None:
        """The deltas that *stream* goes on with at *start*, if it does; at most *most* of them.

        Never more than ``LONGEST``. Our events are numbered from *number* on.
        """
        deltas: list[bytes] = []
        end, match = start, self._match
        delta, others, literals = self._delta, self._others, self._literals
        most = min(most, LONGEST)
        while len(deltas) < most and (found := match(stream, end)):
            if found.group(*others) != literals:
                break
            deltas.append(found[delta])
            end = found.end()
        if texts := _texts(deltas):
            return Alike(texts, Run(self._shape, number, deltas), end)
        good = sum(1 for _ in takewhile(_texts, ([delta] for delta in deltas)))
        return self.stretch(stream, start, number, good) if 0 < good < len(deltas) else None


@lru_cache(maxsize=256)  # to compile one takes as long as to recognise a hundred deltas
def _pattern(places: Sequence[str], lengths: Sequence[int]) -> re.Pattern[bytes]:
    """What matches a frame, whatever it says between its *places*, but as long.

    So it is the same for the next response, which has other ids. A group for each of the literals,
    and one for the delta.
    """
    first, *others = (b"(.{%d})" % length for length in lengths)
    values = (_VALUES[place] for place in places)
    return re.compile(b"".join((first, *chain(*zip(values, others, strict=True)))), re.DOTALL)


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
