"""Which entry of a terminal ``output`` is which item of the log."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.wellformed.addresses import is_retold
from response_cache._protocol.wellformed.roster import Item, is_text

__all__ = ("Partners", "partners_of")

Partners: TypeAlias = dict[int, int]
"""Of an item, by its place in the roster: its place in the output."""

Key: TypeAlias = Hashable | None
"""What an item and its entry have in common; None where it has nothing of the kind."""


def partners_of(
    items: list[Item], entries: list[JsonObject], whole: Callable[[Item], JsonObject]
) -> Partners:
    """Items and entries of one type, one to one: by id, by call id, by content, by index, by order.

    *whole* tells what an item folds to; it is asked where ids do not tell. Index and order alone
    make no pair of an item that is not done and an entry that says other things.
    """
    partners: Partners = {}
    free = dict.fromkeys(range(len(entries)))
    for of_item, of_entry, is_certain in _WAYS:
        places = _places(entries, free, of_entry)
        for at, item in enumerate(items) if free and len(partners) < len(items) else ():
            found = [] if at in partners else _found(of_item(item, whole), item, places)
            if found and (is_certain or item.is_done or _is_told(whole(item), entries[found[0]])):
                partners[at] = found.pop(0)
                del free[partners[at]]
    return partners


def _places(
    entries: list[JsonObject], free: Iterable[int], of_entry: Callable[[JsonObject, int], Key]
) -> dict[tuple[str, Key], list[int]]:
    places: dict[tuple[str, Key], list[int]] = {}
    for place in free:
        if (key := of_entry(entries[place], place)) is not None:
            places.setdefault((entries[place]["type"], key), []).append(place)
    return places


def _found(
    keys: Iterable[Key], item: Item, places: Mapping[tuple[str, Key], list[int]]
) -> list[int]:
    found = (places.get((item.type, key)) for key in keys if key is not None)
    return next((those for those in found if those), [])


def _is_told(item: JsonObject, entry: JsonObject) -> bool:
    """Whether *entry* says what *item* said: else text would be lost if they were one."""
    told, whole = _words(item), _words(entry)
    return told == "" or (whole != "" and is_retold(told, whole))


def _words(value: Any) -> str:
    """All texts of an item or a part of it, in their order."""
    if isinstance(value, dict):
        return "".join(_words(value[name]) for name in _TEXTS if value.get(name))
    if isinstance(value, list):
        return "".join(map(_words, value))
    return value if isinstance(value, str) else ""


_TEXTS: Final = (
    *("summary", "content", "text", "refusal"),
    *("arguments", "input", "code", "action", "commands"),
)
_CONTENT: Final = ("content", "summary", "arguments", "input", "code", "action", "name")


def _content(entry: JsonObject) -> Key:
    told = [entry[name] for name in _CONTENT if entry.get(name)]
    return dump(told) if told else None


def _text(entry: JsonObject, name: str) -> Key:
    return entry[name] if is_text(entry.get(name)) else None


Whole: TypeAlias = Callable[[Item], JsonObject]

_WAYS: Final[
    Sequence[tuple[Callable[[Item, Whole], Sequence[Key]], Callable[[JsonObject, int], Key], bool]]
] = (
    (lambda item, whole: (item.id,), lambda entry, place: _text(entry, "id"), True),
    (lambda item, whole: (item.call_id,), lambda entry, place: _text(entry, "call_id"), True),
    (lambda item, whole: (_content(whole(item)),), lambda entry, place: _content(entry), True),
    (lambda item, whole: (item.theirs, item.index), lambda entry, place: place, False),
    (lambda item, whole: ("any",), lambda entry, place: "any", False),
)
