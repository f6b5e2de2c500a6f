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
from itertools import chain, islice, takewhile
from operator import itemgetter
from typing import Final, TypeAlias

from response_cache.log.delta_runs import DeltaRun, Shape
from response_cache.protocol.jsontext import load

__all__ = ("DeltaTemplate", "Match")

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

WINDOW: Final = 16 * 2**10  # bytes of a stretch: so many at most are looked at again for an odd one

_Found: TypeAlias = tuple[bytes, ...]
"""Of a frame: its literals with the delta among them, and nothing. Of what is no frame: all of it
in the last place."""


Match: TypeAlias = tuple[str, DeltaRun, int]
"""A stretch of a stream that holds nothing but deltas of one text: what they add to it, our events,
and where they end in the stream."""


class DeltaTemplate:
    """The bytes that stay the same around the places that differ."""

    def __init__(self, theirs: _Parts, ours: _Parts) -> None:
        """As an upstream sends them, and as we record them."""
        self._pattern = _pattern(theirs.places, tuple(map(len, theirs.literals)))
        delta = theirs.places.index("delta") + 1
        self._literals = theirs.literals
        self._delta_of = itemgetter(delta)
        self._literals_of = itemgetter(*(n + (n >= delta) for n in range(len(theirs.literals))))
        before, between, after = ours.literals
        self._shape = Shape(before, between, after, ours.places == ("number", "delta"))

    @classmethod
    def of(cls, frame: bytes, ours: bytes, number: int) -> DeltaTemplate | None:
        """Of events like *frame*, which became *ours* under *number*; None if it cannot tell."""
        theirs, recorded = _Parts.of(frame), _Parts.of(ours)
        if theirs is None or recorded is None or "padding" in recorded.places:
            return None
        made = cls(theirs, recorded)
        likely = made.stretch(frame, 0, number, 1)
        return made if likely is not None and [*likely[1]] == [ours] else None

    def stretch(self, stream: bytes, start: int, number: int, most: int) -> Match | None:
        """The deltas that *stream* goes on with at *start*, if it does; at most *most* of them.

        Never past ``WINDOW``. Our events are numbered from *number* on.
        """
        end = min(len(stream), start + WINDOW)
        found: list[_Found] = self._pattern.findall(stream, start, end)
        if found and (rest := found[-1][-1]):
            found.pop()
            end -= len(rest)
        match = self._matched(found, number, end) if len(found) <= most else None
        return match or self._beginning(found[:most], stream, start, number)

    def _matched(self, found: list[_Found], number: int, end: int) -> Match | None:
        """What *found* says, unless there is something odd in it."""
        count = len(found)
        if not count or [*map(self._literals_of, found)].count(self._literals) != count:
            return None
        lines = b"\n".join(map(self._delta_of, found))
        text = _text(lines, count)
        return None if text is None else (text, DeltaRun(self._shape, number, count, lines), end)

    def _beginning(
        self, found: list[_Found], stream: bytes, start: int, number: int
    ) -> Match | None:
        """The same of those before the first odd one."""
        good = sum(1 for _ in takewhile(lambda one: self._matched([one], number, start), found))
        matches = islice(self._pattern.finditer(stream, start), good)
        return self._matched(
            found[:good], number, max((one.end() for one in matches), default=start)
        )


@lru_cache(maxsize=256)  # to compile one takes as long as to recognise a hundred deltas
def _pattern(places: Sequence[str], lengths: Sequence[int]) -> re.Pattern[bytes]:
    """What finds frames, whatever they say between their *places*, but as long; or else the rest.

    So it is the same for the next response, which has other ids. The groups are ``_Found``.
    """
    first, *others = (b"(.{%d})" % length for length in lengths)
    values = (_VALUES[place] for place in places)
    frame = b"".join((first, *chain(*zip(values, others, strict=True))))
    return re.compile(frame + b"|(.+)", re.DOTALL)


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


def _text(lines: bytes, count: int) -> str | None:
    """What *lines*, the inner parts of strings in JSON, say together; None if one is no such."""
    try:
        said = lines.decode()
        text = said.replace("\n", "")
        if "\\" in text or not text.isprintable():
            texts: list[str] = load(b'["%b"]' % lines.replace(b"\n", b'","'))
            return "".join(texts) if len(texts) == count else None
    except ValueError:
        return None
    return text if len(said) - len(text) == count - 1 else None
