"""The older form of Response objects: written, and read again."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._fold.reducer import fold
from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.jsontext import JsonObject, load
from response_cache._protocol.litellm_format import from_polling, to_polling
from response_cache.testing._strategies import valid_streams

FORM = DIALECTS["litellm"]


def response(status: str, **fields: Any) -> JsonObject:
    return {"id": "r", "object": "response", "status": status, "output": [], **fields}


@pytest.mark.parametrize(
    ("official", "status", "details"),
    [
        (response("queued"), "in_progress", None),
        (response("in_progress"), "in_progress", None),
        (response("completed"), "completed", {"type": "completed", "reason": "stop"}),
        (response("cancelled"), "cancelled", {"type": "cancelled", "reason": "user_requested"}),
        (
            response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            "incomplete",
            {"type": "incomplete", "reason": "length"},
        ),
        (
            response("incomplete", incomplete_details={"reason": "content_filter"}),
            "incomplete",
            {"type": "incomplete", "reason": "content_filter"},
        ),
        (
            response("incomplete", incomplete_details=None),
            "incomplete",
            {"type": "incomplete", "reason": None},
        ),
        (
            response("failed", error={"code": "server_error", "message": "It broke."}),
            "failed",
            {
                "type": "failed",
                "error": {
                    "type": "internal_error",
                    "message": "It broke.",
                    "code": "server_error",
                },
            },
        ),
    ],
)
def test_the_details_say_how_it_ended(
    official: JsonObject, status: str, details: JsonObject | None
) -> None:
    older = to_polling(official)
    assert older["status"] == status
    assert older["status_details"] == details


def test_texts_of_messages_are_parts_of_type_text_and_nothing_else_is_changed() -> None:
    text = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    refusal = {"type": "refusal", "refusal": "No."}
    message = {"type": "message", "id": "m", "role": "assistant", "content": [text, refusal]}
    call = {"type": "function_call", "id": "f", "arguments": "{}"}
    reasoning = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm"}]}
    official = response("completed", output=[message, call, reasoning, None], usage={"x": 1})
    before = deepcopy(official)
    older = to_polling(official)
    assert older["output"] == [
        {**message, "content": [{**text, "type": "text"}, refusal]},
        call,
        reasoning,
        None,
    ]
    assert older["usage"] == {"x": 1}
    assert official == before
    assert from_polling(older) == official


@pytest.mark.parametrize("output", [None, "words", [1], [{"type": "message", "content": None}]])
def test_what_has_not_the_shape_of_output_passes(output: Any) -> None:
    official = response("completed", output=output)
    assert from_polling(to_polling(official)) == official


@given(valid_streams(), st.data())
def test_a_fold_may_go_on_from_what_was_written(
    events: list[JsonObject], data: st.DataObject
) -> None:
    begun: JsonObject = response("queued")
    cut = data.draw(st.integers(0, len(events)))
    whole = FORM.dump(fold(deepcopy(begun), deepcopy(events)))
    written = FORM.dump(fold(deepcopy(begun), deepcopy(events[:cut])))
    assert load(FORM.dump(fold(FORM.load(written), deepcopy(events[cut:])))) == load(whole)
