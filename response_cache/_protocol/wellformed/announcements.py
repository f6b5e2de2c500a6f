"""Items are announced before they are used, once, and are done once."""

from __future__ import annotations

from typing import Any

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.addresses import addressed
from response_cache._protocol.wellformed.context import Context
from response_cache._protocol.wellformed.families import (
    ADDED,
    DONE,
    Family,
    Step,
    is_minted,
    kind_of,
)
from response_cache._protocol.wellformed.held_calls import (
    entered,
    hold,
    is_complete,
    let_go,
    wait,
    with_id,
)
from response_cache._protocol.wellformed.names import text_in
from response_cache._protocol.wellformed.roster import Item, is_text, usable_index
from response_cache._protocol.wellformed.shapes import (
    as_begun,
    shaped_item,
    skeleton,
)

__all__ = ("about_item", "added", "done", "pinned")


def added(context: Context, event: JsonObject) -> list[JsonObject]:
    """What ``response.output_item.added`` becomes."""
    given = event.get("item")
    if not isinstance(given, dict):
        context.count("empty_event")
        return []
    item = shaped_item(given)
    known = _known(context, item, event.get("output_index"))
    if known is not None:
        return _again(context, known, item, event)
    if not context.can_be_announced(item):
        return hold(context, item, event, is_ours=False)
    return [_announce(context, item, event)[1]]


def done(context: Context, event: JsonObject) -> list[JsonObject]:
    """What ``response.output_item.done`` becomes, behind the announcement if there was none."""
    given = event.get("item")
    if not isinstance(given, dict):
        context.count("empty_event")
        return []
    whole, index = shaped_item(given), event.get("output_index")
    type, call_id = whole["type"], whole.get("call_id")
    roster = context.roster
    item = roster.called(type, call_id) or roster.meant((type,), whole.get("id"), index)
    before: list[JsonObject] = []
    if item is None:
        item, before = _unannounced(context, whole, event)
    elif item.held is not None:
        before = _again(context, item, whole, event) or let_go(context, item, is_finished=True)
    if item.is_done or item.held is not None:
        context.count("announced_twice" if item.is_done else "nameless_call")
        return before
    roster.close(item)
    whole = pinned(item, whole)
    if whole is given and _is_at(event, item.index):
        return [*before, event]
    context.count("wrong_item" if _is_at(event, item.index) else "wrong_output_index", item)
    return [*before, {**event, "output_index": item.index, "item": whole}]


def about_item(context: Context, family: Family, event: JsonObject) -> list[JsonObject]:
    """What any other event of an item becomes."""
    types = _types(family, event)
    id, index = event.get("item_id"), event.get("output_index")
    item = context.roster.meant(types, id, index, has_ids=family.names_item)
    if item is None and _is_late(context, family, types, event):
        context.count("late_event")
        return []
    before: list[JsonObject] = []
    if item is not None and item.is_done:
        item = None if _says_more(context, family, item, event) else item
        if item is not None:
            context.count("late_event")
            return []
    if item is None:
        item, before = _made(context, family, types[0], event)
    if item.held is not None:
        return before + wait(context, item, event)
    return before + addressed(context, family, item, event)


def _types(family: Family, event: JsonObject) -> tuple[str, ...]:
    """The types of item that *event* may be about."""
    part = event.get("part")
    if family.part or len(family.items) == 1 or not isinstance(part, dict):
        return family.items
    if part.get("type") == "reasoning_text":
        return ("reasoning",)
    return ("message",) if part.get("type") in ("output_text", "refusal") else family.items


def _is_at(event: JsonObject, index: int) -> bool:
    given = event.get("output_index")
    return given == index and type(given) is int


# --- Items that are new ------------------------------------------------------------------------


def _announce(
    context: Context, item: JsonObject, event: JsonObject, *, is_ours: bool = False
) -> tuple[Item, JsonObject]:
    """Announce *item* by *event*, which is an ``added`` unless the announcement is ours."""
    wanted = event.get("output_index")
    index = context.roster.free_index(wanted, may_leave_gap=not is_ours)
    known = entered(item, index, usable_index(wanted), is_ours=is_ours)
    whole = with_id(context, known, item)
    context.roster.add(known)
    if not is_ours and whole is event.get("item") and _is_at(event, index):
        return known, event
    kind = "wrong_item" if _is_at(event, index) else "wrong_output_index"
    context.count("unannounced_item" if is_ours else kind, known)
    beginning = {} if is_ours else event
    return known, {**beginning, "type": ADDED, "output_index": index, "item": whole}


