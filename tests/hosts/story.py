"""What the upstreams of these tests say: a short story, or one without an end."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import anyio

__all__ = ("ENDLESS", "SAID", "told", "told_by_thread")

ENDLESS: Final = "endless"  # the input that asks for it
SAID: Final = "Once upon a time "
PAUSE: Final = 0.05  # seconds between two words of the endless one


async def told(request: dict[str, Any]) -> AsyncIterator[bytes]:
    """The events of an answer to *request*."""
    for event in _events(request):
        yield event
        if request["input"] == ENDLESS:
            await anyio.sleep(PAUSE)


def told_by_thread(request: dict[str, Any]) -> Iterator[bytes]:
    """The same, blocking."""
    for event in _events(request):
        yield event
        if request["input"] == ENDLESS:
            time.sleep(PAUSE)


def _events(request: dict[str, Any]) -> Iterator[bytes]:
    response = {"id": "resp_1", "object": "response", "model": "m", "output": []}
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    yield _event("response.created", response=response | {"status": "in_progress"})
    yield _event("response.output_item.added", output_index=0, item=item)
    yield _event("response.content_part.added", **place, part=part)
    while True:
        for word in SAID.split():
            yield _event("response.output_text.delta", **place, delta=f"{word} ")
        if request["input"] != ENDLESS:
            break
    done = item | {"content": [part | {"text": SAID}]}
    yield _event(
        "response.completed", response=response | {"status": "completed", "output": [done]}
    )


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
