"""A stream to measure with: deltas of about 190 bytes of JSON, as OpenAI sends them."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ("DELTA_HEAD", "QUEUED", "as_frame", "delta", "frames")

ITEM: Final = {
    "id": "msg_0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978",
    "type": "message",
    "role": "assistant",
    "status": "in_progress",
    "content": [],
}
PART: Final = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
QUEUED: Final[dict[str, Any]] = {
    "id": "resp_rc0000",
    "object": "response",
    "created_at": 1771881597,
    "status": "queued",
    "background": True,
    "model": "m",
    "output": [],
    "store": True,
    "metadata": {},
    "previous_response_id": None,
    "usage": None,
}


def as_frame(event: dict[str, Any]) -> bytes:
    """*event* as it is streamed."""
    data = json.dumps(event, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def delta(number: int) -> dict[str, Any]:
    """A text delta with everything that the real ones have."""
    return {
        "type": "response.output_text.delta",
        "sequence_number": number,
        "item_id": ITEM["id"],
        "output_index": 0,
        "content_index": 0,
        "delta": " word",
        "logprobs": [],
        "obfuscation": "ab3X9",
    }


DELTA_HEAD: Final[list[dict[str, Any]]] = [
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {
        "type": "response.content_part.added",
        "item_id": ITEM["id"],
        "output_index": 0,
        "content_index": 0,
        "part": PART,
    },
]


def frames(deltas: int) -> list[bytes]:
    """A whole stream of one message with that many deltas, one SSE frame for each event."""
    text = " word" * deltas
    done = {**ITEM, "status": "completed", "content": [{**PART, "text": text}]}
    upstream = {**QUEUED, "id": "resp_up", "background": False, "status": "in_progress"}
    completed = {**upstream, "status": "completed", "output": [done]}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": upstream}]
    events += DELTA_HEAD
    events += [delta(number) for number in range(3, deltas + 3)]
    events += [
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": completed},
    ]
    return [as_frame({**event, "sequence_number": n}) for n, event in enumerate(events)]
