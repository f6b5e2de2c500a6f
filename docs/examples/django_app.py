"""A Django app that answers POST /v1/responses with a stream, and its background mode."""

import json
import os
import time
from collections.abc import Iterator

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from response_cache_wsgi import ResponseCacheMiddleware

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="an example")  # noqa: S106


def create(request: HttpRequest) -> StreamingHttpResponse:
    """Say the input back, word by word."""
    words = str(json.loads(request.body)["input"]).split()
    return StreamingHttpResponse(say(words), content_type="text/event-stream")


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


urlpatterns = [path("v1/responses", create)]
store = os.environ.get("STORE", "sqlite:///responses.db")
application = ResponseCacheMiddleware(get_wsgi_application(), store=store)
