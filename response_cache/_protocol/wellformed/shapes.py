"""Items and parts in the shape that readers rely on, and as they stand when they begin.

What has its shape comes back as the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.families import LISTS, fields_of, kind_of
from response_cache._protocol.wellformed.names import text_in

__all__ = ("as_begun", "empty_part", "shaped_item", "shaped_part", "skeleton", "text_field")

_TEXT_FIELDS: Final = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}


def text_field(part_type: str) -> str:
    """The field of a part in which its text is; "" for parts without one."""
    return _TEXT_FIELDS.get(part_type, "")


def skeleton(type: str, id: str) -> JsonObject:
    """An item of this *type* of which nothing is known: a new object."""
    return {"type": type, "id": id, **as_copy(kind_of(type).beginning)}


def as_copy(value: Any) -> Any:
    """A copy of a small value of ours."""
    if isinstance(value, dict):
        return {key: as_copy(inner) for key, inner in value.items()}
    return [as_copy(inner) for inner in value] if isinstance(value, list) else value


def empty_part(type: str) -> JsonObject:
    """A part of this *type* before any of its text: a new object."""
    extras: JsonObject = {"annotations": [], "logprobs": []} if type == "output_text" else {}
    return {"type": type, text_field(type): "", **extras}


def shaped_part(part: JsonObject, type: str = "") -> JsonObject:
    """*part* with a type, of *type* if that is given, and with its text."""
    given = part.get("type")
    right = type or _PART_TYPES.get(given, given)
    field = text_field(right) if isinstance(right, str) else ""
    changes: JsonObject = {}
    if right != part.get("type"):
        changes["type"] = right or "output_text"
    if field and not isinstance(part.get(field), str):
        changes[field] = text_in(part.get(field)) or ""
        changes |= {"annotations": part.get("annotations") or []} if right == "output_text" else {}
    return {**part, **changes} if changes else part


# Names of parts in the older dialect and in chat completions.
_PART_TYPES: Final[Mapping[Any, Any]] = {"text": "output_text"}


def shaped_item(item: JsonObject) -> JsonObject:
    """*item* with a type, and with its lists and texts where its type has them."""
    if "type" not in item or type(item["type"]) is not str or item["type"] == "":
        item = {**item, "type": _type_of(item)}
    name = item["type"]
    changes = _SHAPES[name](item) if name in _SHAPES else {}
    return {**item, **changes} if changes else item


def _type_of(item: JsonObject) -> str:
    if "call_id" in item or "arguments" in item:
        return "function_call"
    return "reasoning" if "summary" in item else "message"


def _message(item: JsonObject) -> JsonObject:
    content = item.get("content")
    if isinstance(content, list):
        return {}
    text = text_in(content)
    return {"content": [{**empty_part("output_text"), "text": text}] if text else []}


def _reasoning(item: JsonObject) -> JsonObject:
    return {} if isinstance(item.get("summary"), list) else {"summary": []}


def _call(name: str) -> Callable[[JsonObject], JsonObject]:
    def shape(item: JsonObject) -> JsonObject:
        return {} if isinstance(item.get(name), str) else {name: text_in(item.get(name)) or ""}

    return shape


_SHAPES: Final[Mapping[str, Callable[[JsonObject], JsonObject]]] = {
    "message": _message,
    "reasoning": _reasoning,
    "function_call": _call("arguments"),
    "custom_tool_call": _call("input"),
    "mcp_call": _call("arguments"),
}


def as_begun(item: JsonObject) -> JsonObject:
    """A whole *item* as it stood before any of it was streamed: a new object."""
    begun = {**item}
    for name in LISTS.get(item["type"], ()):
        if isinstance(item.get(name), list):
            begun[name] = []
    _, field = fields_of(item["type"]) or ("", "")
    if isinstance(item.get(field), str):
        begun[field] = ""
    if isinstance(item.get("status"), str):
        begun["status"] = "in_progress"
    return begun
