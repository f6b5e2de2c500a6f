"""Events of announced items: their indexes, their ids, and the parts that they are about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.context import Context
from response_cache._protocol.wellformed.families import Family, Step, event_type
from response_cache._protocol.wellformed.names import text_in
from response_cache._protocol.wellformed.roster import Item, Part, is_text, usable_index
from response_cache._protocol.wellformed.shapes import empty_part, shaped_part, text_field

__all__ = ("addressed", "is_retold", "list_in", "part_event", "text_of")

_PART_EVENTS: Final = {
    "content": "response.content_part",
    "summary": "response.reasoning_summary_part",
}
_USUAL: Final = {  # parts of ``content``, and their texts
    ("message", "output_text"): "text",
    ("message", "refusal"): "refusal",
    ("reasoning", "reasoning_text"): "text",
}
_COMMANDS: Final = "action.commands"
_ANNOTATION: Final = "response.output_text.annotation.added"


def addressed(context: Context, family: Family, item: Item, event: JsonObject) -> list[JsonObject]:
    """*event* as the log has it, behind the part that it is about if that is new.

    The same object where there is nothing to mend; nothing where it only repeats.
    """
    changes: JsonObject = {}
    if not _is_at(event, "output_index", item.index):
        changes["output_index"] = item.index
    named = event.get("item_id")
    if family.names_item and named != item.id and (item.is_pinned or not is_text(named)):
        changes["item_id"] = item.id
    if not _shape(family, item, event, changes):
        context.count("empty_event")
        return []
    before: list[JsonObject] = []
    at: int | None = None
    if family.list:
        at = _part(context, family, item, {**event, **changes} if changes else event, before)
        if at is None:
            context.count("announced_twice", item)
            return before
        if not _is_at(event, family.index, at):
            changes[family.index] = at
        part = item.parts[family.list][at]
        if family.type == _ANNOTATION:
            _number_annotation(part, event, changes)
        _remember(part, family, event)
    else:
        _remember(item, family, event)
    if family.step is Step.SETTLE and family.field and not isinstance(event.get(family.field), str):
        told = text_in(event.get(family.field))
        changes[family.field] = _so_far(context, family, item, at) if told is None else told
    if not changes:
        return [*before, event]
    for name in changes:
        context.count(f"wrong_{name}", item)
    return [*before, {**event, **changes}]


def _is_at(event: JsonObject, name: str, index: int) -> bool:
    # true equals 1, and is no index.
    return name in event and event[name] == index and type(event[name]) is int


def _remember(holder: Part | Item, family: Family, event: JsonObject) -> None:
    if family.step is Step.CLOSE and isinstance(holder, Part):
        holder.is_settled = holder.is_closed = True
    elif family.step is Step.SETTLE:
        holder.is_settled = holder.has_text = True
    elif family.step is Step.GROW:
        holder.has_text = True


def _shape(family: Family, item: Item, event: JsonObject, changes: JsonObject) -> bool:
    """Note in *changes* what of the event's own content must change; False if it has none."""
    if family.step is Step.GROW and family.field and not isinstance(event.get("delta"), str):
        changes["delta"] = text_in(event.get("delta"))
        return changes["delta"] is not None
    if family.step in (Step.ANNOUNCE, Step.CLOSE) and family.list != _COMMANDS:
        part = event.get("part")
        part = part if isinstance(part, dict) else {}
        field = _USUAL.get((item.type, str(part.get("type"))))
        if field and family.list == "content" and isinstance(part.get(field), str):
            return True
        shaped = shaped_part(part, family.part or _fitting(item, part))
        if shaped is not part or shaped != event.get("part"):
            changes["part"] = shaped
    elif family.step is Step.ANNOUNCE and not isinstance(event.get("command"), str):
        changes["command"] = ""
    return True


def _so_far(context: Context, family: Family, item: Item, at: int | None) -> str:
    """The text that an event settles without saying it."""
    folded = context.folded_item(item)
    if at is None:
        return text_of(folded, family.field)
    parts = list_in(folded, family.list)
    return text_of(parts[at], family.field) if at < len(parts) else ""


def _fitting(item: Item, part: JsonObject) -> str:
    """The type that a part must have because of its item; "" if any will do."""
    if item.type == "reasoning":
        return "reasoning_text"
    return "output_text" if not is_text(part.get("type")) else ""


# --- Which part --------------------------------------------------------------------------------


