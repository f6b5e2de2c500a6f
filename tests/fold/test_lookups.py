"""Look-ups: the object that an event changes, the event's values, and None for all else."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._fold.lookups import (
    Place,
    Value,
    as_index,
    entry,
    entry_at,
    first_output,
    item,
    member,
    shell_texts,
    to,
    typed,
    whole,
)

PART = {"type": "output_text", "text": ""}
MESSAGE = {"type": "message", "content": [PART, "a part"]}
SHELL = {"type": "shell_call", "action": {"commands": []}}
RESPONSE: dict[str, Any] = {"output": [MESSAGE, SHELL, None]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("output", "content", "action", "type", "stdout", "x")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
objects = st.dictionaries(
    st.sampled_from(("output", "output_index", "content_index", "delta", "item", "type")),
    json_values,
)

PLACES: dict[str, Place] = {
    "whole": whole,
    "item": item("message", "reasoning"),
    "entry": entry(item("message"), "content", "content_index"),
    "member": member(item("shell_call"), "action"),
}
VALUES: dict[str, Value] = {
    "to": to("completed"),
    "typed str": typed("delta", str),
    "typed dict": typed("item", dict),
    "typed list": typed("output", list),
    "first_output": first_output,
    "shell_texts": shell_texts,
}


# Indexes.


@pytest.mark.parametrize("index", [0, 1, 10**9])
def test_a_number_from_zero_on_is_an_index(index: int) -> None:
    assert as_index(index) == index


@pytest.mark.parametrize("index", [-1, True, False, 0.0, 1.0, "0", None, [], {}])
def test_nothing_else_is_an_index(index: Any) -> None:
    assert as_index(index) is None
    assert entry_at(["a", "b"], index) is None


def test_an_entry_is_found_by_its_index() -> None:
    assert [entry_at(["a", "b"], index) for index in range(3)] == ["a", "b", None]


@pytest.mark.parametrize("entries", [None, "ab", {0: "a"}, ("a",), 1])
def test_what_is_no_list_has_no_entries(entries: Any) -> None:
    assert entry_at(entries, 0) is None


# Places. They are the objects themselves, because what is found is changed.


def test_the_whole_response_is_a_place() -> None:
    assert whole(RESPONSE, {"output_index": 9}) is RESPONSE


def test_an_item_is_found_by_index_and_type() -> None:
    assert item("message")(RESPONSE, {"output_index": 0}) is MESSAGE
    assert item("message", "shell_call")(RESPONSE, {"output_index": 1}) is SHELL


@pytest.mark.parametrize("event", [{"output_index": n} for n in (1, 2, 3, -3, None, True)] + [{}])
def test_an_item_that_is_of_another_type_or_not_there_is_not_found(event: Any) -> None:
    assert item("message")(RESPONSE, event) is None


def test_an_entry_of_a_list_is_found_by_an_index_of_its_own() -> None:
    find = PLACES["entry"]
    assert find(RESPONSE, {"output_index": 0, "content_index": 0}) is PART
    for output_index, content_index in ((0, 1), (0, 2), (0, None), (1, 0)):
        event = {"output_index": output_index, "content_index": content_index}
        assert find(RESPONSE, event) is None, event


def test_a_member_is_found_where_it_is_an_object() -> None:
    assert PLACES["member"](RESPONSE, {"output_index": 1}) is SHELL["action"]
    assert PLACES["member"](RESPONSE, {"output_index": 0}) is None
    assert member(item("message"), "content")(RESPONSE, {"output_index": 0}) is None


# Values.


def test_a_fixed_value_is_the_same_for_each_event() -> None:
    assert to("completed")({"status": "failed"}) == "completed"


@pytest.mark.parametrize(
    ("kind", "value"), [(str, "text"), (str, ""), (dict, {"a": [1]}), (list, [{"a": 1}, 2])]
)
def test_a_value_of_the_right_type_is_read(kind: type, value: Any) -> None:
    assert typed("x", kind)({"x": value}) == value


@pytest.mark.parametrize(("kind", "value"), [(str, 1), (str, None), (dict, []), (list, {})])
def test_a_value_of_another_type_or_none_at_all_is_not_read(kind: type, value: Any) -> None:
    assert typed("x", kind)({"x": value}) is None
    assert typed("x", kind)({}) is None


@given(json_values)
def test_a_value_shares_no_container_with_its_event(value: Any) -> None:
    event = {"item": {"inner": value}, "output": [{"inner": value}]}
    for read in (typed("item", dict), typed("output", list), first_output):
        copy = read(event)
        inner = copy[0] if isinstance(copy, list) else copy
        # As text, because NaN is not equal to itself.
        assert repr(inner) == repr({"inner": value})
        assert not containers(copy) & containers(event)


def containers(value: Any) -> set[int]:
    """The identities of all lists and objects in *value*."""
    match value:
        case dict():
            return {id(value)}.union(*map(containers, value.values()))
        case list():
            return {id(value)}.union(*map(containers, value))
    return set()


def test_a_value_may_be_nested_deeper_than_functions_may_call_each_other() -> None:
    depth = sys.getrecursionlimit() + 10
    value: Any = []
    for _ in range(depth):
        value = [value]
    copy = typed("x", list)({"x": value})
    for _ in range(depth):
        assert copy is not value
        (copy,), (value,) = copy, value
    assert copy == value == []


def test_a_finished_shell_output_is_the_first_of_its_list() -> None:
    first = {"stdout": "a", "outcome": {"type": "exit"}}
    assert first_output({"output": [first, {"stdout": "b"}]}) == first
    for output in ([], ["a"], [None], {"0": first}, None):
        assert first_output({"output": output}) is None


def test_shell_texts_are_what_the_delta_has_of_both() -> None:
    assert shell_texts({"delta": {"stdout": "a", "stderr": "b", "x": 1}}) == {
        "stdout": "a",
        "stderr": "b",
    }
    assert shell_texts({"delta": {"stdout": "", "stderr": None}}) == {"stdout": ""}
    assert shell_texts({"delta": {}}) == {}


@pytest.mark.parametrize("delta", [None, "a", ["a"], {"stdout": 1}, {"stdout": "a", "stderr": []}])
def test_shell_texts_that_are_no_texts_are_not_read(delta: Any) -> None:
    assert shell_texts({"delta": delta}) is None


# Nonsense.


@given(objects, objects)
def test_a_place_is_an_object_or_none_whatever_there_is(
    response: dict[str, Any], event: dict[str, Any]
) -> None:
    for name, find in PLACES.items():
        found = find(response, event)
        assert found is None or isinstance(found, dict), name


@given(objects)
def test_a_value_is_read_or_none_whatever_the_event_is(event: dict[str, Any]) -> None:
    before = repr(event)
    for name, read in VALUES.items():
        assert isinstance(read(event), str | dict | list | None), name
        assert repr(event) == before, name
