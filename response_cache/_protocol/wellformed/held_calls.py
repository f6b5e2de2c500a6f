"""Items enter the roster; calls wait until they can be called.

A client answers a call under its ``call_id``, and the official clients raise when that changes. So
a call waits until its call id and its name are known, with all its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.wellformed.addresses import addressed, list_in, text_of
from response_cache._protocol.wellformed.context import Context
from response_cache._protocol.wellformed.families import (
    ADDED,
    FAMILIES,
    LISTS,
    Family,
    Step,
    kind_of,
)
from response_cache._protocol.wellformed.roster import Held, Item, Part, is_text, usable_index
from response_cache._protocol.wellformed.shapes import text_field

__all__ = (
    "MAX_HELD",
    "MAX_HELD_BYTES",
    "entered",
    "hold",
    "is_complete",
    "let_go",
    "told_by",
    "wait",
    "with_id",
)

MAX_HELD: Final = 64
MAX_HELD_BYTES: Final = 2**20


def entered(item: JsonObject, index: int, theirs: int | None, *, is_ours: bool) -> Item:
    id, call_id = item.get("id"), item.get("call_id")
    entered = Item(
        type=item["type"],
        id=id if is_text(id) else None,
        call_id=call_id if is_text(call_id) else None,
        index=index,
        theirs=theirs,
        is_ours=is_ours,
        is_pinned=is_ours,
    )
    for name in LISTS.get(entered.type, ()):
        entered.parts[name] = [_part(part, at) for at, part in enumerate(list_in(item, name))]
    return entered


def _part(part: Any, at: int) -> Part:
    if not isinstance(part, dict):
        return Part("", at, has_text=bool(part))
    type, annotations = str(part.get("type")), part.get("annotations")
    made = Part(type, at, has_text=bool(part.get(text_field(type))))
    made.annotations = len(annotations) if isinstance(annotations, list) else 0
    return made


def with_id(context: Context, known: Item, item: JsonObject) -> JsonObject:
    """*item* with its id, which is made if it has none."""
    if known.id is not None:
        return item
    known.id = context.mint_id(known.index, known.type)
    known.is_pinned = True
    return {**item, "id": known.id}


def hold(
    context: Context, item: JsonObject, event: JsonObject, *, is_ours: bool
) -> list[JsonObject]:
    """Keep a call back. What comes back are calls that make room for it."""
    held = entered(item, -1, usable_index(event.get("output_index")), is_ours=is_ours)
    held.held = Held(item)
    context.roster.add(held)
    context.count("held_call", held)
    return _make_room(context)


def wait(context: Context, item: Item, event: JsonObject) -> list[JsonObject]:
    """Keep an event of a held call; or let all go if it brings what the call waits for."""
    held = item.held
    if held is None:
        return []
    held.events.append(event)
    held.size += len(dump(event))
    for name in ("call_id", "name"):
        if is_text(event.get(name)) and not is_text(held.item.get(name)):
            held.item = {**held.item, name: event[name]}
    return let_go(context, item) or _make_room(context)


def is_complete(item: JsonObject) -> bool:
    kind = kind_of(item["type"])
    return is_text(item.get("call_id")) and (not kind.has_name or is_text(item.get("name")))


def let_go(context: Context, item: Item, *, is_finished: bool = False) -> list[JsonObject]:
    """Announce a held call, and tell what waited; nothing if it must wait on.

    Where it *is_finished*, its call id is made if it has none. Without a name it waits for ever.
    """
    held = item.held
    if held is None:
        return []
    index = context.roster.free_index(item.theirs, may_leave_gap=False)
    if is_finished and not is_text(held.item.get("call_id")):
        held.item = {**held.item, "call_id": context.mint_call_id(index, item.type)}
    if not is_complete(held.item):
        return []
    item.held, item.call_id = None, held.item["call_id"]
    context.roster.place(item, index)
    item.id = item.id or _text_or_none(held.item.get("id"))
    told = with_id(context, item, held.item)
    context.roster.know(item, item.id)
    item.parts = entered(told, index, None, is_ours=False).parts
    events: list[JsonObject] = [{"type": ADDED, "output_index": index, "item": told}]
    for event in held.events:
        events += addressed(context, FAMILIES[event["type"]], item, event)
    return events


def _text_or_none(value: Any) -> str | None:
    return value if is_text(value) else None


def _make_room(context: Context) -> list[JsonObject]:
    """The oldest calls that are held, once there are too many of them.

    One without a name loses the events that wait. When it is done, that tells them all again.
    """
    held = [*context.roster.held.values()]
    size = sum(item.held.size for item in held if item.held is not None)
    if len(held) <= MAX_HELD and size <= MAX_HELD_BYTES:
        return []
    events: list[JsonObject] = []
    for item in held[: max(1, len(held) - MAX_HELD)]:
        released = let_go(context, item, is_finished=True)
        if not released and item.held is not None:
            context.count("dropped_call_events")
            item.held.events.clear()
            item.held.size = 0
        events += released
    return events


# --- What they say ----------------------------------------------------------------------------


def told_by(item: JsonObject, events: Iterable[JsonObject]) -> JsonObject:
    """A call that no fold knows, after the *events* that were held back with it."""
    for event in events:
        family = FAMILIES[event["type"]]
        if family.list:
            item = _with_command(item, family, event)
        elif family.step is Step.SETTLE and family.field:
            item = {**item, family.field: text_of(event, family.field)}
        elif family.field:
            item = {**item, family.field: text_of(item, family.field) + text_of(event, "delta")}
    return item


def _with_command(item: JsonObject, family: Family, event: JsonObject) -> JsonObject:
    commands = [*list_in(item, family.list)]
    index = usable_index(event.get(family.index))
    if index is None or index > len(commands):
        return item
    said = text_of(event, "delta" if family.step is Step.GROW else "command")
    before = text_of(commands[index], "") if index < len(commands) else ""
    commands[index : index + 1] = [before + said if family.step is Step.GROW else said]
    action = item.get("action")
    return {
        **item,
        "action": {**(action if isinstance(action, dict) else {}), "commands": commands},
    }
