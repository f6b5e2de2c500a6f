"""Folding, against a plain interpreter of the reference table and against recorded streams."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from response_cache.codec import JsonObject
from response_cache.events import EVENTS, LIFECYCLE, TERMINAL
from response_cache.operations import MAX_AHEAD
from response_cache.reducer import Fold, fold
from response_cache.testing.strategies import valid_streams
from tests.shared_data import CORPUS, REFERENCE, require_shared

Stream = list[JsonObject]


# An interpreter of `ops` in events.json: plain, slow, and ignorant of how the reducer works.


@pytest.fixture(scope="module")
def reference() -> dict[str, JsonObject]:
    """The rows of the reference table, by type."""
    require_shared()
    table = json.loads((REFERENCE / "events.json").read_text(encoding="utf-8"))
    return {row["type"]: row for row in [*table["events"], *table["not_in_package"]]}


def interpret(rows: dict[str, JsonObject], snapshot: JsonObject, event: JsonObject) -> JsonObject:
    """*snapshot* after the operations that the reference gives for *event*."""
    for op in rows.get(event["type"], {"ops": []})["ops"]:
        snapshot = perform(op, snapshot, event)
    return snapshot


def perform(op: JsonObject, snapshot: JsonObject, event: JsonObject) -> JsonObject:
    value = op["value"] if "value" in op else deepcopy(read(event, op["from"]))
    if op["op"] == "replace_response":
        assert isinstance(value, dict)
        return value
    if op.get("when") == "non_empty" and not value:
        return snapshot
    container, key = locate(snapshot, op["path"], event)
    match op["op"]:
        case "append":
            entries = list(container.get(key) or [])
            assert len(entries) == event[op["index"]]
            container[key] = [*entries, value]
        case "set":
            container[key] = value
        case "set_or_append":
            container[key : key + 1] = [value]
        case "append_text":
            before = container.get(key) if isinstance(container, dict) else container[key]
            container[key] = (before or "") + (value or "")
        case "extend":
            container[key] = (container.get(key) or []) + value
        case "pad":
            while len(container[key]) <= event[op["index"]]:
                container[key].append(deepcopy(op["value"]))
        case unknown:
            pytest.fail(f"the reference has an operation that this test does not know: {unknown}")
    return snapshot


def read(event: JsonObject, path: str) -> Any:
    """The value at a path such as ``delta.stdout`` or ``output[0]``; None where there is none."""
    found: Any = event
    for word in re.findall(r"\w+", path):
        found = found[int(word)] if isinstance(found, list) else found.get(word)
    return found


def locate(snapshot: JsonObject, path: str, event: JsonObject) -> tuple[Any, Any]:
    """The container and the key or index of the last step of a path."""
    words: list[str | int] = [
        event[index] if index else name
        for name, index in re.findall(r"(\w+)(?=[\[.]|$)|\[(\w+)\]", path)
    ]
    container: Any = snapshot
    for word in words[:-1]:
        container = container[word]
    return container, words[-1]


# The reference and the reducer agree.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stream=valid_streams())
def test_it_agrees_with_the_reference_after_every_event(
    reference: dict[str, JsonObject], stream: Stream
) -> None:
    folded, expected = Fold({}), JsonObject()
    for event in stream:
        assert folded.apply(event)
        expected = interpret(reference, expected, event)
        assert folded.response() == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stream=valid_streams())
def test_it_agrees_with_the_reference_when_nobody_looks_in_between(
    reference: dict[str, JsonObject], stream: Stream
) -> None:
    expected = JsonObject()
    for event in stream[:-1]:
        expected = interpret(reference, expected, event)
    assert fold({}, stream[:-1]) == expected


@pytest.mark.parametrize("name", sorted(set(EVENTS) - {"response.cancelled", "response.done"}))
def test_the_streams_that_are_tested_have_every_event(name: str) -> None:
    once = settings(database=None, deadline=None, max_examples=5000)
    found = find(
        valid_streams(),
        lambda stream: any(event["type"] == name for event in stream),
        settings=settings(once, phases=GENERATE_ONLY),
    )
    assert found[0]["type"] == "response.created"
