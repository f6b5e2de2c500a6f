"""A FastAPI app that answers POST /v1/responses with a stream, and its background mode."""

import json

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from response_cache_asgi import ResponseCacheMiddleware

app = FastAPI()


@app.post("/v1/responses")
async def create(request: Request) -> StreamingResponse:
    """Say the input back, word by word."""
    words = str((await request.json())["input"]).split()
    return StreamingResponse(say(words), media_type="text/event-stream")


async def say(words: list[str]):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """The events of one message."""
    response = {"id": "resp_1", "object": "response", "model": "echo", "output": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    yield event("response.created", response=response | {"status": "in_progress"})
    yield event("response.output_item.added", output_index=0, item=item | {"content": []})
    yield event("response.content_part.added", **place, part=part)
    for word in words:
        await anyio.sleep(0.2)
        yield event("response.output_text.delta", **place, delta=f"{word} ")
    whole = part | {"text": "".join(f"{word} " for word in words)}
    done = item | {"status": "completed", "content": [whole]}
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=response | {"status": "completed", "output": [done]})


def event(kind: str, **fields: object) -> str:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


app.add_middleware(ResponseCacheMiddleware, store="memory://")
