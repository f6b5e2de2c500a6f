"""The items of one stream as the normalizer knows them, and which of them an event means."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject

__all__ = ("MAX_GAP", "Held", "Item", "Part", "Roster", "is_text", "usable_index")

MAX_GAP: Final = 256
"""How far beyond the last item an index is believed. The fold reaches no further either."""


def usable_index(value: Any) -> int | None:
    """*value* if it may be an index."""
    # Not isinstance: true and false are no indexes.
    return value if type(value) is int and value >= 0 else None


def is_text(value: Any) -> bool:
    """Whether *value* may be an id."""
    return isinstance(value, str) and value != ""


@dataclass(slots=True)
class Part:
    """One part of an item, under the index at which it stands in its list."""

    type: str
    theirs: int | None  # the index that the upstream gave it
    is_ours: bool = False  # announced by us, and not yet by the upstream
    has_text: bool = False
    is_settled: bool = False  # its text is whole
    is_closed: bool = False
    annotations: int = 0

    def answers(self, index: int, type: str) -> bool:
        """Whether the upstream has it under *index*, and it is of this type; "" is any."""
        return self.theirs == index and type in ("", self.type)


@dataclass(slots=True)
class Held:
    """A call that cannot be announced yet, and the events that wait for that."""

    item: JsonObject
    events: list[JsonObject] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class Item:
    """One item. ``index`` is -1 as long as it is held."""

    type: str
    id: str | None
    call_id: str | None
    index: int
    theirs: int | None  # the index under which the upstream knows it
    is_ours: bool = False  # announced by us, and not yet by the upstream
    is_pinned: bool = False  # its id is ours to say
    is_mended: bool = False  # any of its events
    is_done: bool = False
    has_text: bool = False
    is_settled: bool = False  # the text of the item itself is whole
    parts: dict[str, list[Part]] = field(default_factory=dict)  # by list
    held: Held | None = None

    @property
    def all_parts(self) -> Iterator[Part]:
        """The parts of all lists."""
        for parts in self.parts.values():
            yield from parts

    @property
    def says_something(self) -> bool:
        """Whether any text of it has come."""
        return self.has_text or any(part.has_text for part in self.all_parts)

    def part_called(self, name: str, index: int, type: str) -> int | None:
        """Where the newest part of this type stands that the upstream has under *index*."""
        parts = self.parts.get(name)
        if not parts:
            return None
        if index < len(parts) and parts[index].answers(index, type) and not parts[index].is_closed:
            return index  # as in every well-formed stream
        return next((n for n in reversed(range(len(parts))) if parts[n].answers(index, type)), None)

    def newest_part(self, name: str, type: str) -> int | None:
        """Where the newest part stands that is of this type and still open."""
        parts = self.parts.get(name, ())
        for at in reversed(range(len(parts))):
            if type in ("", parts[at].type) and not parts[at].is_closed:
                return at
        return None


class Roster:
    """All items of one stream. No question takes longer because there are many of them."""

    def __init__(self) -> None:
        self.items: list[Item] = []  # in the order in which they came
        self.next = 0  # the lowest index above all
        self.held: dict[int, Item] = {}  # calls that wait for their place, the oldest first
        self.has_ours = False  # whether we announced any
        self._open: dict[int, Item] = {}  # those that are not done, the oldest first
        self._next_of_theirs = 0
        self._by_id: dict[str, Item] = {}
        self._by_call: dict[tuple[str, str], Item] = {}
        self._by_index: dict[int, Item] = {}  # by ours
        self._by_theirs: dict[int, Item] = {}  # the newest under each index of theirs

    def add(self, item: Item) -> None:
        """A new item, which is held or has its index."""
        self.items.append(item)
        self._open[id(item)] = item
        self.has_ours = self.has_ours or item.is_ours
        if item.id is not None:
            self._by_id[item.id] = item
        if item.theirs is not None:
            self._under(item, item.theirs)
        if item.held is None:
            self.place(item, item.index)
        else:
            self.held[id(item)] = item

    def place(self, item: Item, index: int) -> None:
        """Give *item* its index, and its call id if it has one."""
        if self.held:
            self.held.pop(id(item), None)
        item.index = index
        self._by_index[index] = item
        if index >= self.next:
            self.next = index + 1
        if item.call_id is not None:
            self._by_call[item.type, item.call_id] = item

    @property
    def is_closed(self) -> bool:
        """Whether all items are done."""
        return not self._open

    def close(self, item: Item) -> None:
        """*item* is done."""
        item.is_done = True
        self._open.pop(id(item), None)

    def know(self, item: Item, name: Any, index: Any = None) -> None:
        """The upstream calls *item* by this id, and has it under this *index*."""
        if is_text(name):
            self._by_id[name] = item
        usable = usable_index(index)
        if usable is not None and item.theirs is None:
            item.theirs = usable
            self._under(item, usable)

    def named(self, name: Any) -> Item | None:
        """The newest item of this id."""
        return self._by_id.get(name) if type(name) is str else None

    def under(self, index: Any) -> Item | None:
        """The newest item that the upstream has under *index*."""
        return self._by_theirs.get(index) if type(index) is int else None

    def called(self, type: str, call_id: Any) -> Item | None:
        """The newest item of this type and call id."""
        return self._by_call.get((type, call_id)) if isinstance(call_id, str) else None

    def meant(
        self, types: Collection[str], name: Any, index: Any, *, has_ids: bool = True
    ) -> Item | None:
        """The item of one of *types* that an event with this id and index is about.

        In this order: the id, the index, the newest that is open; None if it must be a new one.
        Only an id names an item that is done. Not all events have ids: their index alone tells.
        """
        item = self.named(name)
        if item is not None and item.type in types:
            return item
        item = self.under(index)
        if item is not None and item.type in types and not item.is_done:
            return item
        if item is None and (is_text(name) or not has_ids) and self._is_credible(index):
            return None  # a new id under a new index: nothing says that it is an old item
        return self.newest(types)

    def newest(self, types: Collection[str]) -> Item | None:
        """The newest item of one of *types* that is not done."""
        return next((i for i in reversed(self._open.values()) if i.type in types), None)

    def free_index(self, wanted: Any, *, may_leave_gap: bool) -> int:
        """*wanted* if it is free, else the next one; beyond that only with *may_leave_gap*."""
        index = usable_index(wanted)
        if index is None or index in self._by_index:
            return self.next
        most = self.next + MAX_GAP if may_leave_gap and not self.held else self.next
        return index if index <= most else self.next

    def _is_credible(self, index: Any) -> bool:
        """Whether a new item of the upstream may have this *index*: no further than the next."""
        usable = usable_index(index)
        return usable is not None and usable <= self._next_of_theirs

    def _under(self, item: Item, index: int) -> None:
        self._by_theirs[index] = item
        if index >= self._next_of_theirs:
            self._next_of_theirs = index + 1
