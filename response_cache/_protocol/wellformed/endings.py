"""The terminal event: every item is closed, and none that came is missing from the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.addresses import list_in, part_event, text_of
from response_cache._protocol.wellformed.announcements import pinned
from response_cache._protocol.wellformed.context import Context, folded_item
from response_cache._protocol.wellformed.families import (
    DONE,
    LISTS,
    event_type,
    fields_of,
    is_minted,
    kind_of,
)
from response_cache._protocol.wellformed.held_calls import let_go, told_by
from response_cache._protocol.wellformed.lifecycles import completes
from response_cache._protocol.wellformed.partners import Partners, partners_of
from response_cache._protocol.wellformed.roster import Item, is_text
from response_cache._protocol.wellformed.shapes import shaped_item, text_field

__all__ = ("ended",)


def ended(context: Context, event: JsonObject, *, keep_done_items: bool = True) -> list[JsonObject]:
    """What a terminal *event* becomes: the events that close what is open, then itself."""
    response = event.get("response")
    response = response if isinstance(response, dict) else {}
    told = response.get("output")
    given: list[Any] = told if isinstance(told, list) else []
    if _is_well_formed(context, given):
        return [event]
    entries = [shaped_item(entry) for entry in given if isinstance(entry, dict)]
    items = context.roster.items
    whole = partial(_folded, folded=context.folded())
    partners = partners_of(items, entries, whole)
    wholes = _wholes(items, entries, partners, whole)
    missing = [at for at, item in enumerate(items) if at not in partners and _is_worth(item)]
    events = _released(context, items, entries, partners, wholes)
    if completes(event):
        for at, item in enumerate(items):
            if _must_be_closed(item, entries, partners.get(at)):
                wholes[at] = _finished(item, wholes[at])
                events += _closing(item, wholes[at])
                context.count("unfinished_item", item)
                context.roster.close(item)
    if given:  # else the output is what the log folds to
        output = _identified(context, entries, partners)
        if keep_done_items:
            _insert(context, output, missing, wholes)
        if not _is_the_same(output, given):
            event = {**event, "response": {**response, "output": output}}
            context.count("wrong_output")
    return [*events, event]


def _is_well_formed(context: Context, given: list[Any]) -> bool:
    """Whether nothing was odd so far, every item is done, and the end tells them once more."""
    roster = context.roster
    if context.mended or not roster.is_closed:
        return False
    is_told = len(given) == len(roster.items) and all(map(_is_entry, given, roster.items))
    return is_told or not given


def _is_entry(entry: Any, item: Item) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("id") == item.id
        and entry.get("type") == item.type
        and entry.get("call_id") == item.call_id
        and shaped_item(entry) is entry
    )


def _is_the_same(ours: list[JsonObject], theirs: list[Any]) -> bool:
    return len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))


# --- What each item is in the end ---------------------------------------------------------------


def _wholes(
    items: list[Item],
    entries: list[JsonObject],
    partners: Partners,
    whole: Callable[[Item], JsonObject],
) -> dict[int, JsonObject]:
    """Each item as it is in the end: its entry, or what it folds to."""
    return {
        at: entries[partners[at]] if at in partners else whole(item)
        for at, item in enumerate(items)
    }


def _folded(item: Item, folded: Sequence[Any]) -> JsonObject:
    if item.held is None:
        return folded_item(item, folded)
    return told_by(item.held.item, item.held.events)


# --- What is told before the end ---------------------------------------------------------------


def _released(
    context: Context,
    items: list[Item],
    entries: list[JsonObject],
    partners: Partners,
    wholes: dict[int, JsonObject],
) -> list[JsonObject]:
    """The calls that were held until now; their entries tell what they waited for."""
    events: list[JsonObject] = []
    for at, item in enumerate(items):
        if item.held is None:
            continue
        for name in ("id", "call_id", "name"):
            if not is_text(item.held.item.get(name)) and is_text(wholes[at].get(name)):
                item.held.item = {**item.held.item, name: wholes[at][name]}
        released = let_go(context, item, is_finished=True)
        if not released:
            context.count("nameless_call", item)
        elif at in partners:
            wholes[at] = pinned(item, wholes[at])
        else:
            wholes[at] = told_by(released[0]["item"], released[1:])
        events += released
    return events


def _must_be_closed(item: Item, entries: list[JsonObject], place: int | None) -> bool:
    """Whether readers would take *item* for unfinished."""
    if item.is_done or item.held is not None:
        return False
    entry = None if place is None else entries[place]
    is_there = entry is not None and pinned(item, entry) is entry and entry.get("id") == item.id
    return item.is_mended or not is_there


def _finished(item: Item, whole: JsonObject) -> JsonObject:
    """*whole* as ``output_item.done`` tells it: under the ids that were announced."""
    done = {**whole, "type": item.type, "id": item.id}
    if item.call_id is not None:
        done["call_id"] = item.call_id
    status = done.get("status")
    if status == "in_progress" or (status is None and "status" in kind_of(item.type).beginning):
        done["status"] = "completed"
    return done


def _closing(item: Item, whole: JsonObject) -> Iterator[JsonObject]:
    for name in LISTS.get(item.type, ()):
        yield from _closing_parts(item, name, list_in(whole, name))
    family, field = fields_of(item.type) or ("", "")
    if family and not item.is_settled:
        place = {"item_id": item.id, "output_index": item.index}
        yield {"type": f"{family}.done", **place, field: text_of(whole, field)}
    yield {"type": DONE, "output_index": item.index, "item": whole}


def _closing_parts(item: Item, name: str, wholes: list[Any]) -> Iterator[JsonObject]:
    for at, part in enumerate(item.parts.get(name, ())):
        whole = wholes[at] if at < len(wholes) else None
        if part.type == "":
            if not part.is_settled:
                event = part_event(item, name, at, "done", {})
                yield {**event, "command": text_of(whole, "")}
            continue
        if not isinstance(whole, dict) or whole.get("type") != part.type:
            continue  # the end says that it is something else
        field = text_field(part.type)
        if field and not part.is_settled:
            yield _text_done(item, name, at, whole, part.type, field)
        if not part.is_closed:
            yield part_event(item, name, at, "done", whole)


def _text_done(
    item: Item, name: str, at: int, whole: JsonObject, type: str, field: str
) -> JsonObject:
    place = {"item_id": item.id, "output_index": item.index, f"{name}_index": at}
    logprobs = whole.get("logprobs")
    extras = (
        {"logprobs": logprobs if isinstance(logprobs, list) else []}
        if type == "output_text"
        else {}
    )
    return {"type": event_type(type, "done"), **place, **extras, field: text_of(whole, field)}


# --- The output --------------------------------------------------------------------------------


def _is_worth(item: Item) -> bool:
    """Whether an item belongs into the output even where the end does not name it."""
    return item.is_done or item.held is not None or item.says_something


def _insert(
    context: Context, output: list[JsonObject], missing: list[int], wholes: Mapping[int, JsonObject]
) -> None:
    """Put the items that are *missing* from the end where they were announced."""
    items = context.roster.items
    for at in sorted(missing, key=lambda at: items[at].index):
        if items[at].held is None:
            output.insert(items[at].index, wholes[at])
            context.count("missing_item")


def _identified(
    context: Context, entries: list[JsonObject], partners: Partners
) -> list[JsonObject]:
    """The entries with the ids that readers ask for: those that were announced, else new ones."""
    items = {place: context.roster.items[at] for at, place in partners.items()}
    return [_with_ids(context, entry, at, items.get(at)) for at, entry in enumerate(entries)]


def _with_ids(context: Context, entry: JsonObject, place: int, item: Item | None) -> JsonObject:
    changes = _new_ids(context, entry, place)
    if item is not None and item.held is None:
        # The official client tells calls by their call id, and then compares their ids.
        is_pinned = item.is_pinned and kind_of(item.type).has_call_id
        for name, id in (("id", item.id), ("call_id", item.call_id)):
            given = entry.get(name)
            if id not in (None, given) and (is_pinned or is_minted(id) or not is_text(given)):
                changes[name] = id
    return {**entry, **changes} if changes else entry


def _new_ids(context: Context, entry: JsonObject, place: int) -> JsonObject:
    kind, ids = kind_of(entry["type"]), {}
    if not is_text(entry.get("id")) and ("id" in entry or not kind.may_lack_id):
        ids["id"] = context.mint_id(place, entry["type"])
    if kind.has_call_id and not is_text(entry.get("call_id")):
        ids["call_id"] = context.mint_call_id(place, entry["type"])
    return ids
