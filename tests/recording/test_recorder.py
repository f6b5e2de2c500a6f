"""What a response becomes, event by event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._fold.reducer import fold
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.lifecycle import Status, Trigger
from response_cache._protocol.responses import Failure
from response_cache._protocol.sse import payload
from response_cache._recording.intake import UPSTREAM_DEPTH, Intake
from response_cache._recording.recorder import Recorder
from response_cache.store import RecordView
from response_cache.testing._strategies import valid_streams

NOW = 1_700_000_000.5
QUEUED = {
    "id": "resp_rc1",
    "object": "response",
    "created_at": 1_600_000_000,
    "status": "queued",
    "background": True,
    "store": True,
    "metadata": {"of": "the caller"},
    "previous_response_id": "resp_rc0",
    "model": "asked",
    "error": None,
    "incomplete_details": None,
    "completed_at": None,
    "usage": None,
    "output": [],
}
ITEM = {"id": "msg_1", "type": "message", "status": "in_progress", "content": []}
PART = {"type": "output_text", "text": "", "annotations": []}
AT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
OPENING = [
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.content_part.added", **AT, "part": PART},
    {"type": "response.output_text.delta", **AT, "delta": "Hel"},
    {"type": "response.output_text.delta", **AT, "delta": "lo"},
]


class Recording:
    """A recorder and the log that it made."""

    def __init__(self, *, max_events: int = 1000, **unsaid: Any) -> None:
        queued = json.loads(json.dumps({**QUEUED, **dict.fromkeys(unsaid, "default")}))
        self.recorder = Recorder.begin(
            queued, now=lambda: NOW, max_events=max_events, unsaid=unsaid
        )
        self.intake = Intake(self.recorder)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [load(payload(event)) for event in self.recorder.pending]

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.log]

    @property
    def response(self) -> dict[str, Any]:
        """The response as a reader of the whole log folds it."""
        return fold({}, self.log)

    def feed(self, *events: dict[str, Any]) -> Recording:
        for event in events:
            self.intake.record(json.dumps(event).encode())
        return self


def lifecycle(step: str, **response: Any) -> dict[str, Any]:
    return {"type": f"response.{step}", "response": {"id": "resp_up", **response}}


# The log is ours.


def test_the_log_begins_created_and_queued_with_the_queued_response() -> None:
    recording = Recording()
    assert recording.types == ["created", "queued"]
    assert [event["response"] for event in recording.log] == [QUEUED, QUEUED]


def test_lifecycle_events_of_the_upstream_become_one_in_progress() -> None:
    recording = Recording().feed(
        lifecycle("created"), lifecycle("queued"), lifecycle("in_progress"), *OPENING
    )
    assert recording.types[2:4] == ["in_progress", "output_item.added"]
    assert recording.types.count("in_progress") == 1


def test_an_upstream_that_names_no_beginning_is_in_progress_with_its_first_event() -> None:
    recording = Recording().feed(OPENING[0])
    assert recording.types[2:] == ["in_progress", "output_item.added"]
    assert recording.recorder.status is Status.IN_PROGRESS


def test_what_the_upstream_says_is_adopted_but_not_over_what_is_ours() -> None:
    recording = Recording().feed(
        lifecycle(
            "created",
            model="really",
            created_at=1,
            background=False,
            store=False,
            metadata={"of": "the upstream", "thread": "t"},
            previous_response_id="resp_up0",
            service_tier="flex",
            status="completed",
        )
    )
    response = recording.response
    assert response["status"] == "in_progress"
    assert (response["model"], response["service_tier"]) == ("really", "flex")
    for name in ("id", "created_at", "background", "store", "previous_response_id"):
        assert response[name] == QUEUED[name]
    assert response["metadata"] == {"of": "the caller", "thread": "t"}


def test_the_upstreams_own_id_goes_to_the_notes_once() -> None:
    recorder = Recording().feed(lifecycle("created")).recorder
    assert load(recorder.take_notes() or b"") == {"upstream_id": "resp_up"}
    assert recorder.take_notes() is None


def test_numbers_are_dense_and_ours() -> None:
    events = [{**event, "sequence_number": 7 * n} for n, event in enumerate(OPENING)]
    log = Recording().feed(*events, lifecycle("completed")).log
    assert [event["sequence_number"] for event in log] == list(range(len(log)))


def test_keepalives_and_padding_are_dropped() -> None:
    recording = Recording().feed(
        {"type": "keepalive", "sequence_number": 0}, {**OPENING[0], "obfuscation": "xyz"}
    )
    assert recording.types == ["created", "queued", "in_progress", "output_item.added"]
    assert "obfuscation" not in recording.log[-1]


def test_unknown_events_and_unknown_fields_survive() -> None:
    event = {"type": "acme:progress", "percent": 12.5, "deep": {"er": [1, None]}}
    recording = Recording().feed(
        event, lifecycle("completed", acme={"cost": 1}, usage={"acme_tokens": 3})
    )
    assert recording.log[3] == {**event, "sequence_number": 3}
    assert recording.response["acme"] == {"cost": 1}
    assert recording.response["usage"] == {"acme_tokens": 3}


def test_response_ids_in_events_become_ours() -> None:
    recording = Recording().feed({**OPENING[2], "response_id": "resp_up"})
    assert recording.log[-1]["response_id"] == QUEUED["id"]


def test_the_upstreams_id_is_nowhere_in_what_is_recorded() -> None:
    item = {**ITEM, "response_id": "resp_up", "created_by": {"response_id": "resp_up"}}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    recording = Recording().feed(
        {**lifecycle("created", response_id="resp_up"), "response_id": "resp_up"},
        {**OPENING[0], "item": item},
        {"type": "acme:progress", "of": {"run": "resp_up"}},
        done,
        lifecycle("completed", output=[item], metadata={"run": "resp_up"}),
    )
    assert "resp_up" not in json.dumps(recording.log)
    assert recording.response["output"][0]["created_by"] == {"response_id": QUEUED["id"]}
    assert recording.response["metadata"] == {"run": QUEUED["id"], "of": "the caller"}
    assert load(recording.recorder.take_notes() or b"") == {"upstream_id": "resp_up"}


def test_the_upstreams_id_is_nowhere_in_a_whole_answer_either() -> None:
    recording = Recording()
    item = {**ITEM, "response_id": "resp_up"}
    recording.recorder.answer({"id": "resp_up", "response_id": "resp_up", "output": [item]})
    assert "resp_up" not in json.dumps(recording.log)
    assert load(recording.recorder.take_notes() or b"") == {"upstream_id": "resp_up"}


def test_text_that_is_the_upstreams_id_stays() -> None:
    delta = {**OPENING[2], "delta": "resp_up"}
    recording = Recording().feed(lifecycle("created"), *OPENING[:2], delta, delta, delta)
    assert recording.response["output"][0]["content"][0]["text"] == "resp_up" * 3


@pytest.mark.parametrize("id", ["", None, 7, "up/1", "\u00e9", 'a"b'])
def test_any_id_of_an_upstream_is_replaced_or_none(id: Any) -> None:
    recording = Recording().feed(
        lifecycle("created", id=id), {**OPENING[0], "run": id}, lifecycle("completed", id=id)
    )
    is_one = isinstance(id, str) and id
    assert recording.log[3]["run"] == (QUEUED["id"] if is_one else id)
    assert recording.response["id"] == QUEUED["id"]


def test_defaults_are_told_until_the_upstream_has_the_word() -> None:
    recording = Recording(top_p=None, tier=None).feed(lifecycle("created", tier="flex"))
    queued, _, begun = (event["response"] for event in recording.log)
    assert (queued["top_p"], queued["tier"]) == ("default", "default")
    assert (begun["top_p"], begun["tier"]) == (None, "flex")
    recording.feed(lifecycle("completed", top_p=0.5))
    assert (recording.response["top_p"], recording.response["tier"]) == (0.5, "flex")


def test_defaults_are_not_told_at_an_end_without_an_upstream() -> None:
    recording = Recording(top_p=None)
    recording.recorder.end(Trigger.FAIL, Failure("It broke."))
    assert recording.response["top_p"] is None


def test_bytes_that_need_no_change_but_the_number_stay_as_they_came() -> None:
    recording = Recording()
    recording.intake.record(b'{"type":"acme:x","n":1.0e2,"sequence_number":0,"t":"\\u00e9"}')
    assert payload(recording.recorder.pending[-1]) == (
        b'{"type":"acme:x","n":1.0e2,"sequence_number":3,"t":"\\u00e9"}'
    )


def test_the_type_may_come_from_the_event_line() -> None:
    recording = Recording()
    recording.intake.record(b'{"output_index":0,"item":{}}', "response.output_item.added")
    assert recording.log[-1]["type"] == "response.output_item.added"


# Ends.


@pytest.mark.parametrize(
    ("event", "status", "type"),
    [
        (lifecycle("completed"), "completed", "completed"),
        (lifecycle("incomplete", status="incomplete"), "incomplete", "incomplete"),
        (lifecycle("failed", status="failed"), "failed", "failed"),
        (lifecycle("failed", status="cancelled"), "cancelled", "failed"),
        (lifecycle("cancelled"), "cancelled", "failed"),
        (lifecycle("done"), "completed", "completed"),
        (lifecycle("done", status="incomplete"), "incomplete", "incomplete"),
        (lifecycle("done", status="failed"), "failed", "failed"),
        (lifecycle("completed", status="incomplete"), "incomplete", "incomplete"),
    ],
)
def test_each_end_of_an_upstream_has_its_status_and_one_terminal_event(
    event: dict[str, Any], status: str, type: str
) -> None:
    recording = Recording().feed(*OPENING, event)
    assert recording.types[-1] == type
    assert recording.response["status"] == recording.recorder.status == status
    assert recording.recorder.ended_by_upstream


def test_nothing_is_recorded_after_the_end() -> None:
    recording = Recording().feed(lifecycle("completed"))
    tail = recording.recorder.tail
    recording.feed(*OPENING, lifecycle("failed"))
    recording.recorder.end(Trigger.CANCEL)
    recording.recorder.answer({"output": []})
    assert recording.recorder.tail == tail
    assert recording.recorder.status is Status.COMPLETED


@pytest.mark.parametrize("terminal", [{"output": []}, {}, {"output": None}, {"output": "x"}])
def test_a_terminal_output_that_is_missing_or_empty_keeps_what_was_folded(
    terminal: dict[str, Any],
) -> None:
    recording = Recording().feed(*OPENING, lifecycle("completed", **terminal))
    assert recording.response["output"][0]["content"][0]["text"] == "Hello"


def test_a_terminal_output_replaces_what_was_folded() -> None:
    item = {**ITEM, "status": "completed", "content": [{**PART, "text": "Bye"}]}
    recording = Recording().feed(*OPENING, lifecycle("completed", output=[item]))
    assert recording.response["output"] == [item]


def test_a_broken_off_answer_fails_with_the_reason_and_keeps_its_output() -> None:
    recording = Recording().feed(*OPENING)
    recording.recorder.end(Trigger.FAIL, Failure("It broke.", "server_error"))
    assert recording.types[-1] == "failed"
    assert recording.response["error"] == {"code": "server_error", "message": "It broke."}
    assert recording.response["output"][0]["content"][0]["text"] == "Hello"
    assert not recording.recorder.ended_by_upstream


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"error": {"code": "rate_limit_exceeded", "message": "Slow."}}, "rate_limit_exceeded"),
        ({"code": "rate_limit_exceeded", "message": "Slow.", "param": None}, "rate_limit_exceeded"),
        ({"error": {"type": "overloaded_error", "message": "Slow."}}, "overloaded_error"),
        ({"message": "Slow."}, "server_error"),
    ],
    ids=["nested", "flat", "type only", "message only"],
)
def test_an_error_event_and_then_nothing_fails_with_the_providers_words(
    event: dict[str, Any], code: str
) -> None:
    recording = Recording().feed({"type": "error", **event})
    recording.recorder.end(Trigger.FAIL, Failure("It broke."))
    assert recording.types[-2:] == ["error", "failed"]
    assert recording.response["error"] == {"code": code, "message": "Slow."}


def test_the_error_of_a_failed_response_is_the_upstreams_own() -> None:
    error = {"code": "invalid_prompt", "message": "No.", "more": 1}
    recording = Recording().feed(
        {"type": "error", "message": "x"}, lifecycle("failed", error=error)
    )
    assert recording.response["error"] == error


def test_a_cancelled_response_has_no_error_and_keeps_its_output_as_it_stood() -> None:
    recording = Recording().feed(*OPENING)
    recording.recorder.end(Trigger.CANCEL, Failure("unused"))
    response = recording.response
    assert recording.types[-1] == "failed"
    assert (response["status"], response["error"], response["completed_at"]) == (
        "cancelled",
        None,
        None,
    )
    assert response["output"][0]["status"] == "in_progress"


def test_a_completion_without_a_time_gets_ours() -> None:
    assert Recording().feed(lifecycle("completed")).response["completed_at"] == int(NOW)


def test_the_end_of_a_log_with_a_hole_stands_under_the_given_number() -> None:
    recorder = Recording().feed(*OPENING).recorder
    event, snapshot = recorder.end_at(3, Failure("Lost."))
    terminal = load(payload(event))
    assert (terminal["type"], terminal["sequence_number"]) == ("response.failed", 3)
    assert terminal["response"] == load(snapshot)
    assert load(snapshot)["error"]["message"] == "Lost."


def test_a_response_that_was_over_keeps_its_end_when_its_log_gets_a_hole() -> None:
    recorder = Recording().feed(*OPENING, lifecycle("completed")).recorder
    event, _ = recorder.end_at(2, Failure("Lost."))
    assert load(payload(event))["response"]["status"] == "completed"


# Limits and nonsense.


def test_the_terminal_event_fits_into_the_limit_of_events() -> None:
    recording = Recording(max_events=8).feed(*OPENING * 3)
    assert len(recording.log) == 8
    assert recording.types[-1] == "failed"
    assert "more than 8 events" in recording.response["error"]["message"]


def test_a_whole_answer_of_too_many_events_fails_too() -> None:
    recording = Recording(max_events=8)
    recording.recorder.answer({"output": [ITEM, ITEM, ITEM, ITEM]})
    assert len(recording.log) == 8
    assert recording.response["status"] == "failed"


def test_an_event_nested_as_deep_as_allowed_can_be_read_back_wherever_it_is_put() -> None:
    def nested(levels: int) -> Any:
        return json.loads("[" * levels + "]" * levels)

    recording = Recording().feed(OPENING[0], OPENING[1])
    annotation = {"x": nested(UPSTREAM_DEPTH - 2)}
    at = {**AT, "annotation_index": 0}
    recording.feed(
        {"type": "response.output_text.annotation.added", **at, "annotation": annotation}
    )
    assert recording.intake.malformed_events == 0
    recording.recorder.end(Trigger.FAIL)
    part = recording.response["output"][0]["content"][0]
    assert part["annotations"] == [annotation]
    assert load(recording.recorder.snapshot())["output"][0]["content"][0] == part
    assert Recording().feed({"type": "x", "y": nested(UPSTREAM_DEPTH)}).intake.malformed_events == 1


# Dialects.


def test_names_of_open_responses_become_the_official_ones() -> None:
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "content": []}
    at = {"output_index": 0, "content_index": 0, "item_id": "rs_1"}
    recording = Recording().feed(
        {"type": "response.output_item.added", "output_index": 0, "item": thought},
        {
            "type": "response.content_part.added",
            **at,
            "part": {"type": "reasoning_text", "text": ""},
        },
        {"type": "response.reasoning.delta", **at, "delta": "Hm"},
        {"type": "response.reasoning.done", **at, "text": "Hmm"},
    )
    assert recording.types[-2:] == ["reasoning_text.delta", "reasoning_text.done"]
    assert recording.response["output"][0]["content"][0]["text"] == "Hmm"


def test_events_without_indexes_and_numbers_are_completed() -> None:
    bare = [
        {key: value for key, value in event.items() if not key.endswith("_index")}
        for event in OPENING
    ]
    recording = Recording().feed(*bare, lifecycle("done"))
    assert [event.get("output_index") for event in recording.log[3:7]] == [0, 0, 0, 0]
    assert [event.get("content_index") for event in recording.log[4:7]] == [0, 0, 0]
    assert recording.response["output"][0]["content"][0]["text"] == "Hello"


# Whole answers, snapshots, resumption.


def test_a_whole_answer_is_recorded_as_a_stream_would_be() -> None:
    item = {**ITEM, "status": "completed", "content": [{**PART, "text": "Hello"}]}
    recording = Recording()
    recording.recorder.answer({"id": "resp_up", "model": "really", "output": [item]})
    assert recording.types[2:4] == ["in_progress", "output_item.added"]
    assert recording.types[-2:] == ["output_item.done", "completed"]
    assert recording.response["output"] == [item]
    assert recording.response["model"] == "really"


@settings(max_examples=60, deadline=None)
@given(valid_streams(), st.data())
def test_the_snapshot_is_the_fold_of_the_log_at_every_event(
    stream: list[dict[str, Any]], data: st.DataObject
) -> None:
    recording = Recording()
    stop = data.draw(st.integers(0, len(stream)), label="events")
    for event in stream[:stop]:
        recording.feed(event)
        if recording.recorder.can_snapshot:
            assert load(recording.recorder.snapshot()) == recording.response
    recording.recorder.end(Trigger.FAIL)
    assert load(recording.recorder.snapshot()) == recording.response


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(valid_streams(), st.data())
def test_whoever_takes_a_response_ends_it_as_its_recorder_would_have(
    stream: list[dict[str, Any]], data: st.DataObject
) -> None:
    recording = Recording().feed(*stream[: data.draw(st.integers(0, len(stream) - 1))])
    recorder = recording.recorder
    through = data.draw(st.integers(1, recorder.tail - 1), label="through")
    snapshot = dump(fold({}, recording.log[: through + 1]))
    view = view_of(recorder, through=through, snapshot=snapshot)
    other = Recorder.resume(view, now=lambda: NOW)
    for one in (recorder, other):
        one.end(Trigger.CANCEL)
    assert payload(other.take()[-1]) == payload(recorder.take()[-1])
    assert other.tail == recorder.tail


def view_of(recorder: Recorder, *, through: int, snapshot: bytes) -> RecordView:
    return RecordView(
        id="resp_rc1",
        incarnation="i",
        epoch=2,
        status=recorder.status,
        header=b"{}",
        notes=b"",
        snapshot=snapshot,
        snapshot_through=through,
        first=through + 1,
        events=recorder.pending[through + 1 :],
        tail=recorder.tail,
        closed=False,
        orphaned=False,
        log_expired=False,
    )


def test_what_is_taken_is_no_longer_pending() -> None:
    recording = Recording().feed(*OPENING)
    intake, recorder = recording.intake, recording.recorder
    assert intake.pending_bytes == sum(map(len, recorder.pending))
    assert len(recorder.take()) == 7
    assert ([*recorder.pending], intake.pending_bytes) == ([], 0)


# What the upstream sends is made well-formed before it is folded.


DELTA = OPENING[2]
BARE = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}
HELD = {
    "type": "response.output_item.added",
    "output_index": 0,
    "item": {"type": "function_call", "name": "f", "arguments": ""},  # without a call id
}


def test_text_that_was_never_announced_is_in_the_response() -> None:
    recording = Recording().feed(DELTA, DELTA)
    assert recording.types[2:] == [
        *("in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta"),
    ]
    (item,) = recording.response["output"]
    assert item["content"][0]["text"] == "HelHel"


def test_what_was_mended_is_counted_in_the_notes_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "response_cache.recorder")
    recorder = Recording().feed(DELTA, DELTA, lifecycle("completed")).recorder
    notes = load(recorder.take_notes() or b"")
    assert notes["mended"] == {"unannounced_item": 1, "unannounced_part": 1, "unfinished_item": 1}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "unannounced_item, unannounced_part" in line


def test_of_a_well_formed_stream_nothing_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "response_cache.recorder")
    done = {"type": "response.output_item.done", "output_index": 0, "item": ITEM}
    recorder = Recording().feed(*OPENING, done, lifecycle("completed", output=[ITEM])).recorder
    assert load(recorder.take_notes() or b"") == {"upstream_id": "resp_up"}
    assert caplog.records == []


def test_a_call_that_is_held_until_a_cut_is_in_the_response() -> None:
    recording = Recording().feed(HELD)
    assert recording.types[2:] == []
    recording.feed(BARE).recorder.end(Trigger.CANCEL)
    assert recording.types[-3:] == ["output_item.added", "function_call_arguments.delta", "failed"]
    assert recording.response["output"][0]["arguments"] == "{}"
    assert recording.response["output"] == recording.log[-1]["response"]["output"]


def test_calls_that_are_held_do_not_pass_the_limit_of_events() -> None:
    recording = Recording(max_events=5).feed(HELD)
    recording.feed(BARE).recorder.end(Trigger.CANCEL)
    assert len(recording.log) == 5
    assert recording.types[-1] == "failed"
    assert recording.recorder.status is Status.FAILED


def test_a_log_that_is_cut_back_ends_in_one_event_also_while_calls_are_held() -> None:
    recording = Recording().feed(
        HELD,
        BARE,
    )
    event, snapshot = recording.recorder.end_at(2, Failure("lost"))
    assert load(payload(event))["sequence_number"] == 2
    assert load(snapshot)["status"] == "failed"


@pytest.mark.parametrize(
    "data", [b'{"error": {"message": "out of memory", "code": "oom"}}', b'["out of memory"]']
)
def test_an_error_without_a_type_is_no_event_but_the_failure(data: bytes) -> None:
    recording = Recording()
    recording.intake.record(data)
    assert recording.types == ["created", "queued"]
    recording.recorder.end(Trigger.FAIL, Failure("broken off"))
    assert recording.response["error"]["message"] in ("out of memory", "broken off")


def test_text_that_is_no_json_is_the_failure() -> None:
    recording = Recording()
    recording.intake.record(b"out of memory")
    recording.recorder.end(Trigger.FAIL, Failure("broken off"))
    assert recording.response["error"] == {"code": "server_error", "message": "out of memory"}


def test_items_in_the_beginning_of_a_stream_are_announced() -> None:
    recording = Recording().feed(lifecycle("in_progress", output=[ITEM]))
    assert recording.types[2:] == ["in_progress", "output_item.added"]
    assert recording.log[2]["response"]["output"] == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"error": {"message": "out of memory", "code": "oom"}}\n',
        b'error: {"message": "out of memory", "code": "oom"}\n\n',
        b'event: error\n{"message": "out of memory", "code": "oom"}',
    ],
)
def test_an_error_on_a_line_of_its_own_is_the_failure(line: bytes) -> None:
    recording = Recording()
    recording.intake.feed(line)
    recording.intake.finish()
    recording.recorder.end(Trigger.FAIL, Failure("broken off"))
    assert recording.response["error"] == {"code": "oom", "message": "out of memory"}
