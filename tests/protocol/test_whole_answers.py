"""The events of an answer that was no stream."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from response_cache._fold.reducer import fold
from response_cache._protocol.whole_answers import events_of
from response_cache.testing._strategies import valid_streams

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "Hello", "annotations": [{"type": "url_citation"}]},
        {"type": "refusal", "refusal": "No."},
    ],
}


def test_a_message_is_added_empty_and_its_texts_come_as_one_delta_each() -> None:
    events = list(events_of({"output": [MESSAGE]}))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]
    assert events[0]["item"] == {**MESSAGE, "status": "in_progress", "content": []}
    assert events[1]["part"] == {"type": "output_text", "text": "", "annotations": []}
    assert events[2]["delta"] == "Hello"
    assert events[-1]["item"] == MESSAGE


def test_arguments_and_summaries_are_streamed_too() -> None:
    call = {"id": "fc_1", "type": "function_call", "arguments": "{}", "name": "f"}
    thought = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "h"}],
    }
    types = [event["type"] for event in events_of({"output": [call, thought]})]
    assert "response.function_call_arguments.delta" in types
    assert "response.reasoning_summary_text.delta" in types


@settings(deadline=None)
@given(valid_streams())
def test_the_events_fold_to_the_answer_they_were_made_of(stream: list[dict[str, Any]]) -> None:
    response = stream[-1]["response"]
    assert fold({"output": []}, events_of(response))["output"] == response["output"]


TYPES = st.sampled_from(("message", "function_call", "reasoning", "output_text", "refusal", 1))
FIELDS = st.sampled_from(
    ("type", "id", "status", "content", "summary", "arguments", "text", "annotations")
)
SHAPES = st.recursive(
    st.none() | st.text(max_size=3) | TYPES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
)


@settings(deadline=None)
@given(SHAPES | st.lists(st.dictionaries(FIELDS, SHAPES | TYPES), max_size=3))
@example([{"type": {}, "content": [{"type": []}]}])
def test_output_of_any_shape_is_survived(output: Any) -> None:
    """Each entry that is an object is added and done, and no other entry is."""
    items = output if isinstance(output, list) else []
    numbers = [number for number, item in enumerate(items) if isinstance(item, dict)]
    events = [*events_of({"output": output})]
    for step in ("added", "done"):
        found = [event for event in events if event["type"] == f"response.output_item.{step}"]
        assert [event["output_index"] for event in found] == numbers
    assert {event["output_index"] for event in events} == set(numbers)


def test_the_answer_itself_is_not_changed() -> None:
    before = repr(MESSAGE)
    fold({"output": []}, events_of({"output": [MESSAGE]}))
    assert repr(MESSAGE) == before