def _part(
    context: Context, family: Family, item: Item, event: JsonObject, before: list[JsonObject]
) -> int | None:
    """Where the part of *event* stands. None if it only announces again what is there.

    *before* gets the event that announces it, if it is new and the event does not do that itself.
    """
    parts = item.parts.setdefault(family.list, [])
    index, type = usable_index(event.get(family.index)), _part_type(family, event)
    if family.step is Step.ANNOUNCE:
        return _announced(family, item, event, type, before)
    at = None if index is None else item.part_called(family.list, index, type)
    if at is None:
        at = _unnamed(context, family, item, event)
    if at is None:
        at = len(parts)
        parts.append(Part(type, index, is_ours=True))
        context.count("unannounced_part", item)
        before.append(part_event(item, family.list, at, "added", empty_part(type)))
    return at


def _announced(
    family: Family, item: Item, event: JsonObject, type: str, before: list[JsonObject]
) -> int | None:
    parts, index = item.parts[family.list], usable_index(event.get(family.index))
    known = None if index is None else item.part_called(family.list, index, type)
    newest = item.newest_part(family.list, type) if parts and known is None else None
    if newest is not None and parts[newest].is_ours and parts[newest].theirs is None:
        known = newest
    if known is not None and not parts[known].is_closed:
        parts[known].is_ours, parts[known].theirs = False, index
        before += _text_of_announcement(family, item, event, known)
        return None
    part = event.get("part")
    told = part if isinstance(part, dict) else {}
    annotations = told.get("annotations")
    made = Part(type, index, has_text=bool(told.get(text_field(type))))
    made.annotations = len(annotations) if isinstance(annotations, list) else 0
    parts.append(made)
    return len(parts) - 1


def _text_of_announcement(
    family: Family, item: Item, event: JsonObject, at: int
) -> Iterator[JsonObject]:
    """What a second announcement says beyond the first: the text that it begins with."""
    part = item.parts[family.list][at]
    brought = event.get("part")
    text = brought.get(text_field(part.type)) if isinstance(brought, dict) else None
    name = event_type(part.type, "delta")
    if name and text and isinstance(text, str) and not part.has_text:
        part.has_text = True
        place = {"item_id": item.id, "output_index": item.index, family.index: at}
        yield {"type": name, **place, "delta": text}


def _unnamed(context: Context, family: Family, item: Item, event: JsonObject) -> int | None:
    """The part of an event whose index names none: the newest, unless it must be a new one."""
    newest = item.newest_part(family.list, _part_type(family, event))
    if newest is None:
        return None
    part, index = item.parts[family.list][newest], usable_index(event.get(family.index))
    if index is None or not part.has_text:
        return newest
    if family.step is Step.GROW:
        is_next = index == len(item.parts[family.list])
        return None if is_next and part.is_settled else newest
    text, name = _text_brought(family, event), text_field(part.type)
    folded = list_in(context.folded_item(item), family.list)
    told = text_of(folded[newest], name) if newest < len(folded) else ""
    return newest if text is None or is_retold(told, text) else None


def _text_brought(family: Family, event: JsonObject) -> str | None:
    if family.step is Step.SETTLE:
        return text_in(event.get(family.field))
    part = event.get("part")
    if family.step is Step.CLOSE and isinstance(part, dict):
        return text_in(part.get(text_field(str(part.get("type")))))
    return None


def is_retold(told: str, whole: str) -> bool:
    """Whether *told* may be *whole* with deltas lost, or with deltas told twice."""
    return _is_within(told, whole) or _is_within(whole, told)


def _is_within(few: str, many: str) -> bool:
    rest = iter(many)
    return all(letter in rest for letter in few)


def _part_type(family: Family, event: JsonObject) -> str:
    if family.part or family.list == _COMMANDS:
        return family.part
    part = event.get("part")
    return str(part.get("type")) if isinstance(part, dict) else "output_text"


def _number_annotation(part: Part, event: JsonObject, changes: JsonObject) -> None:
    index = usable_index(event.get("annotation_index"))
    if index is None or index > part.annotations:
        changes["annotation_index"] = index = part.annotations
    part.annotations = max(part.annotations, index + 1)


# --- Events and texts of parts -----------------------------------------------------------------


def part_event(item: Item, name: str, at: int, event: str, part: JsonObject) -> JsonObject:
    """The *event* ("added" or "done") of *item*'s part in the list of this *name*."""
    if name == _COMMANDS:
        place: JsonObject = {"output_index": item.index, "command_index": at}
        return {"type": f"response.shell_call_command.{event}", **place, "command": ""}
    place = {"item_id": item.id, "output_index": item.index, f"{name}_index": at}
    return {"type": f"{_PART_EVENTS[name]}.{event}", **place, "part": part}


def list_in(item: JsonObject, name: str) -> list[Any]:
    """The list of parts of this *name* in an item."""
    if name == _COMMANDS:
        action = item.get("action")
        found = action.get("commands") if isinstance(action, dict) else None
    else:
        found = item.get(name)
    return found if isinstance(found, list) else []


def text_of(part: Any, field: str) -> str:
    """The text of a part, or of a command."""
    text = part.get(field) if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""
