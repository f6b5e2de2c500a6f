"""A Flask app that answers POST /v1/responses with a stream, and its background mode."""

import json
import os
import time
from collections.abc import Iterator

from flask import Flask, Response, request

from response_cache_wsgi import ResponseCacheMiddleware

app = Flask(__name__)


@app.post("/v1/responses")
def create() -> Response:
    """Say the input back, word by word."""
    words = str(request.get_json()["input"]).split()
    return Response(say(words), mimetype="text/event-stream")


def say(words: list[str]) -> Iterator[str]:
    """The events of one message."""
    response = {"id": "resp_1", "object": "response", "model": "echo", "output": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    yield event("response.created", response=response | {"status": "in_progress"})
    yield event("response.output_item.added", output_index=0, item=item | {"content": []})
    yield event("response.content_part.added", **place, part=part)
    for word in words:
        time.sleep(0.2)
        yield event("response.output_text.delta", **place, delta=f"{word} ")
    whole = part | {"text": "".join(f"{word} " for word in words)}
    done = item | {"status": "completed", "content": [whole]}
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=response | {"status": "completed", "output": [done]})


def event(kind: str, **fields: object) -> str:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


store = os.environ.get("STORE", "sqlite:///responses.db")
app.wsgi_app = ResponseCacheMiddleware(app.wsgi_app, store=store)  # type: ignore[method-assign]
