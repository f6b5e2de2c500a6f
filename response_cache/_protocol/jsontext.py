"""JSON at the edge: reads what upstreams really send, writes what every client can parse.

Upstreams are not strict. They cut a text between the two halves of a surrogate pair, so that a
delta ends with a lone ``\\ud83d``; they write ``NaN``; they begin with a byte order mark. All this
is read here. What is written here is always strict JSON, on one line:

=====================  ================================  =======================================
on the wire            as a value                        written again as
=====================  ================================  =======================================
lone surrogate escape  ``str`` holding the surrogate     the escape; two joined halves become
                                                         the one character they stand for
``NaN``, ``Infinity``  ``None``                          ``null``
``1e400``              infinity                          ``null``
long integers          exact ``int``                     the same digits
=====================  ================================  =======================================

Both directions try the fast strict parser first, then the tolerant one of the standard library.
Malformed data is a ``ValueError`` whose message never quotes the data, because messages are logged
and content must not be.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias

from pydantic_core import PydanticSerializationError, from_json, to_json

__all__ = ("MAX_DEPTH", "JsonObject", "dump", "load", "member", "renumber")

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object. Its values are of any JSON type."""

MAX_DEPTH: Final = 400
"""The deepest nesting that is read, in levels. Parsers of clients take much more."""


def load(data: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON text.

    *max_depth* is above the limit of the fast parser, which is some 200 levels.

    Raises:
        ValueError: bad syntax, invalid UTF-8, or nested deeper than *max_depth* levels.
    """
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return _load_patiently(data, max_depth)


def dump(value: Any) -> bytes:
    """*value* as compact JSON without raw line ends; NaN and infinity become ``null``.

    Raises:
        ValueError: nested too deep, which what ``load`` returned never is.
    """
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        return _dump_patiently(value)


def member(data: bytes, name: str) -> bytes | None:
    """The text of one member of a JSON object, as it came; of several of that name the last.

    *data* must be what ``load`` reads as an object. None where it has no such member.
    """
    text, found = data.decode("utf-8-sig"), None
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _SPANS.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)  # behind the colon
        _, at = _SPANS.raw_decode(text, start)
        if key == name:
            found = text[start:at]
        at = _after_space(text, at)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return None if found is None else found.encode()


def renumber(data: bytes, event: JsonObject, number: int) -> bytes:
    """The JSON text of an event under our *number*, without ``obfuscation``, on one line.

    *event* must be ``load(data)``. All other bytes stay as received where *data* is strict JSON on
    one line and writes the two members compactly, as ``,"key":value``. Other data is written anew.
    """
    if (
        _is_plain(data)
        and (bare := _without_obfuscation(data, event))
        and (text := _with_number(bare, event, number))
    ):
        return text
    return _rewritten(event, number)


# Tells where values end. Numbers are left as text: their values are not asked for.
_SPANS: Final = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
_SPACES: Final = " \t\n\r"
_SPACE: Final = re.compile(r"[ \t\n\r]+")


def _after_space(text: str, at: int) -> int:
    if text[at] not in _SPACES:
        return at
    found = _SPACE.match(text, at)  # there may be megabytes of them
    return found.end() if found else at


def _load_patiently(data: bytes, max_depth: int) -> Any:
    # Not json.loads(data): it guesses UTF-16 and lets encoded surrogates pass.
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_null)
    except (ValueError, RecursionError):
        # Without the cause: decoding errors carry the data.
        raise ValueError(f"malformed JSON ({len(data)} bytes)") from None
    _check_depth(value, max_depth)
    return value


def _check_depth(value: Any, limit: int) -> None:
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _containers_in(outer)]
        if not level:
            return
    raise ValueError(f"JSON nested deeper than {limit} levels")


def _containers_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [member for member in value if isinstance(member, dict | list)]


def _null(_constant: str) -> None:
    """What NaN, Infinity and -Infinity are read as."""


def _dump_patiently(value: Any) -> bytes:
    try:
        return _in_ascii(value)
    except ValueError:  # by reading back what the standard library wrote, NaN becomes null
        return _in_ascii(json.loads(_dumped(value), parse_constant=_null))


def _in_ascii(value: Any) -> bytes:
    # Escapes are the only way to write one half of a surrogate pair. Two halves in a row get the
    # same escapes as the one character that they stand for.
    return _dumped(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _dumped(value: Any, **how: Any) -> str:
    try:
        return json.dumps(value, **how)
    except RecursionError:
        raise ValueError("value nested too deep for JSON") from None


# Renumbering without parsing. Why it is correct to search bytes: a quote in JSON opens a string,
# closes one, or follows a backslash. In `,"sequence_number":` the first quote stands between a
# comma and a letter, so it opens a string. That string is exactly this word, and the colon makes it
# a key. When the word is there once, no key is spelled with escapes, and the event itself has the
# key, then this is the key of the event and not of an object inside.

_ESCAPED_KEY_LETTER: Final = re.compile(rb"\\u00[567]")  # covers every letter of the two keys


_BRACE, _LF, _CR, _N, _I, _BACKSLASH = b"{\n\rNI\\"


def _is_plain(data: bytes) -> bool:
    # A search for one byte costs a tenth of a search for a word, so the byte is tried first.
    return not (
        data[0] != _BRACE  # white space or a byte order mark
        or _LF in data
        or _CR in data
        or (_N in data and b"NaN" in data)
        or (_I in data and b"Infinity" in data)
        or (_BACKSLASH in data and _ESCAPED_KEY_LETTER.search(data))
    )


def _without_obfuscation(data: bytes, event: JsonObject) -> bytes | None:
    if "obfuscation" not in event:
        return data
    value = event["obfuscation"]
    if not isinstance(value, str) or not value.isalnum():  # else it may be written with escapes
        return None
    before, found, after = data.partition(b',"obfuscation":"%b"' % value.encode())
    return before + after if found and data.count(b'"obfuscation"') == 1 else None


def _with_number(data: bytes, event: JsonObject, number: int) -> bytes | None:
    if "sequence_number" not in event:
        return b'{"sequence_number":%d%b%b' % (number, b"," if event else b"", data[1:])
    value = event["sequence_number"]
    if type(value) is not int or data.count(b'"sequence_number"') != 1:
        return None
    before, found, after = data.partition(b',"sequence_number":%d' % value)
    return b'%b,"sequence_number":%d%b' % (before, number, after) if found else None


def _rewritten(event: JsonObject, number: int) -> bytes:
    changed = {**event, "sequence_number": number}
    changed.pop("obfuscation", None)
    return dump(changed)
