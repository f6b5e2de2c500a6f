"""Look-ups for the fold: the object of a Response that an event changes, and the event's values.

A *place* finds the object in the Response by the indexes of the event. A *value* reads one field of
the event. Both return None where there is no such thing, and never raise, whatever a JSON parser
returned. Values are copies: they share no container with the event.

A path such as ``content[content_index]`` means: the entry of the list ``content`` at the index that
the event has in ``content_index``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from response_cache._protocol.jsontext import JsonObject

__all__ = (
    "Place",
    "Value",
    "as_index",
    "entry",
    "entry_at",
    "first_output",
    "item",
    "member",
    "shell_texts",
    "to",
    "typed",
    "whole",
)

Place: TypeAlias = Callable[[JsonObject, JsonObject], JsonObject | None]
"""Called with the response and the event."""

Value: TypeAlias = Callable[[JsonObject], Any]
"""Called with the event."""


def as_index(value: Any) -> int | None:
    """*value* if it is an index of a list, else None."""
    # Not isinstance: true and false are not indexes.
    return value if type(value) is int and value >= 0 else None


def entry_at(entries: Any, index: Any) -> Any:
    """``entries[index]``, or None where there is no such entry."""
    if not isinstance(entries, list) or as_index(index) is None:
        return None
    return entries[index] if index < len(entries) else None


def whole(response: JsonObject, event: JsonObject) -> JsonObject | None:
    """The place that is the response itself."""
    return response


def item(*types: str) -> Place:
    """``output[output_index]``, if that item is of one of *types*."""

    def find(response: JsonObject, event: JsonObject) -> JsonObject | None:
        found = entry_at(response.get("output"), event.get("output_index"))
        return found if isinstance(found, dict) and found.get("type") in types else None

    return find


def entry(holder: Place, entries: str, index: str) -> Place:
    """``holder.entries[index]``."""

    def find(response: JsonObject, event: JsonObject) -> JsonObject | None:
        owner = holder(response, event)
        found = None if owner is None else entry_at(owner.get(entries), event.get(index))
        return found if isinstance(found, dict) else None

    return find


def member(holder: Place, name: str) -> Place:
    """``holder.name``."""

    def find(response: JsonObject, event: JsonObject) -> JsonObject | None:
        owner = holder(response, event)
        found = None if owner is None else owner.get(name)
        return found if isinstance(found, dict) else None

    return find


def to(word: str) -> Value:
    """The value *word*, whatever the event is."""
    return lambda event: word


def typed(name: str, kind: type) -> Value:
    """The event's field *name*, if its value is of type *kind*."""

    def read(event: JsonObject) -> Any:
        value = event.get(name)
        if not isinstance(value, kind):
            return None
        return value if kind is str else _copy(value)

    return read


def first_output(event: JsonObject) -> Any:
    """``output[0]``: a finished shell output is the only entry of a list."""
    output = entry_at(event.get("output"), 0)
    return _copy(output) if isinstance(output, dict) else None


def shell_texts(event: JsonObject) -> Any:
    """``stdout`` and ``stderr`` of the delta; either may be missing or null."""
    delta = event.get("delta")
    if not isinstance(delta, dict):
        return None
    texts = {name: delta[name] for name in ("stdout", "stderr") if delta.get(name) is not None}
    return texts if all(isinstance(text, str) for text in texts.values()) else None


def _copy(value: Any) -> Any:
    # Without recursion: the sender decides how deep a value is.
    root = [value]
    unfinished: list[Any] = [root]
    while unfinished:
        container = unfinished.pop()
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, child in pairs:
            if isinstance(child, (dict, list)):
                container[key] = twin = child.copy()
                unfinished.append(twin)
    return root[0]
