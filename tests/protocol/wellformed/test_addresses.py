"""Indexes, ids and parts of events whose items are announced."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.addresses import is_retold
from tests.protocol.wellformed.runs import Run

COMPLETED: Final = {"type": "response.completed", "response": {}}
ADDED: Final = {
    "type": "response.output_item.added",
    "output_index": 0,
    "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []},
}
AT: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def part(step: str, index: Any, text: str = "", **at: Any) -> dict[str, Any]:
    type = f"response.content_part.{step}"
    whole = {"type": "output_text", "text": text, "annotations": []}
    return {"type": type, **AT, "content_index": index, "part": whole, **at}


def delta(text: Any, **at: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", **AT, "delta": text, **at}


def settled(text: Any, **at: Any) -> dict[str, Any]:
    return {"type": "response.output_text.done", **AT, "text": text, **at}


def texts(run: Run) -> list[str]:
    """The texts of the parts of the only item."""
    return [part["text"] for part in run.output[0]["content"]]


def checked(*events: Any) -> Run:
    run = Run().feed(ADDED, *events)
    told = texts(run)
    assert run.feed(COMPLETED).findings == []
    assert texts(run) == told
    return run


@pytest.mark.parametrize("index", [None, "0", -1, 5, True, 0.0])
def test_an_index_that_names_no_part_means_the_newest(index: Any) -> None:
    run = checked(part("added", 0), delta("a"), delta("b", content_index=index))
    assert texts(run) == ["ab"]


def test_an_index_that_counts_the_deltas_means_one_part() -> None:
    run = checked(*(delta(str(n), content_index=n) for n in range(4)), settled("0123"))
    assert texts(run) == ["0123"]


def test_part_indexes_become_dense() -> None:
    events = [part("added", 2), delta("a", content_index=4), part("done", 2, "a")]
    more = [part("added", 7), delta("b", content_index=7)]
    assert texts(checked(*events, *more)) == ["a", "b"]


def test_an_index_that_was_moved_is_known_from_then_on() -> None:
    events = [part("added", 1), delta("a", content_index=1), settled("a", content_index=1)]
    assert texts(checked(*events, part("done", 1, "a"))) == ["a"]


def test_two_parts_under_one_index_are_two() -> None:
    first = [part("added", 0), delta("a"), part("done", 0, "a")]
    assert texts(checked(*first, part("added", 0), delta("b"))) == ["a", "b"]


def test_parts_of_two_types_under_one_index_are_two() -> None:
    refusal = {"type": "response.refusal.delta", **AT, "delta": "no"}
    run = Run().feed(ADDED, delta("a"), refusal)
    assert [part["type"] for part in run.output[0]["content"]] == ["output_text", "refusal"]
    assert run.feed(COMPLETED).findings == []


def test_a_part_that_follows_a_settled_one_is_new() -> None:
    events = [delta("a"), settled("a"), delta("b", content_index=1)]
    assert texts(checked(*events)) == ["a", "b"]


def test_a_whole_text_that_is_not_the_newest_parts_is_another_part() -> None:
    assert texts(checked(delta("a"), settled("b", content_index=1))) == ["a", "b"]


def test_a_whole_text_of_which_deltas_were_lost_is_the_newest_parts() -> None:
    assert texts(checked(delta("a"), delta("c"), settled("abc", content_index=9))) == ["abc"]


def test_an_announced_part_is_not_announced_again() -> None:
    run = checked(part("added", 0), part("added", 0), delta("a"), part("added", 0))
    assert run.types.count("content_part.added") == 1
    assert run.mended["announced_twice"] == 2


def test_text_in_a_late_announcement_is_not_lost() -> None:
    note = {"type": "response.output_text.annotation.added", **AT, "annotation": {"type": "x"}}
    run = checked(note, part("added", 0, "Hi"))
    assert texts(run) == ["Hi"]


def test_a_part_that_came_with_its_item_is_announced() -> None:
    whole = {"type": "output_text", "text": "", "annotations": []}
    item = {**ADDED["item"], "content": [whole]}  # type: ignore[dict-item]
    run = Run().feed({**ADDED, "item": item}, delta("a"), part("added", 0), delta("b"))
    assert texts(run) == ["ab"]
    assert run.feed(COMPLETED).findings == []


# What events bring.


@pytest.mark.parametrize(
    ("given", "text"),
    [(None, ""), ({"text": "a"}, "a"), ({"a": 1}, '{"a":1}'), (7, "7"), (["a"], '["a"]')],
)
def test_a_delta_that_is_no_text_becomes_one(given: Any, text: str) -> None:
    run = Run().feed(ADDED, part("added", 0), delta(given))
    assert texts(run) == [text]
    assert run.feed(COMPLETED).findings == []


def test_a_whole_text_that_is_missing_is_what_the_deltas_said() -> None:
    run = Run().feed(ADDED, delta("a"), settled(None), COMPLETED)
    assert run.log[6]["text"] == "a"
    assert texts(run) == ["a"]


@pytest.mark.parametrize("told", [{}, None, {"type": "text", "text": None}, {"text": {"text": ""}}])
def test_a_part_without_type_or_text_gets_both(told: Any) -> None:
    run = Run().feed(ADDED, {**part("added", 0), "part": told}, delta("a"), COMPLETED)
    assert run.output[0]["content"][0]["type"] == "output_text"
    assert texts(run) == ["a"]
    assert run.findings == []


def test_annotations_are_numbered_where_they_are_not() -> None:
    note = {"type": "response.output_text.annotation.added", **AT, "annotation": {"type": "x"}}
    run = Run().feed(ADDED, part("added", 0), note, {**note, "annotation_index": 5}, COMPLETED)
    assert run.output[0]["content"][0]["annotations"] == [{"type": "x"}, {"type": "x"}]


def test_an_event_that_lacks_nothing_is_the_same_object() -> None:
    run = Run().feed(ADDED, part("added", 0))
    event = delta("a", sequence_number=4, obfuscation="xyz")
    (fed,) = run.normalizer.feed(event)
    assert fed is event


@pytest.mark.parametrize(
    ("told", "whole", "is_so"),
    [("", "a", True), ("ac", "abc", True), ("aab", "ab", True), ("a", "b", False)],
)
def test_a_text_is_told_again_with_letters_lost_or_doubled(
    told: str, whole: str, *, is_so: bool
) -> None:
    assert is_retold(told, whole) is is_so
