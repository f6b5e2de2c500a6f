"""Items and parts in the shape that readers rely on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from response_cache._protocol.wellformed.families import KINDS
from response_cache._protocol.wellformed.shapes import (
    as_begun,
    empty_part,
    shaped_item,
    shaped_part,
    skeleton,
)
from tests.protocol.wellformed.clients import read


@pytest.mark.parametrize(
    ("item", "shaped"),
    [
        ({"type": "message", "content": None}, {"content": []}),
        ({"type": "message"}, {"content": []}),
        ({"type": "reasoning", "summary": None}, {"summary": []}),
        ({"type": "function_call", "arguments": None}, {"arguments": ""}),
        ({"type": "function_call", "arguments": {"a": 1}}, {"arguments": '{"a":1}'}),
        ({"type": "custom_tool_call"}, {"input": ""}),
        ({"role": "assistant"}, {"type": "message", "content": []}),
        ({"call_id": "c", "arguments": ""}, {"type": "function_call"}),
        ({"type": None, "summary": []}, {"type": "reasoning"}),
    ],
)
def test_an_item_gets_what_its_type_has(item: dict[str, Any], shaped: dict[str, Any]) -> None:
    assert shaped_item(item) == item | shaped


def test_text_in_place_of_parts_is_a_part() -> None:
    (part,) = shaped_item({"type": "message", "content": "Hi"})["content"]
    assert (part["type"], part["text"]) == ("output_text", "Hi")


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "content": [None]},
        {"type": "reasoning", "summary": [], "content": None},
        {"type": "code_interpreter_call", "code": None},
        {"type": "acme:thing"},
    ],
)
def test_an_item_in_its_shape_is_the_same_object(item: dict[str, Any]) -> None:
    assert shaped_item(item) is item


def test_a_part_in_its_shape_is_the_same_object() -> None:
    for part in ({"type": "output_text", "text": ""}, {"type": "acme:part"}):
        assert shaped_part(part) is part


def test_a_part_is_of_the_type_that_is_asked_for() -> None:
    assert shaped_part({"type": "text", "text": "a"}) == {"type": "output_text", "text": "a"}
    thought = shaped_part({"type": "text", "text": "a"}, "reasoning_text")
    assert thought == {"type": "reasoning_text", "text": "a"}


@pytest.mark.parametrize("type", sorted(KINDS))
def test_a_skeleton_is_its_own_and_is_read_by_the_client(type: str) -> None:
    made = skeleton(type, "i_1")
    assert (made["type"], made["id"]) == (type, "i_1")
    before = copy.deepcopy(made)
    for value in made.values():
        if isinstance(value, (dict, list)):
            value.clear()
    assert skeleton(type, "i_1") == before
    assert read({"output": [skeleton(type, "i_1")]}) == ""


def test_an_empty_part_has_its_text() -> None:
    assert empty_part("refusal") == {"type": "refusal", "refusal": ""}
    assert empty_part("output_text")["annotations"] == []


def test_an_item_as_it_begun_says_nothing_yet() -> None:
    whole = {"type": "message", "id": "m", "status": "completed", "content": [{}], "phase": "x"}
    assert as_begun(whole) == {**whole, "status": "in_progress", "content": []}
    call = {"type": "function_call", "arguments": "{}", "name": "f"}
    assert as_begun(call) == {**call, "arguments": ""}
