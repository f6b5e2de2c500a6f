"""Refusals of ``stream: true``: how they are told from others, and where they are remembered.

The client asked for background work, and the stream is our own wish. Some models do not stream,
some organisations may not stream a model, some servers have no streams. They are asked once more
without ``stream``, and for a while not asked for a stream any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from cachetools import TTLCache

from response_cache._protocol.error_forms import failure_in

__all__ = ("REMEMBERED_TTL", "StreamRefusal", "StreamRefusals", "refuses_stream")

REMEMBERED_TTL: Final = 600.0
"""Seconds until a stream is asked for again: models and permissions change."""

MAX_REMEMBERED: Final = 1_000
_LONGEST_MODEL: Final = 256  # characters of a model's name that is remembered

_STATUSES: Final = frozenset((400, 422, 501))
"""Bad Request, Unprocessable Content, Not Implemented (RFC 9110, 15.5 and 15.6)."""

_PARAMETER: Final = re.compile(r"""(?P<q>['"`])stream(?P=q)|\bstream (?:parameter|option)\b""")
_STREAMING: Final = re.compile(r"\bstream(?:s|ed|ing)?\b")
_NEGATION: Final = re.compile(
    r"\bnot\b|n't\b|\bcannot\b|\bunsupported\b|\bdisabled\b|\bunavailable\b|\bunknown\b"
    r"|\bunrecognized\b|\bmust be (?:false|verified)\b|\bnon-stream|\b(?:no|without) stream"
)
_MAX_DEPTH: Final = 6


_Known: TypeAlias = TTLCache[tuple[str | None, str], bool]


class StreamRefusals:
    """Who was refused a stream of which model lately. Bounded, and gone with the process."""

    def __init__(self, now: Callable[[], float]) -> None:
        """*now* gives seconds."""
        self._known: _Known = TTLCache(MAX_REMEMBERED, REMEMBERED_TTL, timer=now)

    def of(self, owner: str | None, model: str) -> StreamRefusal:
        """What is known of *model* for *owner*: permissions differ from key to key."""
        return StreamRefusal(self._known, owner, model)


class StreamRefusal:
    """What is known of one model for one owner."""

    def __init__(self, known: _Known, owner: str | None, model: str) -> None:
        self._known = known
        self._key = (owner, model)

    @property
    def is_known(self) -> bool:
        """Whether a stream was refused lately."""
        return self._key in self._known

    def remember(self) -> None:
        """A stream was refused, and the request without it was accepted."""
        if len(self._key[1]) <= _LONGEST_MODEL:
            self._known[self._key] = True


def refuses_stream(status: int, value: Any) -> bool:
    """Whether an HTTP error refuses the stream alone.

    *value* is what its body holds. It counts when it names the parameter ``stream``, or says that
    streaming is not supported.
    """
    if status not in _STATUSES:
        return False
    if any(_names_stream(part) for part in _objects(value)):
        return True
    failure = failure_in(value)
    if failure is None:
        return False
    words = f"{failure.message} {failure.code.replace('_', ' ')}".lower()
    is_negated = _STREAMING.search(words) and _NEGATION.search(words)
    return _PARAMETER.search(words) is not None or bool(is_negated)


def _names_stream(part: dict[str, Any]) -> bool:
    """OpenAI has the parameter in ``param``, FastAPI the path to it in ``loc``."""
    place = part.get("loc")
    return part.get("param") == "stream" or (isinstance(place, list) and place[-1:] == ["stream"])


def _objects(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """All objects in *value*, to a depth that no error needs."""
    if depth > _MAX_DEPTH or not isinstance(value, dict | list):
        return
    if isinstance(value, dict):
        yield value
    for inner in _inner(value):
        yield from _objects(inner, depth + 1)


def _inner(value: dict[str, Any] | list[Any]) -> Iterator[Any]:
    """What stands in *value*, but for ``input``: there FastAPI repeats what it was sent."""
    if isinstance(value, list):
        yield from value
        return
    yield from (inner for name, inner in value.items() if name != "input")
