"""What goes wrong with streams of events: from well-formed ones to bytes that are hardly a stream.

Three stages, each drawn by itself: events are dropped, doubled, moved and changed; then they are
written as server-sent events in any form that the standard allows, and in some that it does not;
then the bytes are cut and damaged.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from hypothesis import strategies as st

from response_cache._fold.reducer import TABLE
from response_cache._protocol.jsontext import JsonObject
from response_cache.testing._strategies import valid_streams

__all__ = ("cuts", "damaged_streams", "json_values")

Json = Any

_NUMBERS: Final = st.one_of(
    st.integers(-3, 3),
    st.sampled_from((2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308)),
    st.floats(allow_nan=True, allow_infinity=True),
)
_TEXTS: Final = st.one_of(
    st.text(max_size=6),
    st.sampled_from(("", "\ud83d", "\ude00", "\x00", "\u2028", "\r\n", '"', "\\", "data: x", "é")),
)
_LEAVES: Final = st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS)

json_values: Final = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any JSON value, lone surrogates and numbers out of every range included."""

_TYPES: Final = (
    *sorted({row[0] for row in TABLE}),
    *(f"response.{step}" for step in ("created", "queued", "in_progress", "completed", "failed")),
    *("response.incomplete", "response.done", "response.cancelled", "error", "keepalive", "", "x"),
)
_KEYS: Final = (
    *("type", "item", "item_id", "output_index", "content_index", "summary_index", "part", "delta"),
    *("text", "response", "sequence_number", "obfuscation", "error", "id", "output", "status"),
    *("content", "summary", "annotations", "logprobs", "arguments", "action", "commands", "code"),
    *("response_id", "created_at", "metadata", "usage", "incomplete_details", "name", "call_id"),
)


@st.composite
def _odd_events(draw: st.DrawFn) -> Json:
    """An event of a known type with anything in it, or any value at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(json_values)
    fields = draw(st.dictionaries(st.sampled_from(_KEYS), json_values, max_size=5))
    return {**fields, "type": draw(st.sampled_from(_TYPES))}


@st.composite
def _changed(draw: st.DrawFn, event: JsonObject) -> Json:
    """*event* with one value in it replaced, removed or added, at any depth."""
    path = draw(st.lists(st.sampled_from(_KEYS), min_size=1, max_size=4))
    return _with(event, path, draw(json_values), is_removed=draw(st.booleans()))


def _with(value: Json, path: list[str], new: Json, *, is_removed: bool) -> Json:
    key, rest = path[0], path[1:]
    if isinstance(value, list) and value:
        return [_with(value[0], path, new, is_removed=is_removed), *value[1:]]
    if not isinstance(value, dict):
        return new
    if rest and key in value:
        return {**value, key: _with(value[key], rest, new, is_removed=is_removed)}
    if is_removed:
        return {name: kept for name, kept in value.items() if name != key}
    return {**value, key: new}


def _saying(event: Json, piece: str) -> Json:
    return {**event, "delta": piece} if isinstance(event, dict) else event


@st.composite
def _events(draw: st.DrawFn) -> list[Json]:
    events: list[Json] = list(draw(valid_streams(max_items=3)))
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(events)))
        kind = draw(st.sampled_from(("drop", "double", "move", "change", "insert", "grow")))
        if kind == "insert" or place == len(events):
            events.insert(place, draw(_odd_events()))
        elif kind == "drop":
            del events[place]
        elif kind == "double":
            events.insert(draw(st.integers(0, len(events))), events[place])
        elif kind == "grow":
            pieces = draw(st.lists(_TEXTS, max_size=30))
            events[place:place] = [_saying(events[place], piece) for piece in pieces]
        elif kind == "move":
            events.insert(draw(st.integers(0, len(events) - 1)), events.pop(place))
        elif isinstance(events[place], dict):
            events[place] = draw(_changed(events[place]))
    return events


@st.composite
def _frames(draw: st.DrawFn, event: Json) -> bytes:
    """*event* as a server may write it."""
    text = json.dumps(event, ensure_ascii=draw(st.booleans()))
    compact = draw(st.booleans())
    if compact:
        text = json.dumps(event, separators=(",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    end = draw(st.sampled_from((b"\n", b"\n", b"\n", b"\r\n", b"\r")))
    space = draw(st.sampled_from((b" ", b" ", b"", b"  ")))
    kind = event.get("type") if isinstance(event, dict) else None
    name = kind if isinstance(kind, str) else draw(_TEXTS)
    line = draw(st.sampled_from(("right", "right", "none", "wrong")))
    lines = [b"data:" + space + data]
    if line != "none":
        named = name if line == "right" else draw(_TEXTS)
        lines.insert(0, b"event: " + named.encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 7)) == 0:
        lines.insert(0, draw(st.sampled_from((b": hello", b"id: 1", b"retry: 5", b"x", b":"))))
    return end.join([*lines, b"", b""])


@st.composite
def damaged_streams(draw: st.DrawFn) -> bytes:
    """The bytes of one answer."""
    stream = b"".join([draw(_frames(event)) for event in draw(_events())])
    if draw(st.booleans()):
        stream += b"data: [DONE]\n\n"
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 3)))):
        start = draw(st.integers(0, len(stream)))
        end = min(len(stream), start + draw(st.sampled_from((0, 1, 2, 40, 4000))))
        stream = stream[:start] + draw(st.binary(max_size=4)) + stream[end:]
    return stream


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """*stream* in pieces: one, a few, or one for each frame."""
    if draw(st.booleans()):
        return re.findall(rb"(?s).*?\n\n|.+", stream)
    places = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
