"""Items are announced before they are used, once, and are done once."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.families import FAMILIES, is_minted
from tests.protocol.wellformed.runs import Run, played

COMPLETED: Final = {"type": "response.completed", "response": {"status": "completed"}}
AT: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def added(index: Any, **item: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "response.output_item.added", "output_index": index}
    return event | {"item": {"type": "message", "role": "assistant", "content": []} | item}


def done(index: Any, **item: Any) -> dict[str, Any]:
    return {**added(index, status="completed", **item), "type": "response.output_item.done"}


def delta(text: str, **at: Any) -> dict[str, Any]:
    return {"type": "response.output_text.delta", **AT, **at, "delta": text}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def texts(run: Run) -> list[str]:
    """The text of each message, in its order."""
    return ["".join(part["text"] for part in item["content"]) for item in run.output]


GROWING: Final = sorted(type for type in FAMILIES if type.endswith(".delta"))
CALLS: Final = ("function_call", "custom_tool_call", "shell_call", "apply_patch_call")


@pytest.mark.parametrize("type", [t for t in GROWING if not t.split(".")[1].startswith(CALLS)])
def test_a_delta_makes_the_item_and_the_part_that_it_names(type: str) -> None:
    address = {"item_id": "i_1", "output_index": 0, FAMILIES[type].index or "x": 0}
    run = Run().feed({"type": type, **address, "delta": "Paris"})
    assert "Paris" in run.text
    assert run.output[0]["type"] == FAMILIES[type].items[0]
    assert run.end().findings == []
    assert run.mended["unannounced_item"] == 1


@pytest.mark.parametrize("type", sorted(FAMILIES))
def test_no_event_is_recorded_before_its_item(type: str) -> None:
    run = played([{"type": type, "item_id": "i_1"}, COMPLETED])
    assert run.faults == []


def test_a_later_announcement_by_the_upstream_does_not_announce_it_twice() -> None:
    run = played([delta("Hi"), added(0, id="msg_1"), COMPLETED])
    assert run.types.count("output_item.added") == 1
    assert (run.mended["announced_twice"], texts(run)) == (1, ["Hi"])


def test_the_upstreams_id_of_an_item_that_we_announced_without_one_is_known_from_then_on() -> None:
    run = played(
        [
            delta("a", item_id=None),
            added(0, id="msg_1"),
            delta("b", output_index=None),
            done(0, id="msg_1", content=[text_part("ab")]),
            COMPLETED,
        ]
    )
    assert texts(run) == ["ab"]
    assert run.findings == []
    assert is_minted(run.output[0]["id"])


def test_an_item_that_is_done_without_having_been_announced_is_announced_empty() -> None:
    run = played([done(0, id="msg_1", content=[text_part("Hi")]), COMPLETED])
    assert run.types == ["output_item.added", "output_item.done"]
    assert run.log[3]["item"]["content"] == []
    assert texts(run) == ["Hi"]


def test_an_item_without_an_id_gets_one_that_its_events_and_its_end_carry() -> None:
    terminal = {**COMPLETED, "response": {"output": [done(0, content=[text_part("Hi")])["item"]]}}
    run = played([added(0), delta("Hi", item_id=None), done(0, content=[]), terminal])
    (id,) = {e.get("item_id") or e["item"]["id"] for e in run.log[3:-1]}
    assert is_minted(id)
    assert run.output[0]["id"] == id
    assert run.findings == []


@pytest.mark.parametrize("id", ["", None, 7])
def test_an_id_that_is_no_text_is_none(id: Any) -> None:
    run = played([added(0, id=id), delta("Hi", item_id=id), COMPLETED])
    assert run.findings == []


def test_an_id_that_the_upstream_announced_is_not_changed() -> None:
    run = played([added(0, id="msg_1"), delta("Hi", item_id="other"), done(0, id="third")])
    assert [finding.rule for finding in run.findings] == [5, 7]
    assert run.faults == []


@pytest.mark.parametrize("index", [None, "0", -1, 10**9, True, [], 1.0])
def test_an_index_that_is_none_gives_way_to_the_next_that_is_free(index: Any) -> None:
    run = played([added(index, id="msg_1"), done(index, id="msg_1"), COMPLETED])
    assert run.findings == []
    assert run.log[3]["output_index"] == 0


def test_item_indexes_may_have_gaps() -> None:
    events = [added(3, id="msg_1"), done(3, id="msg_1")]
    run = played([*events, COMPLETED])
    assert [event["output_index"] for event in run.log[3:5]] == [3, 3]


def test_two_items_under_one_index_are_two() -> None:
    run = played(
        [
            added(0, id="msg_1"),
            delta("a"),
            done(0, id="msg_1", content=[text_part("a")]),
            added(0, id="msg_2"),
            delta("b", item_id="msg_2"),
            done(0, id="msg_2", content=[text_part("b")]),
            COMPLETED,
        ]
    )
    assert texts(run) == ["a", "b"]
    assert run.findings == []


def test_rounds_that_begin_at_nought_again_without_ids_are_items_of_their_own() -> None:
    events = [delta("a", item_id=None), done(0, content=[text_part("a")])]
    more = [delta("b", item_id=None), done(0, content=[text_part("b")])]
    run = played([*events, *more, COMPLETED])
    assert texts(run) == ["a", "b"]
    assert run.findings == []


# Which item an event means.


def open_messages() -> list[dict[str, Any]]:
    return [added(0, id="msg_1"), added(1, id="msg_2")]


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ({"item_id": "msg_1", "output_index": 1}, 0),  # known id and index differ: the id
        ({"item_id": "msg_1", "output_index": None}, 0),
        ({"item_id": "other", "output_index": 0}, 0),  # an index that fits, an unknown id
        ({"item_id": None, "output_index": 0}, 0),
        ({"item_id": "other", "output_index": 9}, 1),  # neither: the newest
        ({"item_id": None, "output_index": "1"}, 1),
    ],
)
def test_an_event_means_the_item_of_its_id_then_of_its_index_then_the_newest(
    address: dict[str, Any], meant: int
) -> None:
    run = Run().feed(*open_messages(), delta("Hi", **address))
    assert texts(run)[meant] == "Hi"
    assert run.end().faults == []


def test_an_event_of_another_type_means_the_newest_item_that_fits() -> None:
    reasoning: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    thought = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 0}
    run = Run().feed(added(0, **reasoning), delta("Hi", item_id="rs_1"), {**thought, "delta": "hm"})
    assert [item["type"] for item in run.output] == ["reasoning", "message"]
    assert run.end().findings == []


def test_a_new_id_under_the_next_index_is_a_new_item() -> None:
    run = Run().feed(delta("a"), delta("b", item_id="msg_2", output_index=1))
    assert texts(run) == ["a", "b"]


# What comes late.


def test_an_item_is_done_once() -> None:
    event = done(0, id="msg_1", content=[text_part("Hi")])
    run = played([added(0, id="msg_1"), event, event, COMPLETED])
    assert run.types == ["output_item.added", "output_item.done"]
    assert run.mended == {"announced_twice": 1}


def test_an_event_that_comes_after_its_item_was_done_is_left_out() -> None:
    whole = done(0, id="msg_1", content=[text_part("Hi")])
    late = {"type": "response.output_text.done", **AT, "text": "Hi"}
    run = played([added(0, id="msg_1"), whole, late, delta("Hi"), COMPLETED])
    assert run.types == ["output_item.added", "output_item.done"]
    assert run.mended == {"late_event": 2}


def test_text_that_comes_after_its_item_was_done_is_kept_in_another() -> None:
    whole = done(0, id="msg_1", content=[text_part("Hi")])
    run = played([added(0, id="msg_1"), whole, delta(" there"), delta(" you"), COMPLETED])
    assert texts(run) == ["Hi", " there you"]
    assert run.findings == []


@pytest.mark.parametrize("item", [None, "text", []])
def test_an_announcement_without_an_item_is_left_out(item: Any) -> None:
    events = [{"type": f"response.output_item.{step}", "item": item} for step in ("added", "done")]
    run = played(events)
    assert (run.types, run.mended) == ([], {"empty_event": 2})
