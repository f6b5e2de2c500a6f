"""What a read asks for: the values of its query, and the seconds of ``Prefer: wait``.

Queries are read as both official clients write them; of several values of one name the last counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from response_cache.errors import InvalidRequest
from response_cache.store import NO_EVENTS

__all__ = ("Query", "cursor", "flag", "parse", "wait_seconds")

Query = Mapping[str, list[str]]

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.?)*+(?:"|\Z))++', re.DOTALL)
"""One preference of a list: a comma inside of a quoted string does not end it."""
_SECONDS: Final = re.compile(r'([0-9]+)|"([0-9]+)"')
_MAX_DIGITS: Final = 9

_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}


def parse(query: bytes) -> Query:
    """The values by name, in their order."""
    return parse_qs(query.decode("latin-1"), keep_blank_values=True)


def flag(query: Query, name: str) -> bool:
    """A boolean; false when it is absent.

    Raises:
        InvalidRequest: it is neither true nor false.
    """
    text = query.get(name, ["false"])[-1].lower()
    if text not in _FLAGS:
        raise InvalidRequest(f"'{name}' must be true or false.", param=name)
    return _FLAGS[text]


def cursor(query: Query) -> int:
    """``starting_after``: the number of the last event that the client has; -1 for the whole log.

    Raises:
        InvalidRequest: it is not the number of an event.
    """
    text = query.get("starting_after", ["-1"])[-1]
    if not re.fullmatch(r"-1|[0-9]{1,30}", text):
        raise InvalidRequest(
            "'starting_after' must be an integer, the sequence number of an event.",
            param="starting_after",
        )
    return min(int(text), NO_EVENTS)


def wait_seconds(prefer: str, max_wait: float) -> int | None:
    """Whole seconds of ``Prefer: wait`` (RFC 7240 4.3), at most *max_wait*; None without one.

    Of several the first counts (RFC 7240 2). A value that is no number of seconds counts as none.
    """
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            match = _SECONDS.fullmatch(value.strip())
            return _at_most(match[1] or match[2], math.floor(max_wait)) if match else None
    return None


def _at_most(digits: str, most: int) -> int:
    digits = digits.lstrip("0")
    return min(int(digits or "0"), most) if len(digits) <= _MAX_DIGITS else most