def _unannounced(
    context: Context, whole: JsonObject, event: JsonObject
) -> tuple[Item, list[JsonObject]]:
    """The item that is done without having been announced, and its announcement."""
    begun = as_begun(whole)
    if context.can_be_announced(begun):
        item, announcement = _announce(context, begun, event, is_ours=True)
        return item, [announcement]
    hold(context, begun, event, is_ours=True)
    item = context.roster.items[-1]
    return item, let_go(context, item, is_finished=True)


def _made(
    context: Context, family: Family, type: str, event: JsonObject
) -> tuple[Item, list[JsonObject]]:
    """A new item for an event that is about none, and its announcement."""
    id = event.get("item_id")
    id = id if is_text(id) and context.roster.named(id) is None else ""
    begun = skeleton(type, str(id))
    for name in ("call_id", "name"):
        if is_text(event.get(name)):
            begun[name] = event[name]
    if kind_of(type).has_call_id and not is_complete(begun):
        hold(context, begun, event, is_ours=True)
        return context.roster.items[-1], []
    item, announcement = _announce(context, begun, event, is_ours=True)
    context.roster.know(item, event.get("item_id"))
    return item, [announcement]


# --- Items that are known ----------------------------------------------------------------------


def _known(context: Context, item: JsonObject, index: Any) -> Item | None:
    """The item that an announcement is about, if it is there already."""
    roster, type, id = context.roster, item["type"], item.get("id")
    known = roster.named(id) or roster.called(type, item.get("call_id"))
    if known is not None and known.type == type:
        is_elsewhere = usable_index(index) is not None and roster.under(index) is not known
        return None if known.is_done and is_elsewhere else known
    known = roster.under(index)
    if known is not None and known.type == type and not known.is_done:
        return known if known.is_ours or not is_text(id) else None
    known = roster.newest((type,)) if roster.has_ours else None
    return known if known is not None and known.is_ours and known.theirs is None else None


def _again(context: Context, item: Item, told: JsonObject, event: JsonObject) -> list[JsonObject]:
    """An item is told of again: nothing, unless a call has waited for that."""
    context.roster.know(item, told.get("id"), event.get("output_index"))
    item.is_ours = False
    if item.held is None:
        if event["type"] == ADDED:
            context.count("announced_twice", item)
        return []
    begun = as_begun(told) if event["type"] == DONE else told
    said = {name: value for name, value in begun.items() if value not in ("", None)}
    item.held.item = {**item.held.item, **said}
    return let_go(context, item)


def _is_late(context: Context, family: Family, types: tuple[str, ...], event: JsonObject) -> bool:
    """Whether *event*, which names no item, says nothing new of one that is done."""
    item = context.roster.under(event.get("output_index"))
    if item is None or item.type not in types or not item.is_done:
        return False
    return not is_text(event.get("item_id")) and not _says_more(context, family, item, event)


def _says_more(context: Context, family: Family, item: Item, event: JsonObject) -> bool:
    """Whether *event* has a text that *item*, which is done, has not."""
    name = {Step.GROW: "delta", Step.SETTLE: family.field}.get(family.step, "")
    text = text_in(event.get(name)) if name and family.field else None
    return bool(text) and not any(str(text) in told for told in _texts(context.folded_item(item)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for entry in inner for text in _texts(entry)]


def pinned(item: Item, whole: JsonObject) -> JsonObject:
    """*whole* under the ids that were announced, as far as they are ours or it has none."""
    id, call_id = whole.get("id"), whole.get("call_id")
    changes: JsonObject = {}
    if id != item.id and (item.is_pinned or not is_text(id)):
        changes["id"] = item.id
    if item.call_id not in (None, call_id) and (is_minted(item.call_id) or not is_text(call_id)):
        changes["call_id"] = item.call_id
    return {**whole, **changes} if changes else whole
