"""What a log has announced so far, as one reads it from the start.

This is the checker's own memory. It shares nothing with the normalizer's but the table of families,
so that a mistake of one is seen by the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from response_cache._protocol.events import CREATED, LIFECYCLE, TERMINAL
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.families import ADDED, DONE, FAMILIES, LISTS, Family, Step

__all__ = ("Announced", "LogState", "part_type")


@dataclass(slots=True)
class Announced:
    """One item that the log has announced."""

    type: str
    id: Any  # as it was announced; None where it has none
    call_id: Any
    is_done: bool = False
    parts: dict[str, list[str]] = field(default_factory=dict)  # by list: the types of its parts

    @classmethod
    def by(cls, item: JsonObject) -> Announced:
        made = cls(str(item.get("type")), item.get("id"), item.get("call_id"))
        for name in LISTS.get(made.type, ()):
            made.parts[name] = [part_type(part) for part in _list(item, name)]
        return made


@dataclass(slots=True)
class LogState:
    """All that earlier events of a log said."""

    length: int = 0
    counts: dict[str, int] = field(default_factory=dict)  # of lifecycle events, by type
    response_id: Any = None
    is_over: bool = False
    items: dict[int, Announced] = field(default_factory=dict)  # by output index
    ids: set[Any] = field(default_factory=set)

    def see(self, event: JsonObject) -> None:
        """Remember *event*, whatever was found in it."""
        type = event.get("type")
        self.length += 1
        if not isinstance(type, str):
            return
        if type in LIFECYCLE:
            self._see_lifecycle(type, event)
        elif type == ADDED:
            self._see_added(event)
        elif type == DONE and (item := self.at(event)) is not None:
            item.is_done = True
        elif (family := FAMILIES.get(type)) and family.step is Step.ANNOUNCE:
            self._see_part(family, event)

    def at(self, event: JsonObject) -> Announced | None:
        """The item under the event's ``output_index``."""
        index = event.get("output_index")
        return self.items.get(index) if type(index) is int else None

    def _see_lifecycle(self, type: str, event: JsonObject) -> None:
        self.counts[type] = self.counts.get(type, 0) + 1
        response = event.get("response")
        if type == CREATED and isinstance(response, dict):
            self.response_id = response.get("id")
        self.is_over = self.is_over or type in TERMINAL

    def _see_added(self, event: JsonObject) -> None:
        index, item = event.get("output_index"), event.get("item")
        if type(index) is int and isinstance(item, dict) and index not in self.items:
            self.items[index] = Announced.by(item)
            self.ids.add(item.get("id"))

    def _see_part(self, family: Family, event: JsonObject) -> None:
        item = self.at(event)
        if item is not None:
            parts = item.parts.setdefault(family.list, [])
            if event.get(family.index) == len(parts):
                parts.append(part_type(event.get("part", _COMMAND)))


_COMMAND: Final = "command"


def part_type(part: Any) -> str:
    """The type of a part; commands of a shell call are plain text."""
    if isinstance(part, str):
        return ""
    return str(part.get("type")) if isinstance(part, dict) else "None"


def _list(item: JsonObject, name: str) -> list[Any]:
    holder: Any = item
    for step in name.split("."):
        holder = holder.get(step) if isinstance(holder, dict) else None
    return holder if isinstance(holder, list) else []
