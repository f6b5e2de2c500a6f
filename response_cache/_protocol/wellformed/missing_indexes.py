"""Events without their indexes, completed to the official form.

Some upstreams leave out ``output_index`` or ``content_index``. Then the index is that of the item
with the event's id, else that of the newest item or part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject

__all__ = ("complete_address",)

_INDEXED_LISTS: Final = {"content_index": "content", "summary_index": "summary"}
"""By index of a part: the list of the item that it counts in."""

_INDEX_OF: Final = {
    "response.content_part": "content_index",
    "response.output_text": "content_index",
    "response.refusal": "content_index",
    "response.reasoning_text": "content_index",
    "response.reasoning_summary_part": "summary_index",
    "response.reasoning_summary_text": "summary_index",
}
"""By event family: the part index that its events must have."""


def complete_address(event: JsonObject, output: Sequence[Any]) -> bool:
    """Give *event* the indexes that it lacks; return whether it got any.

    *output* is the response's items so far. The event is changed in place.
    """
    type = event["type"]
    family, _, step = type.rpartition(".")
    changed = False
    if "output_index" not in event and (_names_an_item(event) or family in _INDEX_OF):
        event["output_index"] = _item_index(event, output, is_new=type == _ITEM_ADDED)
        changed = True
    index = _INDEX_OF.get(family)
    if index is not None and index not in event:
        parts = _parts(event, output, _INDEXED_LISTS[index])
        event[index] = len(parts) if step == "added" else max(len(parts) - 1, 0)
        changed = True
    return changed


_ITEM_ADDED: Final = "response.output_item.added"


def _names_an_item(event: JsonObject) -> bool:
    return "item_id" in event or isinstance(event.get("item"), dict)


def _item_index(event: JsonObject, output: Sequence[Any], *, is_new: bool) -> int:
    if is_new:
        return len(output)
    item = event.get("item")
    id = event.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
    for index, known in enumerate(output):
        if id is not None and isinstance(known, dict) and known.get("id") == id:
            return index
    return max(len(output) - 1, 0)


def _parts(event: JsonObject, output: Sequence[Any], name: str) -> Sequence[Any]:
    index = event.get("output_index")
    if not isinstance(index, int) or not 0 <= index < len(output):
        return ()
    item = output[index]
    parts = item.get(name) if isinstance(item, dict) else None
    return parts if isinstance(parts, list) else ()
