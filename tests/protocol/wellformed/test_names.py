"""Older and foreign names of events."""

from __future__ import annotations

from typing import Any

import pytest

from response_cache._protocol.events import ALIASES, EVENTS
from response_cache._protocol.wellformed.names import NAMES, renamed, text_in


def test_every_old_name_leads_to_a_name_of_today() -> None:
    assert set(NAMES.values()) <= set(EVENTS)
    assert not (set(NAMES) - set(ALIASES)) & set(EVENTS)


def test_the_event_is_a_new_object_with_the_same_fields() -> None:
    event = {"type": "response.mcp_call.arguments.delta", "delta": "x", "more": 1}
    today = renamed(event["type"], event)  # type: ignore[arg-type]
    assert today == {**event, "type": "response.mcp_call_arguments.delta"}
    assert event["type"] == "response.mcp_call.arguments.delta"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (None, None), ({"text": "a"}, "a"), ({"a": 1}, '{"a":1}'), ([], "[]"), (1, "1")],
)
def test_text_is_read_in_any_form(value: Any, text: str | None) -> None:
    assert text_in(value) == text
