"""What a read asks for: the values of its query, and of the headers about versions and waiting.

Queries are read as both official clients write them; of several values of one name the last counts
(protocol 1). Entity tags name one state of one response: whoever knows the tag has the object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from response_cache.errors import InvalidRequest
from response_cache.store import NO_EVENTS, RecordView

__all__ = ("Query", "cursor", "entity_tag", "entity_tags", "flag", "is_known", "parse", "wait")

Query = Mapping[str, list[str]]

_PREFERENCE: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.?)*+(?:"|\Z))++', re.DOTALL)
"""One of a list: a comma in a quoted string does not end it, nor begin another."""
_SECONDS: Final = re.compile(r'([0-9]+)|"([0-9]+)"')
_MOST_DIGITS: Final = 9

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
    """``starting_after``; -1 stands for the whole log.

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


def wait(prefer: str, longest: float) -> int | None:
    """Whole seconds of ``Prefer: wait`` (RFC 7240 4.3), capped; None when it is not asked for.

    Of several the first counts (RFC 7240 2); what is no number of seconds asks for nothing.
    """
    for preference in _PREFERENCE.findall(prefer):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            match = _SECONDS.fullmatch(value.strip())
            return _at_most(match[1] or match[2], math.floor(longest)) if match else None
    return None


def _at_most(digits: str, most: int) -> int:
    digits = digits.lstrip("0")
    return min(int(digits or "0"), most) if len(digits) <= _MOST_DIGITS else most


def entity_tag(view: RecordView) -> str:
    """The tag of the object as *view* has it."""
    return f'"{view.incarnation}-{view.epoch}-{view.tail}-{view.status}"'


def entity_tags(if_none_match: str) -> frozenset[str]:
    """The tags a client knows, for weak comparison (RFC 9110 13.1.2)."""
    if not if_none_match:
        return frozenset()
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return frozenset(tag for tag in tags if tag)


def is_known(view: RecordView, known: frozenset[str]) -> bool:
    """Whether a client that knows these tags has the object already."""
    return entity_tag(view) in known or "*" in known
