"""The six operations: what each decides, and that nothing changes before its change is made."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from response_cache._fold.lookups import entry, item, shell_texts, to, typed, whole
from response_cache._fold.operations import (
    GAP,
    MAX_AHEAD,
    Change,
    Draft,
    Field,
    Step,
    assign,
    collect,
    extend,
    insert,
    pad,
    replace,
)

MESSAGE = item("message")
PART = entry(MESSAGE, "content", "content_index")


def gap() -> object:
    return GAP


def blank() -> dict[str, Any]:
    return {"stdout": "", "stderr": ""}


# fmt: off
RESPONSE   = Step(whole, Field(""), typed("response", dict))
ITEMS      = Step(whole, Field("output", "output_index", filler=gap), typed("item", dict))
PARTS      = Step(MESSAGE, Field("content", "content_index"), typed("part", dict))
TEXT       = Step(PART, Field("text"), typed("delta", str))
WHOLE_TEXT = Step(PART, Field("text"), typed("text", str))
STATUS     = Step(MESSAGE, Field("status"), to("completed"))
LOGPROBS   = Step(PART, Field("logprobs"), typed("logprobs", list))
COMMANDS   = Step(MESSAGE, Field("commands", "command_index"), typed("delta", str))
OUTPUTS    = Step(MESSAGE, Field("outputs", "command_index", filler=blank), shell_texts)
# fmt: on

FIRST = {"output_index": 0, "content_index": 0}


def draft(**of_part: Any) -> Draft:
    """A response with one message of one part."""
    part = {"type": "output_text", "text": "Hel", **of_part}
    return Draft({"id": "resp_1", "output": [{"type": "message", "content": [part]}]})


def part_of(draft: Draft) -> Any:
    draft.join()
    return draft.response["output"][0]["content"][0]


def made(change: Change | None) -> list[str] | None:
    assert change is not None
    return change()


# fmt: off
DECISIONS = [
    (replace, RESPONSE,   {"response": {"id": "resp_2"}}),
    (insert,  ITEMS,      {"output_index": 1, "item": {"type": "message"}}),
    (insert,  ITEMS,      {"output_index": 5, "item": {"type": "message"}}),
    (insert,  PARTS,      {**FIRST, "part": {"type": "refusal"}}),
    (assign,  PARTS,      {**FIRST, "part": {"type": "refusal"}}),
    (assign,  WHOLE_TEXT, {**FIRST, "text": "Hello"}),
    (assign,  STATUS,     FIRST),
    (extend,  TEXT,       {**FIRST, "delta": "lo"}),
    (collect, LOGPROBS,   {**FIRST, "logprobs": [{}]}),
    (pad,     OUTPUTS,    {**FIRST, "command_index": 2, "delta": {"stdout": "a"}}),
]
# fmt: on


@pytest.mark.parametrize(("operation", "step", "event"), DECISIONS)
def test_a_decision_changes_nothing_and_its_change_does(
    operation: Any, step: Step, event: dict[str, Any]
) -> None:
    subject, asked = draft(), deepcopy(event)
    before = deepcopy(subject.response)
    change = operation(subject, step, event)
    subject.join()
    assert subject.response == before
    made(change)
    subject.join()
    assert subject.response != before
    assert event == asked


# fmt: off
UNFIT = [
    (replace, RESPONSE,   {"response": None}),
    (insert,  ITEMS,      {"output_index": 0, "item": "message"}),      # no object
    (insert,  ITEMS,      {"output_index": None, "item": {}}),
    (insert,  ITEMS,      {"output_index": -1, "item": {}}),
    (insert,  PARTS,      {"output_index": 1, "content_index": 0, "part": {}}),  # no such item
    (insert,  PARTS,      {"output_index": 0, "content_index": 2, "part": {}}),  # beyond the end
    (assign,  PARTS,      {"output_index": 0, "content_index": 1, "part": {}}),  # nothing is there
    (assign,  WHOLE_TEXT, {"output_index": 0, "content_index": 1, "text": "a"}),
    (assign,  WHOLE_TEXT, {**FIRST, "text": None}),
    (extend,  TEXT,       {"output_index": 0, "content_index": 1, "delta": "a"}),
    (extend,  TEXT,       {**FIRST, "delta": ["a"]}),
    (extend,  COMMANDS,   {**FIRST, "command_index": 0, "delta": "a"}),  # no list
    (collect, LOGPROBS,   {"output_index": 1, "content_index": 0, "logprobs": [{}]}),
    (collect, LOGPROBS,   {**FIRST, "logprobs": {}}),
    (pad,     OUTPUTS,    {"output_index": 1, "command_index": 0, "delta": {"stdout": "a"}}),
    (pad,     OUTPUTS,    {**FIRST, "command_index": 0, "delta": "a"}),
    (pad,     OUTPUTS,    {**FIRST, "command_index": None, "delta": {"stdout": "a"}}),
]
# fmt: on


@pytest.mark.parametrize(("operation", "step", "event"), UNFIT)
def test_an_event_that_does_not_fit_is_no_change(
    operation: Any, step: Step, event: dict[str, Any]
) -> None:
    assert operation(draft(), step, event) is None


# replace


def test_the_response_is_replaced() -> None:
    subject = draft()
    assert made(replace(subject, RESPONSE, {"response": {"id": "b", "output": []}})) is None
    assert subject.response == {"id": "b", "output": []}


def test_items_stay_where_the_new_response_has_none() -> None:
    subject = draft()
    subject.grow(subject.response["output"][0]["content"][0], "text", "lo")
    made(replace(subject, RESPONSE, {"response": {"id": "b", "output": None}}))
    assert part_of(subject)["text"] == "Hello"
    assert subject.response["id"] == "b"


def test_a_text_that_grew_in_replaced_items_grows_no_more() -> None:
    subject = draft()
    pieces = made(extend(subject, TEXT, {**FIRST, "delta": "lo"}))
    again = {"type": "message", "content": [{"type": "output_text", "text": "New"}]}
    made(replace(subject, RESPONSE, {"response": {"output": [again]}}))
    assert part_of(subject)["text"] == "New"
    assert made(extend(subject, TEXT, {**FIRST, "delta": "!"})) is not pieces
    assert part_of(subject)["text"] == "New!"


# insert


def test_an_entry_goes_to_the_end_or_over_another_one() -> None:
    subject = draft()
    made(insert(subject, PARTS, {"output_index": 0, "content_index": 1, "part": {"n": 1}}))
    made(insert(subject, PARTS, {"output_index": 0, "content_index": 0, "part": {"n": 0}}))
    assert subject.response["output"][0]["content"] == [{"n": 0}, {"n": 1}]


@pytest.mark.parametrize("missing", [{}, {"output": None}])
def test_a_missing_list_is_made(missing: dict[str, Any]) -> None:
    subject = Draft(missing)
    made(insert(subject, ITEMS, {"output_index": 0, "item": {"n": 0}}))
    assert subject.response == {"output": [{"n": 0}]}


def test_an_entry_beyond_the_end_leaves_gaps_that_later_entries_fill() -> None:
    subject = Draft({})
    made(insert(subject, ITEMS, {"output_index": 2, "item": {"n": 2}}))
    assert subject.output == [GAP, GAP, {"n": 2}]
    made(insert(subject, ITEMS, {"output_index": 1, "item": {"n": 1}}))
    assert subject.output == [GAP, {"n": 1}, {"n": 2}]


def test_an_index_may_be_so_far_beyond_the_end_and_no_further() -> None:
    far = {"output_index": 1 + MAX_AHEAD, "item": {}}
    further = {"output_index": 2 + MAX_AHEAD, "item": {}}
    assert insert(draft(), ITEMS, further) is None
    subject = draft()
    made(insert(subject, ITEMS, far))
    assert len(subject.output) == 2 + MAX_AHEAD


def test_nothing_is_inserted_into_what_is_no_list() -> None:
    assert insert(Draft({"output": {}}), ITEMS, {"output_index": 0, "item": {}}) is None


# assign


def test_a_text_that_is_set_forgets_what_grew_there() -> None:
    subject = draft()
    made(extend(subject, TEXT, {**FIRST, "delta": "lp"}))
    assert made(assign(subject, WHOLE_TEXT, {**FIRST, "text": "Hello"})) is None
    assert part_of(subject)["text"] == "Hello"
    made(extend(subject, TEXT, {**FIRST, "delta": "!"}))
    assert part_of(subject)["text"] == "Hello!"


def test_a_member_that_is_missing_is_set() -> None:
    subject = draft()
    made(assign(subject, STATUS, FIRST))
    assert subject.response["output"][0]["status"] == "completed"


# extend


def test_a_text_grows_by_pieces_and_is_whole_when_somebody_looks() -> None:
    subject = draft()
    first = made(extend(subject, TEXT, {**FIRST, "delta": "l"}))
    second = made(extend(subject, TEXT, {**FIRST, "delta": "o"}))
    assert first is second
    assert first == ["Hel", "l", "o"]
    assert subject.response["output"][0]["content"][0]["text"] == "Hel"
    assert part_of(subject)["text"] == "Hello"


def test_a_text_grows_on_after_somebody_looked() -> None:
    subject = draft()
    pieces = made(extend(subject, TEXT, {**FIRST, "delta": "lo"}))
    assert part_of(subject)["text"] == "Hello"
    assert made(extend(subject, TEXT, {**FIRST, "delta": "!"})) is pieces
    assert part_of(subject)["text"] == "Hello!"


@pytest.mark.parametrize("start", [{"text": None}, {}])
def test_a_text_that_is_missing_or_null_grows_from_nothing(start: dict[str, Any]) -> None:
    subject = Draft({"output": [{"type": "message", "content": [start]}]})
    made(extend(subject, TEXT, {**FIRST, "delta": "a"}))
    assert part_of(subject)["text"] == "a"


@pytest.mark.parametrize("present", [1, [], {}, False])
def test_what_is_no_text_does_not_grow(present: Any) -> None:
    assert extend(draft(text=present), TEXT, {**FIRST, "delta": "a"}) is None


def test_texts_of_different_objects_grow_apart() -> None:
    parts = [{"text": "a"}, {"text": "a"}]
    subject = Draft({"output": [{"type": "message", "content": parts}]})
    for index, delta in enumerate("bc"):
        event = {"output_index": 0, "content_index": index, "delta": delta}
        made(extend(subject, TEXT, event))
    subject.join()
    assert parts == [{"text": "ab"}, {"text": "ac"}]


def test_an_entry_of_a_list_grows_like_a_member() -> None:
    subject = Draft({"output": [{"type": "message", "commands": ["ls", "pw"]}]})
    made(extend(subject, COMMANDS, {"output_index": 0, "command_index": 1, "delta": "d"}))
    subject.join()
    assert subject.response["output"][0]["commands"] == ["ls", "pwd"]


# collect


@pytest.mark.parametrize("present", [{}, {"logprobs": None}])
def test_entries_make_a_list_that_is_missing(present: dict[str, Any]) -> None:
    subject = draft(**present)
    made(collect(subject, LOGPROBS, {**FIRST, "logprobs": [{"n": 0}]}))
    assert part_of(subject)["logprobs"] == [{"n": 0}]


def test_entries_go_to_the_end_of_a_list() -> None:
    subject = draft(logprobs=[{"n": 0}])
    made(collect(subject, LOGPROBS, {**FIRST, "logprobs": [{"n": 1}, {"n": 2}]}))
    assert [entry["n"] for entry in part_of(subject)["logprobs"]] == [0, 1, 2]


def test_nothing_is_collected_in_what_is_no_list() -> None:
    assert collect(draft(logprobs="a"), LOGPROBS, {**FIRST, "logprobs": [{}]}) is None


# pad


def padding(index: int, **deltas: Any) -> dict[str, Any]:
    return {"output_index": 0, "command_index": index, "delta": deltas}


def test_a_list_is_filled_up_to_the_entry_whose_texts_grow() -> None:
    subject = draft()
    made(pad(subject, OUTPUTS, padding(1, stdout="a")))
    made(pad(subject, OUTPUTS, padding(1, stdout="b", stderr="c")))
    subject.join()
    assert subject.response["output"][0]["outputs"] == [blank(), {"stdout": "ab", "stderr": "c"}]


def test_fillings_are_objects_of_their_own() -> None:
    subject = draft()
    made(pad(subject, OUTPUTS, padding(1)))
    first, second = subject.response["output"][0]["outputs"]
    assert first is not second


def test_an_entry_so_far_beyond_the_end_is_reached_and_no_further() -> None:
    assert pad(draft(), OUTPUTS, padding(MAX_AHEAD + 1)) is None
    subject = draft()
    made(pad(subject, OUTPUTS, padding(MAX_AHEAD)))
    assert len(subject.response["output"][0]["outputs"]) == MAX_AHEAD + 1


@pytest.mark.parametrize("present", ["a", {"stdout": 1}, []])
def test_texts_of_what_has_none_do_not_grow(present: Any) -> None:
    subject = Draft({"output": [{"type": "message", "outputs": [present]}]})
    assert pad(subject, OUTPUTS, padding(0, stdout="a")) is None


# The draft.


def test_what_is_no_list_has_no_items() -> None:
    for response in ({}, {"output": None}, {"output": "ab"}):
        assert Draft(response).output == ()


def test_an_object_that_was_replaced_lends_its_identity_to_no_other() -> None:
    """Texts are found by the identity of their object, which a freed object would pass on."""
    subject = draft()
    for n in range(200):
        made(extend(subject, TEXT, {**FIRST, "delta": "lo"}))
        part = {"type": "output_text", "text": f"{n}:"}
        made(assign(subject, PARTS, {**FIRST, "part": part}))
        made(extend(subject, TEXT, {**FIRST, "delta": "a"}))
        assert part_of(subject)["text"] == f"{n}:a"
