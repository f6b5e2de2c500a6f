"""An app for real servers that tells how long its event loop was kept from going on.

``GET /longest`` is the longest time since it was asked last, in seconds of the process's own
processors, so that a busy machine makes no difference: threads that hold the interpreter's lock
keep the loop as much as work of its own, and both count.
"""

from __future__ import annotations

import asyncio
import os
import time

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from tests.adapters.asgi.driver import EVENT_STREAM, piece, read_body, sse, start, story

TICK_INTERVAL = 0.01


class Watch:
    """Looks at the clock again and again."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(TICK_INTERVAL)
            self.longest = max(self.longest, time.process_time() - before)

    def read(self) -> bytes:
        longest, self.longest = self.longest, 0.0
        return b"%.6f" % longest


watch = Watch()
running: list[asyncio.Task[None]] = []


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """Foreground work is answered at once; background work begins to tell a story, no more."""
    if scope["type"] != "http":
        raise RuntimeError("http only")
    if (scope.get("extensions") or {}).get("response_cache") is None:
        await start(send, status=202)
        await piece(send, b"passed", more=False)
        return
    await read_body(receive)
    await start(send, EVENT_STREAM)
    await piece(send, sse(*story("Once")[:4]))
    await receive()  # until it is stopped


cached = ResponseCacheMiddleware(inner, store=os.environ["STORE"], drain_timeout=0.5)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/longest":
        if not running:
            running.append(asyncio.create_task(watch.run()))
        await start(send)
        await piece(send, watch.read(), more=False)
        return
    await cached(scope, receive, send)
