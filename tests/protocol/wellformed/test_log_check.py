"""Each rule of a well-formed log, kept and broken."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.families import mint_id
from response_cache.testing import Finding, Origin, check_log, read_by_client
from tests.protocol.wellformed.clients import READ_BY_CLIENT

Log = list[dict[str, Any]]

PART: Final = {"type": "output_text", "text": "", "annotations": []}
WHOLE: Final = {**PART, "text": "Hi"}
MESSAGE: Final = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
CALL: Final = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "arguments": ""}
AT: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def lifecycle(step: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{step}", "response": {"id": "resp_1", "output": [], **fields}}


def log() -> Log:
    """A well-formed log of a message and a call."""
    done = {**MESSAGE, "content": [WHOLE]}
    called = {**CALL, "arguments": "{}"}
    events = [
        lifecycle("created"),
        lifecycle("queued"),
        lifecycle("in_progress"),
        {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE},
        {"type": "response.content_part.added", **AT, "part": PART},
        {"type": "response.output_text.delta", **AT, "delta": "Hi"},
        {"type": "response.output_text.done", **AT, "text": "Hi"},
        {"type": "response.content_part.done", **AT, "part": WHOLE},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.output_item.added", "output_index": 2, "item": CALL},
        {
            "type": "response.function_call_arguments.done",
            "item_id": "fc_1",
            "output_index": 2,
            "arguments": "{}",
        },
        {"type": "response.output_item.done", "output_index": 2, "item": called},
        lifecycle("completed", output=[done, called]),
    ]
    return copy.deepcopy([{**event, "sequence_number": n} for n, event in enumerate(events)])


def found(events: Log) -> set[tuple[int, str]]:
    return {(finding.rule, finding.origin.value) for finding in check_log(events)}


def test_nothing_is_found_in_a_well_formed_log() -> None:
    assert check_log(log()) == []


def test_a_log_need_not_be_queued_and_may_fail_with_open_items() -> None:
    events = [*log()[:1], *log()[3:6], lifecycle("failed")]
    assert check_log([{**event, "sequence_number": n} for n, event in enumerate(events)]) == []


def renumbered(change: Callable[[Log], Any]) -> Callable[[Log], Any]:
    """*change*, after which the numbers are dense again."""

    def changed(events: Log) -> None:
        change(events)
        for number, event in enumerate(events):
            event["sequence_number"] = number

    return changed


def setting(number: int, *path: Any) -> Callable[[Log], Any]:
    """The event of this number gets the last of *path* where the others lead."""

    def change(events: Log) -> None:
        holder: Any = events[number]
        for step in path[:-2]:
            holder = holder[step]
        holder[path[-2]] = path[-1]

    return change


def lacking(number: int, *path: Any) -> Callable[[Log], Any]:
    def change(events: Log) -> None:
        holder: Any = events[number]
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]

    return change


def without(*numbers: int) -> Callable[[Log], Any]:
    def change(events: Log) -> None:
        events[:] = [event for n, event in enumerate(events) if n not in numbers]

    return renumbered(change)


def again(number: int) -> Callable[[Log], Any]:
    return renumbered(lambda events: events.insert(number, copy.deepcopy(events[number])))


def moved(number: int, to: int) -> Callable[[Log], Any]:
    return renumbered(lambda events: events.insert(to, events.pop(number)))


def minted(*changes: Callable[[Log], Any]) -> Callable[[Log], Any]:
    """The same in a log whose message has an id of ours."""

    def change(events: Log) -> None:
        id = mint_id("resp_1", 0, "message")
        for event in events:
            if event.get("item_id") == "msg_1":
                event["item_id"] = id
            for item in (event.get("item"), *event.get("response", {}).get("output", ())):
                if item is not None and item["id"] == "msg_1":
                    item["id"] = id
        for one in changes:
            one(events)

    return change


def unfinished(events: Log) -> None:
    del events[8]
    del events[-1]["response"]["output"][0]


OURS, UPSTREAM = Origin.OURS.value, Origin.UPSTREAM.value

NO_ID: Final = {(4, OURS), (5, UPSTREAM), (7, UPSTREAM)}
TWICE: Final = {(4, UPSTREAM), (5, UPSTREAM), (7, UPSTREAM)}
UNTYPED: Final = {(4, OURS), (5, OURS), (7, OURS)}
MISFIT: Final = {(5, OURS), (5, UPSTREAM), (7, OURS)}

# fmt: off
BROKEN: Final = {
    "a number is missing":              (lacking(5, "sequence_number"), {(1, OURS)}),
    "a number comes twice":             (setting(5, "sequence_number", 4), {(1, OURS)}),
    "a number is true":                 (setting(1, "sequence_number", True), {(1, OURS)}),
    "created is missing":               (without(0), {(2, OURS)}),
    "created comes twice":              (again(0), {(2, OURS)}),
    "queued comes twice":               (again(1), {(2, OURS)}),
    "in_progress comes twice":          (again(2), {(2, OURS)}),
    "created has items":                (setting(0, "response", "output", [MESSAGE]), {(2, OURS)}),
    "in_progress has no output":        (lacking(2, "response", "output"), {(2, OURS)}),
    "the response's id changes":        (setting(12, "response", "id", "resp_2"), {(2, OURS)}),
    "the response has no id":           (setting(0, "response", "id", ""), {(2, OURS)}),
    "nothing is terminal":              (without(12), {(3, OURS)}),
    "two events are terminal":          (again(12), {(3, OURS)}),
    "the terminal event is not last":   (moved(12, 9), {(3, OURS)}),
    "an item is not announced":         (without(3), {(4, OURS)}),
    "an item is announced late":        (moved(3, 5), {(4, OURS), (6, OURS)}),
    "an item is announced twice":       (again(3), {(4, OURS), (4, UPSTREAM)}),
    "an index is text":                 (setting(9, "output_index", "2"), {(4, OURS)}),
    "an index is negative":             (setting(9, "output_index", -1), {(4, OURS)}),
    "an item has no type":              (lacking(3, "item", "type"), UNTYPED),
    "an item has no id":                (lacking(3, "item", "id"), NO_ID),
    "a call has an empty id":           (setting(9, "item", "id", ""), NO_ID),
    "two items have one id":            (setting(9, "item", "id", "msg_1"), TWICE),
    "a call has no call id":            (lacking(9, "item", "call_id"), {(4, OURS), (7, UPSTREAM)}),
    "an event names no item":           (lacking(5, "item_id"), {(5, OURS)}),
    "an event names another id":        (setting(5, "item_id", "msg_9"), {(5, UPSTREAM)}),
    "an event names no id of ours":     (minted(setting(5, "item_id", "msg_9")), {(5, OURS)}),
    "an event does not fit its item":   (setting(10, "output_index", 0), MISFIT),
    "a part is not announced":          (without(4), {(6, OURS)}),
    "a part is announced twice":        (again(4), {(6, OURS)}),
    "a part's index has a gap":         (setting(4, "content_index", 1), {(6, OURS)}),
    "a part's index is null":           (setting(5, "content_index", None), {(6, OURS)}),
    "a part is of another type":        (setting(4, "part", {"type": "refusal"}), {(6, OURS)}),
    "a part is a thought in a message": (setting(7, "part", "type", "reasoning_text"), {(6, OURS)}),
    "an item is done twice":            (again(8), {(7, OURS)}),
    "an event comes after its item":    (moved(7, 8), {(7, OURS)}),
    "a message is done as a thought":   (setting(8, "item", "type", "reasoning"), {(7, OURS)}),
    "an item is done as another":       (setting(8, "item", "id", "msg_9"), {(7, UPSTREAM)}),
    "an item is done as none of ours":  (minted(setting(8, "item", "id", "msg_9")), {(7, OURS)}),
    "a call is done as another":        (setting(11, "item", "call_id", "call_9"), {(7, UPSTREAM)}),
    "an item is never done":            (renumbered(unfinished), {(8, OURS)}),
}
# fmt: on


@pytest.mark.parametrize("name", BROKEN)
def test_a_log_that_breaks_a_rule_has_findings_of_that_rule(name: str) -> None:
    change, findings = BROKEN[name]
    events = log()
    change(events)
    assert found(events) == findings


# fmt: off
KEPT: Final = {
    "a call has no id":                 lambda e: [e[9]["item"].pop("id"), e.pop(10)],
    "an item is in the output alone":   lambda e: e.pop(8),
    "a done item is not in the output": lambda e: e[12]["response"].update(output=[]),
    "a terminal item differs":          lambda e: e[12]["response"]["output"][0].update(x=1),
    "parts come with the item":         lambda e: [e[3]["item"].update(content=[PART]), e.pop(4)],
    "events that nobody knows":         lambda e: e.insert(5, {"type": "acme:x", "item": 9}),
    "a text is settled twice":          lambda e: e.insert(7, dict(e[6])),
}
# fmt: on


@pytest.mark.parametrize("name", KEPT)
def test_what_the_rules_allow_is_not_found(name: str) -> None:
    events = log()
    renumbered(KEPT[name])(events)
    assert check_log(events) == []


def test_a_finding_tells_the_rule_the_event_and_what_is_wrong() -> None:
    events = log()
    events[5]["item_id"] = "msg_9"
    assert check_log(events) == [
        Finding(5, 5, Origin.UPSTREAM, "item_id is msg_9 and the item's id msg_1")
    ]


def test_the_ninth_rule_is_given_by_those_with_the_client() -> None:
    events = log()
    assert check_log(events, {READ_BY_CLIENT: read_by_client()}) == []
    events[3]["item"]["content"] = None
    findings = check_log(events, {READ_BY_CLIENT: read_by_client()})
    assert [(finding.rule, finding.number) for finding in findings] == [(READ_BY_CLIENT, 3)]


@pytest.mark.parametrize("event", [{}, {"type": 1}, {"type": "response.output_text.delta"}])
def test_no_event_makes_the_check_fail(event: dict[str, Any]) -> None:
    assert check_log([event]) != []
