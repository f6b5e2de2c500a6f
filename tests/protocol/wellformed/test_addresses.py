"""Indexes, ids and parts of events whose items are announced."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.addresses import is_retold
from tests.protocol.wellformed.runs import Run

COMPLETED: Final = {"type": "response.completed", "response": {}}
ADDED: Final[dict[str, Any]] = {
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
    item = {**ADDED["item"], "content": [whole]}
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


# Events that lack indexes or ids: the id tells, else the newest item and part are meant.


def message(id: str) -> dict[str, Any]:
    return {"type": "response.output_item.added", "item": {**ADDED["item"], "id": id}}


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in names}


def test_an_item_that_is_added_without_an_index_comes_last() -> None:
    run = Run().feed(message("msg_1"), message("msg_2"))
    assert [event["output_index"] for event in run.log[3:]] == [0, 1]


def test_an_item_without_an_index_is_found_by_its_id() -> None:
    parts = [without(part("added", 0, item_id=id), "output_index") for id in ("msg_1", "msg_2")]
    run = Run().feed(message("msg_1"), message("msg_2"), *parts)
    run.feed(without(delta("x"), "output_index"))
    done = {"type": "response.output_item.done", "item": {**ADDED["item"], "id": "msg_1"}}
    assert [event["output_index"] for event in run.feed(done).log[3:]] == [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("address", [{}, {"item_id": "msg_unknown"}])
def test_without_a_known_id_the_newest_item_is_meant(address: dict[str, Any]) -> None:
    bare = {"type": "response.output_text.delta", "delta": "x", **address}
    run = Run().feed(message("msg_1"), message("msg_2"), part("added", 0, item_id="msg_2"), bare)
    told = run.log[-1]
    assert (told["output_index"], told["content_index"]) == (1, 0)


def test_a_part_that_is_added_without_an_index_comes_last_and_others_mean_the_newest() -> None:
    added = without(part("added", 0), "content_index")
    run = Run().feed(ADDED, part("added", 0), delta("a"), part("done", 0, "a"), added)
    run.feed(without(delta("x"), "content_index"))
    assert [event["content_index"] for event in run.log[-2:]] == [1, 1]
    assert texts(run) == ["a", "x"]


def test_summaries_are_counted_in_their_own_list() -> None:
    thought = {"id": "rs_1", "type": "reasoning", "summary": [], "content": []}
    added = {"type": "response.output_item.added", "output_index": 0, "item": thought}
    parts = [
        {"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "part": {"text": ""}}
    ] * 2
    bare = {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "x"}
    content = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "y"}
    told = Run().feed(added, *parts, content, bare).log[-1]
    assert (told["output_index"], told["summary_index"]) == (0, 1)


@pytest.mark.parametrize("index", ["1", -1, 99, None, 1.5])
def test_an_index_that_names_no_item_means_the_newest(index: Any) -> None:
    run = checked(part("added", 0), delta("x", output_index=index, item_id=None))
    assert texts(run) == ["x"]
