"""The events of an answer that was no stream.

Some upstreams answer with a Response object, but clients may read the response as a stream. They
get the events of a stream: each item is added, its text or arguments come as one delta, and it is
done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject

__all__ = ("events_of",)

_PART_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
}
"""By type of content part: its event family, and the field that its deltas extend."""

_ITEM_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "mcp_call": ("response.mcp_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
    "code_interpreter_call": ("response.code_interpreter_call_code", "code"),
}
"""By type of item: its event family, and the field of the item that its deltas extend."""


def events_of(response: JsonObject) -> Iterator[JsonObject]:
    """The events between ``response.in_progress`` and the terminal one, without numbers.

    Each event is a new object. Entries of ``output`` that are no objects get no events.
    """
    output = response.get("output")
    for index, item in enumerate(output if isinstance(output, list) else []):
        if isinstance(item, dict):
            yield from _item_events(item, index)


def _item_events(item: JsonObject, index: int) -> Iterator[JsonObject]:
    address = {"item_id": item.get("id"), "output_index": index}
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": _as_added(item),
    }
    for number, part in enumerate(_objects(item.get("summary"))):
        yield from _summary_events(part, {**address, "summary_index": number})
    for number, part in enumerate(_objects(item.get("content"))):
        yield from _part_events(part, {**address, "content_index": number})
    family, field = _ITEM_EVENTS.get(str(item.get("type")), ("", ""))
    if family:
        yield from _text_events(family, field, item, address)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _as_added(item: JsonObject) -> JsonObject:
    """The item as it is before its first delta."""
    added = {**item}
    for name in ("content", "summary"):
        if isinstance(item.get(name), list):
            added[name] = []
    _, field = _ITEM_EVENTS.get(str(item.get("type")), ("", ""))
    if isinstance(item.get(field), str):
        added[field] = ""
    if "status" in item:
        added["status"] = "in_progress"
    return added


def _summary_events(part: JsonObject, address: JsonObject) -> Iterator[JsonObject]:
    family = "response.reasoning_summary_part"
    yield {"type": f"{family}.added", **address, "part": {**part, "text": ""}}
    yield from _text_events("response.reasoning_summary_text", "text", part, address)
    yield {"type": f"{family}.done", **address, "part": part}


def _part_events(part: JsonObject, address: JsonObject) -> Iterator[JsonObject]:
    family, field = _PART_EVENTS.get(str(part.get("type")), ("", ""))
    begun = {**part, field: ""} if family else part
    if "annotations" in begun:
        begun = {**begun, "annotations": []}
    yield {"type": "response.content_part.added", **address, "part": begun}
    if family:
        yield from _text_events(family, field, part, address)
    yield {"type": "response.content_part.done", **address, "part": part}


def _text_events(
    family: str, field: str, holder: JsonObject, address: JsonObject
) -> Iterator[JsonObject]:
    text = holder.get(field)
    if not isinstance(text, str):
        return
    extras: JsonObject = {"logprobs": []} if family == "response.output_text" else {}
    yield {"type": f"{family}.delta", **address, **extras, "delta": text}
    yield {"type": f"{family}.done", **address, **extras, field: text}


def _objects(value: Any) -> list[JsonObject]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
