"""The six operations that fold an event into a Response, and the draft that they work on.

An operation decides and changes nothing: it returns the *change* to make, or None when the event
does not fit the response (its target is not there, an item has another type, a value is of the
wrong type). The changes of an event are made when all of them are known. A change cannot fail.

Text grows as a list of pieces beside the response, and is joined when the response is read. So a
delta costs the same at the start and at the end of a long answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from response_cache._fold.lookups import Place, Value, as_index, entry_at
from response_cache._protocol.jsontext import JsonObject

__all__ = (
    "GAP",
    "MAX_AHEAD",
    "Change",
    "Draft",
    "Field",
    "Step",
    "assign",
    "collect",
    "extend",
    "insert",
    "pad",
    "replace",
)

MAX_AHEAD: Final = 256
"""How far an index may be beyond the end of a list; a larger one is a protocol error."""

GAP: Final = object()
"""Stands in ``output`` for an item that a later item overtook. Upstreams may send null: no gap."""

Change: TypeAlias = Callable[[], "list[str] | None"]
"""Makes the change. Returns the pieces of the text that grew, or None when no text grew."""


@dataclass(frozen=True, slots=True)
class Field:
    """A member of an object."""

    name: str
    index: str | None = None  # for a list: the field of the event that is the index
    filler: Callable[[], Any] | None = None  # makes the entries before an index beyond the end


@dataclass(frozen=True, slots=True)
class Step:
    """The operands of an operation."""

    place: Place  # finds the object that has the field
    field: Field
    value: Value


class Draft:
    """A Response that is being changed. All checks are done before: its methods do not fail."""

    def __init__(self, response: JsonObject) -> None:
        """Begin with *response*, which the draft owns from now on."""
        self.response = response
        self._texts: dict[tuple[int, str | int], _Text] = {}

    @property
    def output(self) -> Sequence[Any]:
        """The items and gaps."""
        output = self.response.get("output")
        return output if isinstance(output, list) else ()

    def join(self) -> None:
        """Write the texts that have grown into the response. They may grow further."""
        for text in self._texts.values():
            text.pieces[:] = ["".join(text.pieces)]
            text.container[text.key] = text.pieces[0]

    def adopt(self, response: JsonObject) -> None:
        """Continue with *response*. Where it has no ``output``, it gets the present one."""
        if isinstance(response.get("output"), list):
            self._texts.clear()
        elif "output" in self.response:
            response["output"] = self.response["output"]
        self.response = response

    def set(self, container: Any, key: str | int, value: Any) -> None:
        """Set a member or an entry. A text that grew there is dropped."""
        self._texts.pop((id(container), key), None)
        container[key] = value

    def put(self, holder: JsonObject, field: Field, index: int, value: Any) -> None:
        """Put an entry into a list: at its end, over another entry, or after filler entries."""
        entries = self._filled(holder, field, index)
        if index == len(entries):
            entries.append(value)
        else:
            self.set(entries, index, value)

    def grow(self, container: Any, key: str | int, delta: str) -> list[str]:
        """Add *delta* to a text. A text that is missing or null starts empty."""
        text = self._texts.get((id(container), key))
        if text is None:
            begun = _value_at(container, key) or ""
            text = self._texts[id(container), key] = _Text(container, key, [begun])
        text.pieces.append(delta)
        return text.pieces

    def grow_entry(self, holder: JsonObject, field: Field, index: int, deltas: JsonObject) -> None:
        """Add *deltas* to the texts of an entry, which is made where it is missing."""
        container = self._filled(holder, field, index + 1)[index]
        for key, delta in deltas.items():
            self.grow(container, key, delta)

    def _filled(self, holder: JsonObject, field: Field, length: int) -> list[Any]:
        if holder.get(field.name) is None:
            holder[field.name] = []
        entries: list[Any] = holder[field.name]
        while field.filler and len(entries) < length:
            entries.append(field.filler())
        return entries


@dataclass(slots=True)  # not frozen: those are slow to make
class _Text:
    """A text that grows. It refers to its container, so that no other object gets the same id()."""

    container: Any
    key: str | int
    pieces: list[str]


def replace(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """The response becomes the event's. Where that has no ``output``, the items stay."""
    response = step.value(event)
    return None if response is None else partial(draft.adopt, response)


def insert(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """A list gets an entry: at its end, over another entry, or after filler entries."""
    holder, value = step.place(draft.response, event), step.value(event)
    if holder is None or value is None:
        return None
    index = _reachable(holder, step.field, event)
    return None if index is None else partial(draft.put, holder, step.field, index, value)


def assign(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """A member gets a new value, or an entry that is there does."""
    target, value = _target(draft.response, step, event), step.value(event)
    return None if target is None or value is None else partial(draft.set, *target, value)


def extend(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """A text grows."""
    target, delta = _target(draft.response, step, event), step.value(event)
    if target is None or delta is None:
        return None
    return partial(draft.grow, *target, delta) if _can_grow(_value_at(*target)) else None


def collect(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """A list gets more entries at its end."""
    holder, entries = step.place(draft.response, event), step.value(event)
    if holder is None or entries is None:
        return None
    present = holder.get(step.field.name)
    if present is None:
        return partial(draft.set, holder, step.field.name, entries)
    return partial(present.extend, entries) if isinstance(present, list) else None


def pad(draft: Draft, step: Step, event: JsonObject) -> Change | None:
    """The texts of a list's entry grow; missing entries up to it are made."""
    holder, deltas = step.place(draft.response, event), step.value(event)
    if holder is None or deltas is None:
        return None
    index = _reachable(holder, step.field, event)
    present = entry_at(holder.get(step.field.name), index)
    if index is None or not _can_grow_all(present, deltas):
        return None
    return partial(draft.grow_entry, holder, step.field, index, deltas)


def _target(response: JsonObject, step: Step, event: JsonObject) -> tuple[Any, Any] | None:
    holder, field = step.place(response, event), step.field
    if holder is None or field.index is None:
        return None if holder is None else (holder, field.name)
    entries, index = holder.get(field.name), event.get(field.index)
    return None if entry_at(entries, index) is None else (entries, index)


def _reachable(holder: JsonObject, field: Field, event: JsonObject) -> int | None:
    entries, index = holder.get(field.name), as_index(event.get(field.index or ""))
    present = [] if entries is None else entries
    if index is None or not isinstance(present, list):
        return None
    return index if index <= len(present) + (MAX_AHEAD if field.filler else 0) else None


def _value_at(container: Any, key: Any) -> Any:
    return container[key] if isinstance(container, list) else container.get(key)


def _can_grow(text: Any) -> bool:
    return text is None or isinstance(text, str)


def _can_grow_all(present: Any, deltas: JsonObject) -> bool:
    if present is None:
        return True
    return isinstance(present, dict) and all(_can_grow(present.get(key)) for key in deltas)
