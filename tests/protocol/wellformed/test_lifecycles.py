"""Lifecycle events in their one shape."""

from __future__ import annotations

from typing import Any

import pytest

from response_cache._protocol.responses import Failure
from response_cache._protocol.wellformed.lifecycles import (
    NOT_FINISHED,
    completes,
    is_waiting,
    nested,
    with_end,
)


def test_flat_fields_are_put_under_response() -> None:
    flat = {"type": "response.created", "sequence_number": 0, "object": "response", "id": "r"}
    assert nested(flat) == {
        "type": "response.created",
        "sequence_number": 0,
        "response": {"object": "response", "id": "r"},
    }
    assert nested({"type": "x", "output": [], "response": None})["response"] == {"output": []}


@pytest.mark.parametrize(
    "event", [{"type": "x", "response": {}}, {"type": "x"}, {"type": "x", "error": "y"}]
)
def test_other_events_are_the_same_object(event: dict[str, Any]) -> None:
    assert nested(event) is event


def test_only_created_and_queued_wait() -> None:
    queued = {"response": {"status": "queued"}}
    assert is_waiting({"type": "response.created", **queued})
    assert is_waiting({"type": "response.queued", **queued})
    assert not is_waiting({"type": "response.in_progress", **queued})
    assert not is_waiting({"type": "response.created", "response": {"status": "in_progress"}})
    assert not is_waiting({"type": "response.created"})


def test_what_completes() -> None:
    assert completes({"type": "response.completed"})
    assert completes({"type": "response.done", "response": {"status": "completed"}})
    assert not completes({"type": "response.completed", "response": {"status": "failed"}})
    assert not completes({"type": "response.incomplete"})


@pytest.mark.parametrize("step", ["completed", "incomplete", "failed", "cancelled"])
def test_an_end_that_says_all_is_the_same_object(step: str) -> None:
    error = {"code": "x", "message": "y"}
    event = {"type": f"response.{step}", "response": {"status": step, "error": error}}
    assert with_end(event, Failure("other")) is event


def test_a_failure_without_any_reason_is_the_same_object() -> None:
    event = {"type": "response.failed", "response": {"error": None}}
    assert with_end(event, None) is event


def test_a_whole_answer_that_is_not_finished_fails() -> None:
    event = with_end({"type": "response.done", "response": {"status": "queued"}}, None)
    assert event["type"] == "response.failed"
    assert event["response"]["error"]["message"] == NOT_FINISHED.message
