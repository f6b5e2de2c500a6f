"""An app for real servers: it tells the beginning of a story, and then nothing more."""

from __future__ import annotations

import anyio

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from tests.adapters.asgi.driver import EVENT_STREAM, piece, sse, start, story

DRAIN_TIMEOUT = 1.0


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await start(send, EVENT_STREAM)
    await piece(send, sse(*story("Once")[:4]))
    await anyio.sleep_forever()


app = ResponseCacheMiddleware(endless, drain_timeout=DRAIN_TIMEOUT)
