"""What the store has of a response, looked at past every process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from response_cache._protocol.sse import payload
from response_cache.store import RecordView, Store
from response_cache.stores import store_from_url

Event: TypeAlias = dict[str, Any]

TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store at *url*, from this process."""
    store = store_from_url(url)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def view_of(url: str, id: str) -> RecordView:
    """The record with its whole log."""
    async with opened(url) as store:
        view = await store.read(id, after=-1)
    assert view is not None
    return view


def events_of(view: RecordView) -> list[Event]:
    """The events in *view*."""
    return [json.loads(payload(event)) for event in view.events]


def assert_is_whole(view: RecordView) -> None:
    """Closed, with dense numbers, and one end that nothing follows."""
    assert view.closed
    events = events_of(view)
    assert [event["sequence_number"] for event in events] == list(range(view.tail))
    assert [event["type"] in TERMINAL for event in events] == [False] * (view.tail - 1) + [True]
    assert events[-1]["response"]["status"] == view.status


def text_in(events: list[Event]) -> str:
    """What the deltas say."""
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
