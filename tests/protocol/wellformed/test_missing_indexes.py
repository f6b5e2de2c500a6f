"""Events without indexes, completed to the official form."""

from __future__ import annotations

from typing import Any

import pytest

from response_cache._protocol.wellformed.missing_indexes import complete_address

TEXT = {"type": "output_text", "text": ""}
TWO_MESSAGES = [
    {"id": "msg_1", "type": "message", "content": [TEXT, TEXT]},
    {"id": "msg_2", "type": "message", "content": [TEXT]},
]


def test_an_item_that_is_added_comes_last() -> None:
    event: dict[str, Any] = {"type": "response.output_item.added", "item": {"id": "msg_3"}}
    assert complete_address(event, TWO_MESSAGES)
    assert event["output_index"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_item.done", "item": {"id": "msg_1"}},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "x"},
    ],
)
def test_an_item_is_found_by_its_id(event: dict[str, Any]) -> None:
    assert complete_address(event, TWO_MESSAGES)
    assert event["output_index"] == 0


@pytest.mark.parametrize("address", [{}, {"item_id": "msg_unknown"}])
def test_without_a_known_id_the_newest_item_is_meant(address: dict[str, Any]) -> None:
    event = {"type": "response.output_text.delta", "delta": "x", **address}
    assert complete_address(event, TWO_MESSAGES)
    assert (event["output_index"], event["content_index"]) == (1, 0)


def test_a_part_that_is_added_comes_last_and_others_mean_the_newest() -> None:
    added = {"type": "response.content_part.added", "output_index": 0, "part": TEXT}
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "x"}
    assert complete_address(added, TWO_MESSAGES)
    assert complete_address(delta, TWO_MESSAGES)
    assert (added["content_index"], delta["content_index"]) == (2, 1)


def test_summaries_are_counted_in_their_own_list() -> None:
    output = [{"id": "rs_1", "type": "reasoning", "summary": [TEXT, TEXT], "content": [TEXT]}]
    event: dict[str, Any] = {
        "type": "response.reasoning_summary_text.delta",
        "item_id": "rs_1",
        "delta": "x",
    }
    assert complete_address(event, output)
    assert (event["output_index"], event["summary_index"]) == (0, 1)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 7, "delta": ""},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": ""},
        {"type": "acme:progress", "percent": 1},
        {"type": "error", "message": "x"},
    ],
)
def test_what_has_its_indexes_or_needs_none_stays_as_it_is(event: dict[str, Any]) -> None:
    before = dict(event)
    assert not complete_address(event, TWO_MESSAGES)
    assert event == before


@pytest.mark.parametrize("output", [[], [None], ["text"], [{"content": "text"}]])
@pytest.mark.parametrize("output_index", ["1", -1, 99, None, 1.5])
def test_nonsense_is_survived(output: list[Any], output_index: Any) -> None:
    event = {"type": "response.output_text.delta", "output_index": output_index, "delta": "x"}
    assert complete_address(event, output)
    assert event["content_index"] == 0
