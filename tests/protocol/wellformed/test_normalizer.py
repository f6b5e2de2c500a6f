"""One event at a time: what goes through, what is renamed, what errors and ends become."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.responses import Failure
from response_cache._protocol.wellformed.names import NAMES
from tests.protocol.wellformed.runs import Run, played

AT: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
DELTA: Final = {"type": "response.output_text.delta", **AT, "delta": "Hi"}
MESSAGE: Final = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
}


def lifecycle(step: str, **response: Any) -> dict[str, Any]:
    return {"type": f"response.{step}", "response": {"id": "resp_up", **response}}


# What goes through.


@pytest.mark.parametrize(
    "event",
    [
        {"type": "acme:progress", "output_index": 9, "item": None},
        {"type": "response.audio.delta", "delta": "UklG"},
        {"type": "keepalive", "sequence_number": 3},
        {"type": "error", "code": "x", "message": "hm", "param": None},
        {"type": "response.output_text.delta.x", "delta": 4},
    ],
)
def test_events_that_are_about_no_item_are_not_touched(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    (fed,) = Run().normalizer.feed(event)
    assert fed is event
    assert event == before


def test_a_delta_after_a_delta_is_the_same_object() -> None:
    run = Run().feed(DELTA)
    for event in ({**DELTA}, {**DELTA, "delta": "", "obfuscation": "x"}):
        (fed,) = run.normalizer.feed(event)
        assert fed is event


@pytest.mark.parametrize("other", [{"content_index": False}, {"delta": None}, {"item_id": "x"}])
def test_a_delta_that_is_not_quite_the_same_is_looked_at(other: dict[str, Any]) -> None:
    run = played([DELTA, DELTA, {**DELTA, **other}])
    assert run.faults == []


def test_deltas_may_pass_by() -> None:
    run = Run().feed(DELTA, DELTA)
    for _ in range(3):  # as a recorder does with what its template recognises
        run.recorder.record(DELTA["type"], {**DELTA}, b"")  # type: ignore[arg-type]
    run.feed(lifecycle("completed"))
    assert run.output[0]["content"][0]["text"] == "Hi" * 5
    assert run.findings == []


def test_nothing_is_recorded_after_the_end() -> None:
    run = Run().feed(lifecycle("completed"))
    assert run.normalizer.feed(DELTA) == []
    assert run.normalizer.finish() == []


def test_nothing_is_recorded_after_a_cut() -> None:
    run = Run().feed(DELTA, DELTA)
    assert run.normalizer.finish() == []
    assert run.normalizer.feed(DELTA) == []


_KEYS: Final = st.sampled_from(
    [
        *("type", "item", "part", "delta", "text", "item_id", "output_index", "content_index"),
        *("summary_index", "command_index", "annotation_index", "response", "output", "error"),
        *("content", "summary", "action", "commands", "call_id", "name", "id", "status"),
    ]
)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_TYPES: Final = st.sampled_from(
    [
        *("response.output_item.added", "response.output_item.done", "response.output_text.done"),
        *("response.content_part.added", "response.content_part.done", "error", "response.done"),
        *("response.reasoning_summary_text.delta", "response.shell_call_command.delta"),
        *("response.shell_call_output_content.done", "response.function_call_arguments.done"),
        *("response.created", "response.in_progress", "response.queued", *NAMES),
        *("response.output_text.annotation.added", "response.code_interpreter_call.completed"),
    ]
)


@st.composite
def _junk(draw: st.DrawFn) -> Any:
    value = draw(_JSON)
    if isinstance(value, dict):
        value["type"] = draw(_TYPES)
        if isinstance(value.get("item"), dict):
            kinds = ("message", "reasoning", "function_call", "shell_call", "acme:x", None)
            value["item"]["type"] = draw(st.sampled_from(kinds))
    return value


@given(st.lists(_junk(), max_size=8))
def test_whatever_comes_the_log_is_well_formed_and_no_event_is_changed(events: list[Any]) -> None:
    run = Run()
    for event in events:
        before = copy.deepcopy(event)
        fed = run.normalizer.feed(event)
        assert event == before
        for one in fed:
            run.recorder.record(one["type"], copy.deepcopy(one), b"")
    assert run.end().faults == []


# Names.


@pytest.mark.parametrize("old", sorted(NAMES))
def test_an_old_name_becomes_the_one_of_today(old: str) -> None:
    fed = Run().normalizer.feed({"type": old, "delta": "x", "item_id": "i"})
    assert old not in [event["type"] for event in fed]
    assert NAMES[old] in [event["type"] for event in fed] or not fed  # a call is held


@pytest.mark.parametrize("text", ["Hi", {"text": "Hi"}])
def test_old_deltas_are_folded(text: Any) -> None:
    event = {"type": "response.reasoning_summary.delta", "item_id": "rs_1", "delta": text}
    run = played([{**event, "output_index": 0, "summary_index": 0}, lifecycle("completed")])
    assert run.output[0]["summary"] == [{"type": "summary_text", "text": "Hi"}]


def test_arguments_that_are_an_object_become_text() -> None:
    event = {"type": "response.mcp_call.arguments.done", "item_id": "mcp_1", "output_index": 0}
    run = played([{**event, "arguments": {"city": "Paris"}}, lifecycle("completed")])
    assert run.output[0]["arguments"] == '{"city":"Paris"}'


@pytest.mark.parametrize("type", ["reasoning_text", "text", "output_text"])
def test_a_reasoning_part_is_a_part_of_reasoning(type: str) -> None:
    at = {"item_id": "rs_1", "output_index": 0, "content_index": 0}
    part = {"type": type, "text": ""}
    run = played(
        [
            {"type": "response.reasoning_part.added", **at, "part": part},
            {"type": "response.reasoning_text.delta", **at, "delta": "hm"},
            {"type": "response.reasoning_part.done", **at, "part": {**part, "text": "hm"}},
            lifecycle("completed"),
        ]
    )
    assert run.output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert run.findings == []


# The beginning.


@pytest.mark.parametrize("step", ["created", "queued"])
def test_an_upstream_that_is_queued_has_not_begun(step: str) -> None:
    run = Run().feed(lifecycle(step, status="queued", model="theirs"))
    assert (run.recorder.is_queued, len(run.log)) == (True, 2)
    run.feed(DELTA)
    assert run.log[2]["type"] == "response.in_progress"
    assert run.response["model"] == "theirs"


def test_what_it_says_when_it_begins_counts_more() -> None:
    run = Run().feed(lifecycle("created", status="queued", model="a"))
    run.feed(lifecycle("in_progress", status="in_progress", model="b"))
    assert (run.response["model"], len(run.log)) == ("b", 3)


def test_items_in_the_beginning_are_announced() -> None:
    run = played([lifecycle("in_progress", output=[MESSAGE]), lifecycle("completed")])
    assert run.log[2]["response"]["output"] == []
    assert run.log[3]["item"] == MESSAGE
    assert run.findings == []


@pytest.mark.parametrize("output", [None, "x", {}, [None]])
def test_an_output_that_is_no_list_of_items_is_empty(output: Any) -> None:
    (fed,) = Run().normalizer.feed(lifecycle("created", output=output))
    assert fed["response"]["output"] == []


# The end.


def test_a_flat_lifecycle_event_is_read_as_a_response() -> None:
    flat = {"id": "resp_up", "object": "response", "output": [MESSAGE], "usage": {"a": 1}}
    created = {"type": "response.created", **flat, "output": []}
    run = played([created, {"type": "response.completed", **flat}])
    assert (run.output, run.response["usage"]) == ([MESSAGE], {"a": 1})
    assert "resp_up" not in json.dumps(run.log)
    assert run.mended["flat_lifecycle_event"] == 2


def test_completed_with_a_reason_is_incomplete() -> None:
    details = {"reason": "max_output_tokens"}
    run = played([DELTA, lifecycle("completed", status="completed", incomplete_details=details)])
    assert (run.response["status"], run.response["incomplete_details"]) == ("incomplete", details)
    assert run.types[-1] == "output_text.delta"


@pytest.mark.parametrize("details", [None, {}, {"reason": None}])
def test_completed_without_a_reason_is_completed(details: Any) -> None:
    run = played([lifecycle("completed", incomplete_details=details)])
    assert run.response["status"] == "completed"


def test_incomplete_without_details_stays_so() -> None:
    assert played([lifecycle("incomplete")]).response["status"] == "incomplete"


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_has_not_finished_is_a_failure(status: str) -> None:
    run = played([lifecycle("done", status=status, output=[])])
    assert run.response["status"] == "failed"
    assert "background" in run.response["error"]["message"]


def test_a_whole_answer_goes_the_same_way() -> None:
    response = {"id": "resp_up", "status": "completed", "output": [{**MESSAGE, "id": None}]}
    run = Run()
    for event in run.normalizer.answer(response):
        run.recorder.record(event["type"], event, b"")
    assert run.findings == []
    assert [run.types[0], run.types[-1]] == ["output_item.added", "output_item.done"]
    assert run.output[0]["id"] == run.log[3]["item"]["id"]


def test_an_end_before_anything_else_has_a_beginning() -> None:
    run = played([lifecycle("completed", output=[MESSAGE])])
    assert run.log[2]["response"]["output"] == []
    assert (run.findings, run.output) == ([], [MESSAGE])


# Errors.

WHY: Final = "out of memory"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"error": {"message": WHY, "code": 500}}, "server_error"),
        ({"error": {"message": WHY, "code": "rate_limit_exceeded"}}, "rate_limit_exceeded"),
        ({"error": WHY}, "server_error"),
        ({"detail": WHY}, "server_error"),
        ([{"error": {"message": WHY}}], "server_error"),
        (WHY, "server_error"),
    ],
)
def test_an_untyped_error_is_the_failure_and_no_event(event: Any, code: str) -> None:
    run = played([DELTA, event])
    assert run.response["error"] == {"code": code, "message": WHY}
    assert run.types[-1] == "output_text.delta"


def test_an_untyped_error_ends_nothing_by_itself() -> None:
    run = played([{"error": WHY}, DELTA, lifecycle("completed")])
    assert (run.response["status"], run.response["error"]) == ("completed", None)


@pytest.mark.parametrize("event", [{"error": None}, {}, None, 4, "<html>", {"id": "x"}])
def test_what_has_no_type_and_no_error_is_left_out(event: Any) -> None:
    run = Run()
    assert run.normalizer.feed(event) == []
    assert (run.normalizer.failure, run.mended) == (None, {})


def test_a_typed_error_passes_and_is_the_failure() -> None:
    event = {"type": "error", "code": "x", "message": WHY, "param": None}
    run = played([event])
    assert run.types == ["error"]
    assert run.normalizer.failure == Failure(WHY, "x")


def test_the_type_of_a_nested_error_is_its_code_where_it_has_none() -> None:
    run = played([{"type": "error", "error": {"type": "overloaded_error", "message": WHY}}])
    assert run.response["error"] == {"code": "overloaded_error", "message": WHY}


@pytest.mark.parametrize(
    "event",
    [
        {**lifecycle("failed", error=WHY)},
        {**lifecycle("failed"), "error": {"message": WHY, "code": 500}},
        {"type": "response.failed", "error": {"message": WHY}},
        {"type": "response.failed", "message": WHY},
        {**lifecycle("completed", status="failed", error={"message": WHY})},
        {**lifecycle("failed", error={"error": {"message": WHY}})},
    ],
)
def test_a_failure_tells_why_where_readers_look(event: dict[str, Any]) -> None:
    run = played([event])
    assert run.response["status"] == "failed"
    assert run.response["error"]["message"] == WHY
    assert run.response["error"]["code"] == "server_error"
    assert "error" not in run.log[-1]


def test_a_failure_without_a_reason_has_the_one_that_came_before() -> None:
    run = played([{"error": {"message": WHY, "code": "x"}}, lifecycle("failed")])
    assert run.response["error"] == {"code": "x", "message": WHY}


def test_more_of_an_error_is_kept() -> None:
    error = {"code": "x", "message": WHY, "param": "input"}
    *_, fed = Run().normalizer.feed(lifecycle("failed", error=error, output=[]))
    assert fed["response"]["error"] is error
