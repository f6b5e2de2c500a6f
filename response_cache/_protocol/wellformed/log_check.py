"""What a well-formed log is: nine rules, one row each.

1. Sequence numbers begin at 0 and have no gaps.
2. ``response.created`` is first and once; ``queued`` and ``in_progress`` come at most once. All
   have an empty ``output``, and all lifecycle events name one response.
3. Exactly one event is terminal, and it is the last.
4. An item is announced once, by ``response.output_item.added``, before any other event of its
   output index. Its id is text, and no other item's; only function calls and custom tool calls may
   have none. Its ``call_id`` is text where its type has one.
5. An event of an item names the id under which it was announced, and fits its type.
6. Parts are announced before they are used, under indexes without gaps, and are of the type that
   the event is about.
7. ``response.output_item.done`` comes once, with the announced type, id and call id, and nothing of
   that output index comes after it.
8. In a completed response each announced item is done, or in the ``output`` under its identity.
9. What the log folds to, after each event, can be read by the official client.

Output indexes may have gaps. The terminal ``output`` may differ from a done item in anything but
its identity: ``encrypted_content`` does in most recordings.

The first eight rules are here. The ninth needs a fold and the official client, which are no part of
the protocol: ``check_log`` takes it as one more rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from response_cache._protocol.events import (
    COMPLETED,
    CREATED,
    IN_PROGRESS,
    LIFECYCLE,
    QUEUED,
)
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.families import (
    ADDED,
    DONE,
    FAMILIES,
    Family,
    Step,
    is_minted,
    kind_of,
)
from response_cache._protocol.wellformed.log_state import Announced, LogState, part_type

__all__ = ("RULES", "Fault", "Finding", "Origin", "Rule", "check_log")


class Origin(StrEnum):
    """Whose fault a finding is, in a log of ours."""

    OURS = "ours"  # the normalizer mends such a thing, so it must not be in our log
    UPSTREAM = "upstream"  # the upstream contradicts ids that it gave itself; they are not changed


@dataclass(frozen=True, slots=True)
class Finding:
    """One event that breaks one rule."""

    rule: int  # 1 to 9, as ``check_log`` counts them
    number: int | None  # the event's sequence number; None where the whole log breaks the rule
    origin: Origin
    message: str


Fault: TypeAlias = tuple[Origin, str]

Rule: TypeAlias = Callable[[LogState, JsonObject], Iterator[Fault]]
"""Called with each event, and with what the log had said before it."""


def check_log(
    events: Iterable[JsonObject], more: Mapping[int, Rule] | None = None
) -> list[Finding]:
    """What is wrong with a whole log, in its order; nothing if it is well-formed.

    *more* are rules beside those of this module, by number. Never raises because of an event, but
    for what a rule of *more* raises.
    """
    rules = {**RULES, **(more or {})}
    state = LogState()
    findings = []
    for event in events:
        number = event.get("sequence_number")
        for rule, faults in rules.items():
            for origin, message in faults(state, event):
                at = number if type(number) is int else state.length
                findings.append(Finding(rule, at, origin, message))
        state.see(event)
    if not state.is_over:
        findings.append(Finding(3, None, Origin.OURS, "no event is terminal"))
    return findings


def _ours(message: str) -> Fault:
    return Origin.OURS, message


def _about_ids(announced: Any, message: str) -> Fault:
    """A contradiction of an id: ours only where the id is."""
    return (Origin.OURS if is_minted(announced) else Origin.UPSTREAM), message


def _numbers(state: LogState, event: JsonObject) -> Iterator[Fault]:
    number = event.get("sequence_number")
    if type(number) is not int or number != state.length:
        yield _ours(f"the number is {number!r} and should be {state.length}")


def _beginning(state: LogState, event: JsonObject) -> Iterator[Fault]:
    type = event.get("type")
    if (type == CREATED) != (state.length == 0):
        yield _ours(f"{type} is event {state.length}")
    if type not in LIFECYCLE:
        return
    response = event.get("response")
    response = response if isinstance(response, dict) else {}
    if type in _ONCE and state.counts.get(type):
        yield _ours(f"{type} comes again")
    if type in _ONCE and response.get("output") != []:
        yield _ours(f"{type} has no empty output")
    id = response.get("id")
    if not _is_text(id) or (state.length and id != state.response_id):
        yield _ours(f"{type} names the response {id!r}")


_ONCE: Final = (CREATED, QUEUED, IN_PROGRESS)


def _end(state: LogState, event: JsonObject) -> Iterator[Fault]:
    if state.is_over:
        yield _ours(f"{event.get('type')} comes after the terminal event")


def _announcement(state: LogState, event: JsonObject) -> Iterator[Fault]:
    type = event.get("type")
    if type == ADDED:
        yield from _added(state, event)
    elif (type == DONE or type in FAMILIES) and state.at(event) is None:
        yield _ours(f"no item is at index {event.get('output_index')!r}")


def _added(state: LogState, event: JsonObject) -> Iterator[Fault]:
    index, item = event.get("output_index"), event.get("item")
    if type(index) is not int or index < 0:
        yield _ours(f"{index!r} is no index")
    elif index in state.items:
        yield _ours(f"index {index} is announced again")
    if not isinstance(item, dict) or not _is_text(item.get("type")):
        yield _ours("the item has no type")
        return
    kind, id = kind_of(item["type"]), item.get("id")
    if "id" in item or not kind.may_lack_id:
        if not _is_text(id):
            yield _ours(f"the item's id is {id!r}")
        elif id in state.ids:
            yield _about_ids(id, f"{id} is another item's id")
    if kind.has_call_id and not _is_text(item.get("call_id")):
        yield _ours(f"the item's call_id is {item.get('call_id')!r}")


def _item_events(state: LogState, event: JsonObject) -> Iterator[Fault]:
    family, item = FAMILIES.get(str(event.get("type"))), state.at(event)
    if family is None or item is None:
        return
    if item.type not in family.items:
        yield _ours(f"the item is a {item.type}")
    named = event.get("item_id")
    if not family.names_item:
        return
    if not _is_text(named):
        yield _ours(f"item_id is {named!r}")
    elif named != item.id:
        yield _about_ids(item.id, f"item_id is {named} and the item's id {item.id}")


def _parts(state: LogState, event: JsonObject) -> Iterator[Fault]:
    family, item = FAMILIES.get(str(event.get("type"))), state.at(event)
    if family is None or item is None or not family.list:
        return
    parts, index = item.parts.get(family.list, []), event.get(family.index)
    if family.step is Step.ANNOUNCE:
        if type(index) is not int or index != len(parts):
            yield _ours(f"{family.index} is {index!r} and should be {len(parts)}")
    elif type(index) is not int or not 0 <= index < len(parts):
        yield _ours(f"no part is at {family.index} {index!r}")
    elif family.part and parts[index] != family.part:
        yield _ours(f"the part is a {parts[index]}")
    if family.step in (Step.ANNOUNCE, Step.CLOSE) and family.list != "action.commands":
        yield from _carried(family, item, event.get("part"))


def _carried(family: Family, item: Announced, part: Any) -> Iterator[Fault]:
    brought = part_type(part)
    is_right = (brought == "reasoning_text") == (item.type == "reasoning")
    if not isinstance(part, dict) or not (brought == family.part if family.part else is_right):
        yield _ours(f"it brings a {brought} to a {item.type}")


def _closing(state: LogState, event: JsonObject) -> Iterator[Fault]:
    type = event.get("type")
    item = state.at(event) if type in (ADDED, DONE) or type in FAMILIES else None
    if item is None:
        return
    if item.is_done:
        yield _ours("the item is done already")
    given = event.get("item")
    if type == DONE:
        yield from _same(item, given if isinstance(given, dict) else {})


def _same(item: Announced, given: JsonObject) -> Iterator[Fault]:
    if given.get("type") != item.type:
        yield _ours(f"the {item.type} is done as {given.get('type')!r}")
    gets_id = item.id is None and kind_of(item.type).may_lack_id
    if given.get("id") != item.id and not gets_id:
        yield _about_ids(item.id, f"the item is done as {given.get('id')!r} and not as {item.id}")
    if given.get("call_id") != item.call_id:
        yield _about_ids(item.call_id, f"its call_id is {given.get('call_id')!r}")


def _completion(state: LogState, event: JsonObject) -> Iterator[Fault]:
    if event.get("type") != COMPLETED:
        return
    response = event.get("response")
    output = response.get("output") if isinstance(response, dict) else None
    entries = [e for e in output if isinstance(e, dict)] if isinstance(output, list) else []
    for index, item in state.items.items():
        if not item.is_done and not any(_is_same(item, entry) for entry in entries):
            yield _ours(f"the item at index {index} is neither done nor in the output")


def _is_same(item: Announced, entry: JsonObject) -> bool:
    return not [*_same(item, entry)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


RULES: Final[Mapping[int, Rule]] = {
    1: _numbers,
    2: _beginning,
    3: _end,
    4: _announcement,
    5: _item_events,
    6: _parts,
    7: _closing,
    8: _completion,
}
"""By number."""
