"""An app of one function, which answers a create with a stream, and its background mode."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator

from aiohttp import web
from aiohttp_background import Background

from response_cache import Options, http

EVENT_STREAM = ((b"content-type", b"text/event-stream"),)


async def say(request: web.Request, body: bytes) -> http.Stream:
    """Say the input back, word by word."""
    return http.Stream(200, EVENT_STREAM, events(str(json.loads(body)["input"]).split()))


async def events(words: list[str]) -> AsyncGenerator[bytes]:
    """The events of one message."""
    response = {"id": "resp_1", "object": "response", "model": "echo", "output": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    yield event("response.created", response=response | {"status": "in_progress"})
    yield event("response.output_item.added", output_index=0, item=item | {"content": []})
    yield event("response.content_part.added", **place, part=part)
    for word in words:
        await asyncio.sleep(0.2)
        yield event("response.output_text.delta", **place, delta=f"{word} ")
    whole = part | {"text": "".join(f"{word} " for word in words)}
    done = item | {"status": "completed", "content": [whole]}
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=response | {"status": "completed", "output": [done]})


def event(kind: str, **fields: object) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


options = Options(ttl=600)
app = web.Application(client_max_size=options.max_request_bytes)
Background(say, "memory://", options).set_up(app)
if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
