"""A wrapped app that never comes to an end, for servers that are stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

from response_cache_wsgi import ResponseCacheMiddleware

__all__ = ("application",)


def endless(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """A comment now and then."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    while True:
        yield b": still there\n\n"
        time.sleep(0.05)


application = ResponseCacheMiddleware(endless, store=os.environ["STORE"], drain_timeout=1.0)


def post_worker_init(_worker: object) -> None:
    """What a gunicorn that preloads the app is told to call (``--config``)."""
    application.start()
