"""The vocabulary against the reference table and against the official package."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from openai.types.responses import ResponseStreamEvent

from response_cache._protocol import events
from response_cache._protocol.events import (
    ALIASES,
    DELTAS,
    DROPPED,
    EVENTS,
    LIFECYCLE,
    TERMINAL,
    UPSTREAM_TERMINAL,
    Category,
    terminal_type,
    trigger_of,
)
from response_cache._protocol.lifecycle import TERMINAL as TERMINAL_STATUSES
from response_cache._protocol.lifecycle import Status, Trigger
from tests.data import table

WEBSOCKET_ONLY = {"response.steer.accepted", "response.steer.pending", "response.steer.failed"}
"""The package has a union of its own for these; they are never on a stream over HTTP."""

DIALECTS = set(ALIASES) | UPSTREAM_TERMINAL | {"keepalive"}
"""What upstreams send besides the documented types."""


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return table("events")


def test_it_is_the_reference_and_the_known_dialects(reference: dict[str, Any]) -> None:
    foreign = {row["type"] for row in reference["not_in_package"]} - {"<slug>:<name>"}
    assert set(EVENTS) == {row["type"] for row in reference["events"]} | foreign
    assert foreign == DIALECTS


def test_the_categories_are_those_of_the_reference(reference: dict[str, Any]) -> None:
    assert {row["type"]: EVENTS[row["type"]] for row in reference["events"]} == {
        row["type"]: row["category"] for row in reference["events"]
    }


def test_the_terminal_types_are_those_of_the_reference(reference: dict[str, Any]) -> None:
    assert {row["type"] for row in reference["events"] if row["terminal"]} == TERMINAL
    foreign = {row["type"] for row in reference["not_in_package"] if row["terminal"]}
    assert foreign == UPSTREAM_TERMINAL


def test_it_knows_every_event_of_the_official_package() -> None:
    assert _types_of_the_package() - WEBSOCKET_ONLY == set(EVENTS) - DIALECTS


def test_events_of_the_websocket_are_not_in_it(reference: dict[str, Any]) -> None:
    assert set(reference["websocket_only"]) == WEBSOCKET_ONLY
    assert not WEBSOCKET_ONLY & set(EVENTS)


def test_deltas_carry_a_delta(reference: dict[str, Any]) -> None:
    with_delta = {row["type"] for row in reference["events"] if "delta" in row["fields"]}
    assert with_delta == DELTAS - set(ALIASES)


def test_lifecycle_events_carry_the_whole_response(reference: dict[str, Any]) -> None:
    with_response = {row["type"] for row in reference["events"] if "response" in row["fields"]}
    assert with_response == LIFECYCLE - UPSTREAM_TERMINAL


def test_only_signs_of_life_are_dropped() -> None:
    assert {"keepalive"} == DROPPED


def test_aliases_lead_to_official_names_of_the_same_kind() -> None:
    for alias, name in ALIASES.items():
        assert name in _types_of_the_package()
        assert EVENTS[alias] is EVENTS[name]


def test_every_category_is_used() -> None:
    assert set(EVENTS.values()) == set(Category)


def test_the_exported_names_are_those_of_the_module() -> None:
    assert all(hasattr(events, name) for name in events.__all__)


@pytest.mark.parametrize(
    ("name", "status", "trigger"),
    [
        ("response.completed", "completed", Trigger.COMPLETE),
        ("response.completed", None, Trigger.COMPLETE),
        ("response.completed", "in_progress", Trigger.COMPLETE),
        ("response.completed", "incomplete", Trigger.TRUNCATE),
        ("response.completed", "failed", Trigger.FAIL),
        ("response.completed", "cancelled", Trigger.CANCEL),
        ("response.incomplete", "incomplete", Trigger.TRUNCATE),
        ("response.incomplete", "completed", Trigger.TRUNCATE),
        ("response.failed", "failed", Trigger.FAIL),
        ("response.failed", "completed", Trigger.FAIL),
        ("response.failed", "cancelled", Trigger.CANCEL),
        ("response.failed", ["cancelled"], Trigger.FAIL),
        ("response.cancelled", "cancelled", Trigger.CANCEL),
        ("response.cancelled", None, Trigger.CANCEL),
        ("response.done", "completed", Trigger.COMPLETE),
        ("response.done", "incomplete", Trigger.TRUNCATE),
        ("response.done", "failed", Trigger.FAIL),
        ("response.done", "cancelled", Trigger.CANCEL),
        ("response.done", "unheard_of", Trigger.COMPLETE),
        ("response.done", None, Trigger.COMPLETE),
        ("error", None, Trigger.FAIL),
    ],
)
def test_the_last_event_and_the_status_in_it_say_how_it_ended(
    name: str, status: object, trigger: Trigger
) -> None:
    assert trigger_of(name, {"status": status}) is trigger


@pytest.mark.parametrize("name", sorted(TERMINAL | UPSTREAM_TERMINAL))
def test_an_end_without_a_response_is_an_end(name: str) -> None:
    assert trigger_of(name, None) is trigger_of(name, {})


@pytest.mark.parametrize("name", ["response.created", "response.output_text.delta", "acme:end"])
def test_other_events_end_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not a terminal event"):
        trigger_of(name, {"status": "completed"})


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (Status.COMPLETED, "response.completed"),
        (Status.INCOMPLETE, "response.incomplete"),
        (Status.FAILED, "response.failed"),
        (Status.CANCELLED, "response.failed"),
    ],
)
def test_every_terminal_status_has_its_last_event(status: Status, name: str) -> None:
    assert terminal_type(status) == name
    assert name in TERMINAL


@pytest.mark.parametrize("status", sorted(set(Status) - TERMINAL_STATUSES))
def test_a_pending_status_has_no_last_event(status: Status) -> None:
    with pytest.raises(ValueError, match=f"{status} is not a terminal status"):
        terminal_type(status)


def _types_of_the_package() -> set[str]:
    union, *_ = get_args(ResponseStreamEvent)
    return {
        name for kind in get_args(union) for name in get_args(kind.model_fields["type"].annotation)
    }
