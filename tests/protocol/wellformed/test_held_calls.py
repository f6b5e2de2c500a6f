"""Calls wait until their call id and their name are known."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.families import is_minted
from response_cache._protocol.wellformed.held_calls import MAX_HELD, MAX_HELD_BYTES
from tests.protocol.wellformed.clients import accumulated
from tests.protocol.wellformed.runs import Run, played

AT: Final = {"item_id": "fc_1", "output_index": 0}
CALL: Final = {"type": "function_call", "id": "fc_1", "name": "look_up", "arguments": ""}


def event(step: str, **item: Any) -> dict[str, Any]:
    type = f"response.output_item.{step}"
    return {"type": type, "output_index": 0, "item": {**CALL, **item}}


def delta(text: str, **at: Any) -> dict[str, Any]:
    return {"type": "response.function_call_arguments.delta", **AT, **at, "delta": text}


def completed(*output: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"output": list(output)}}


def test_a_call_without_a_call_id_waits_with_its_events() -> None:
    run = Run().feed(event("added"), delta("{"), delta("}"))
    assert run.output == []
    run.feed(event("done", call_id="call_1", arguments="{}"))
    assert [event["type"].rsplit(".")[-1] for event in run.log[3:]] == [
        *("added", "delta", "delta", "done")
    ]
    assert {e["item"]["call_id"] for e in run.log[3:] if "item" in e} == {"call_1"}
    assert run.feed(completed()).findings == []


def test_a_second_announcement_with_the_call_id_lets_it_go() -> None:
    run = Run().feed(event("added"), delta("{"), event("added", call_id="call_1"))
    assert run.output[0]["arguments"] == "{"
    assert run.feed(delta("}"), completed()).findings == []
    assert run.output[0]["arguments"] == "{}"


def test_a_delta_that_brings_call_id_and_name_lets_it_go() -> None:
    run = Run().feed(delta("{", call_id="call_1"), delta("}", name="look_up"))
    assert run.output[0]["arguments"] == "{}"
    assert (run.output[0]["call_id"], run.output[0]["name"]) == ("call_1", "look_up")


def test_other_items_go_on_meanwhile() -> None:
    message = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1}
    run = Run().feed(event("added"), {**message, "delta": "Hi"}, delta("{}"))
    assert [item["type"] for item in run.output] == ["message"]
    run.feed(event("done", call_id="call_1", arguments="{}"), completed())
    assert [item["type"] for item in run.output] == ["message", "function_call"]
    assert run.findings == []


def test_a_finished_call_without_a_call_id_gets_one() -> None:
    run = played([event("added"), delta("{}"), event("done", arguments="{}"), completed()])
    assert is_minted(run.output[0]["call_id"])
    assert run.findings == []


def test_the_entry_of_the_end_carries_the_call_id_that_was_made() -> None:
    run = played([event("done", arguments="{}"), completed({**CALL, "arguments": "{}"})])
    assert run.log[3]["item"]["call_id"] == run.output[0]["call_id"]
    assert run.findings == []


def test_the_end_tells_what_a_call_waited_for() -> None:
    whole = {**CALL, "call_id": "call_1", "arguments": "{}"}
    run = played([delta("{}"), completed(whole)])
    assert run.types == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert run.output == [whole]
    assert run.findings == []


def test_a_call_that_never_gets_a_name_is_not_announced() -> None:
    run = played([delta("{}"), {**delta("{}"), "output_index": 0}, completed()])
    assert run.output == []
    assert (run.mended["held_call"], run.mended["nameless_call"]) == (1, 1)
    assert run.findings == []


def test_a_cut_tells_what_a_call_has_so_far_and_does_not_end_it() -> None:
    run = played([event("added", status="in_progress"), delta("{")])
    assert run.types == ["output_item.added", "function_call_arguments.delta"]
    assert (run.output[0]["arguments"], run.output[0]["status"]) == ("{", "in_progress")
    assert run.findings == []


def test_commands_of_a_held_shell_call_are_told_at_the_end() -> None:
    at = {"output_index": 0, "command_index": 0}
    family = "response.shell_call_command"
    run = played(
        [
            {"type": f"{family}.delta", **at, "delta": "ls "},
            {"type": f"{family}.delta", **at, "delta": "-l"},
            completed(),
        ]
    )
    assert run.output[0]["action"]["commands"] == ["ls -l"]
    assert run.findings == []


def test_no_more_calls_are_held_than_a_number() -> None:
    events = [{**event("added", id=f"fc_{n}"), "output_index": n} for n in range(MAX_HELD + 2)]
    run = Run().feed(*events)
    assert len(run.output) == 2
    assert all(is_minted(item["call_id"]) for item in run.output)
    assert run.feed(completed()).findings == []
    assert len(run.output) == MAX_HELD + 2


def test_no_more_bytes_are_held_than_a_number() -> None:
    run = Run().feed(event("added"), delta("x" * MAX_HELD_BYTES))
    assert len(run.output[0]["arguments"]) == MAX_HELD_BYTES


def test_a_call_without_a_name_loses_what_is_too_much_and_has_it_all_when_it_is_done() -> None:
    run = Run().feed(delta("x" * MAX_HELD_BYTES))
    assert run.mended["dropped_call_events"] == 1
    run.feed(event("done", call_id="call_1", arguments="{}"), completed())
    assert run.output[0]["arguments"] == "{}"
    assert run.findings == []


@pytest.mark.parametrize("call_id", ["", None, 3])
def test_a_call_id_that_is_no_text_is_none(call_id: Any) -> None:
    assert Run().feed(event("added", call_id=call_id)).output == []


def test_a_call_without_an_id_gets_one_for_the_sake_of_its_events() -> None:
    item = {key: value for key, value in CALL.items() if key != "id"}
    added = {"type": "response.output_item.added", "output_index": 0}
    run = played([{**added, "item": {**item, "call_id": "call_1"}}, delta("{}"), completed()])
    assert is_minted(run.output[0]["id"])
    assert run.findings == []


def test_the_end_names_a_call_that_we_announced_as_we_did() -> None:
    whole = {**CALL, "id": "fc_9", "call_id": "call_1", "arguments": "{}"}
    run = played([delta("{}", item_id="other"), completed(whole)])
    assert run.output[0]["id"] == run.log[3]["item"]["id"] == "other"
    accumulated(run.log)
