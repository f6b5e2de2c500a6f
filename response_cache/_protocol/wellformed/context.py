"""What the steps of one normalizer share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.families import kind_of, mint_call_id, mint_id
from response_cache._protocol.wellformed.roster import Item, Roster, is_text

__all__ = ("Context", "folded_item")


class Context:
    """The items of a run, what they fold to, and what was mended."""

    def __init__(self, response_id: str, folded: Callable[[], Sequence[Any]]) -> None:
        self.response_id = response_id
        self.folded = folded
        self.roster = Roster()
        self.mended: dict[str, int] = {}

    def count(self, kind: str, item: Item | None = None) -> None:
        """Something was mended, in an event of *item*."""
        self.mended[kind] = self.mended.get(kind, 0) + 1
        if item is not None:
            item.is_mended = True

    def folded_item(self, item: Item) -> JsonObject:
        """What *item* folds to so far; it belongs to the fold."""
        return folded_item(item, self.folded())

    def mint_id(self, index: int, type: str) -> str:
        """An id for an item that has none."""
        return mint_id(self.response_id, index, type)

    def mint_call_id(self, index: int, type: str) -> str:
        """A call id for a call that has none."""
        return mint_call_id(self.response_id, index, type)

    def can_be_announced(self, item: JsonObject) -> bool:
        """Whether *item* is no call, or one that can be answered as soon as it is announced."""
        kind = kind_of(item["type"])
        return not kind.has_call_id or is_text(item.get("call_id"))


def folded_item(item: Item, folded: Sequence[Any]) -> JsonObject:
    """*item* among what a log folds to."""
    found = folded[item.index] if 0 <= item.index < len(folded) else None
    return found if isinstance(found, dict) else {"type": item.type, "id": item.id}
