"""Recognises the deltas of one text by their bytes, so that they need no parsing.

A model's answer is mostly one text in a thousand deltas. As bytes these events differ in three
places: the number, the delta and the padding. A template has the bytes between the places. Deltas
that match it and follow each other become a run of our events, for a fraction of the work.

Nothing depends on a match: an event that is not recognised is parsed like any other event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, takewhile
from operator import itemgetter
from typing import Final, TypeAlias

from response_cache._log.delta_runs import DeltaRun, Shape
from response_cache._protocol.jsontext import load

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

WINDOW: Final = 16 * 2**10  # bytes of a stretch, which is searched again when one frame is odd

_Found: TypeAlias = tuple[bytes, ...]
"""What the pattern finds: the literals of a frame, with the delta among them, and an empty last
item; or, where the bytes are no frame, all of them as the last item."""

Match: TypeAlias = tuple[str, DeltaRun, int]
"""A stretch of deltas of one text: what they add to the text, our events, and where the stretch
ends in the stream."""


class DeltaTemplate:
    """The bytes that all deltas of one text share, of the upstream's events and of ours."""

    def __init__(self, theirs: _Parts, ours: _Parts) -> None:
        """*theirs* is an event as the upstream sends it, *ours* the same event as we record it."""
        self._pattern = _pattern(theirs.places, tuple(map(len, theirs.literals)))
        delta = theirs.places.index("delta") + 1
        self._literals = theirs.literals
        self._delta_of = itemgetter(delta)
        self._literals_of = itemgetter(*(n + (n >= delta) for n in range(len(theirs.literals))))
        before, between, after = ours.literals
        self._shape = Shape(before, between, after, ours.places == ("number", "delta"))

    @classmethod
    def of(cls, frame: bytes, ours: bytes, number: int) -> DeltaTemplate | None:
        """The template of events like *frame*, which was recorded as *ours* under *number*.

        None if *frame* does not show it without doubt.
        """
        theirs, recorded = _Parts.of(frame), _Parts.of(ours)
        if theirs is None or recorded is None or "padding" in recorded.places:
            return None
        made = cls(theirs, recorded)
        likely = made.stretch(frame, 0, number, 1)
        return made if likely is not None and [*likely[1]] == [ours] else None

    def stretch(self, stream: bytes, start: int, number: int, most: int) -> Match | None:
        """The deltas in *stream* from *start* on: at most *most* of them, and within ``WINDOW``.

        Our events are numbered from *number* on. None if the next event does not match.
        """
        end = min(len(stream), start + WINDOW)
        found: list[_Found] = self._pattern.findall(stream, start, end)
        if found and (rest := found[-1][-1]):
            found.pop()
            end -= len(rest)
        match = self._matched(found, number, end) if len(found) <= most else None
        return match or self._beginning(found[:most], stream, start, number)

    def _matched(self, found: list[_Found], number: int, end: int) -> Match | None:
        """The match of all frames in *found*, or None if one of them is odd."""
        count = len(found)
        if not count or [*map(self._literals_of, found)].count(self._literals) != count:
            return None
        lines = b"\n".join(map(self._delta_of, found))
        text = _text(lines, count)
        return None if text is None else (text, DeltaRun(self._shape, number, count, lines), end)

    def _beginning(
        self, found: list[_Found], stream: bytes, start: int, number: int
    ) -> Match | None:
        """The match of the frames before the first odd one."""
        good = sum(1 for _ in takewhile(lambda one: self._matched([one], number, start), found))
        matches = islice(self._pattern.finditer(stream, start), good)
        return self._matched(
            found[:good], number, max((one.end() for one in matches), default=start)
        )


@lru_cache(maxsize=256)  # to compile one takes as long as to recognise a hundred deltas
def _pattern(places: Sequence[str], lengths: Sequence[int]) -> re.Pattern[bytes]:
    """A pattern of frames whose literals have these *lengths*, or else of the rest of the bytes.

    It does not know the literals themselves, so that it serves the next response as well, which has
    other ids. The groups are ``_Found``.
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
        """The parts of *frame*; None if one of its places is in doubt."""
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
    """The text of *lines* together, each the inner part of a JSON string; None if one is not."""
    try:
        said = lines.decode()
        text = said.replace("\n", "")
        if "\\" in text or not text.isprintable():
            texts: list[str] = load(b'["%b"]' % lines.replace(b"\n", b'","'))
            return "".join(texts) if len(texts) == count else None
    except ValueError:
        return None
    return text if len(said) - len(text) == count - 1 else None
