"""A wrapped app that goes on until its server is stopped, or for ever."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

from response_cache_wsgi import ResponseCacheMiddleware

__all__ = ("application", "flask_app", "post_worker_init")

COMPLETED = {"id": "resp_1", "object": "response", "status": "completed", "output": []}


def goes_on(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """A comment now and then; completes when the process drains, unless asked for ``endless``."""
    is_endless = json.loads(environ["wsgi.input"].read())["input"] == "endless"
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    while is_endless or not application.is_draining:
        yield b": still there\n\n"
        time.sleep(0.05)
    event = {"type": "response.completed", "response": COMPLETED}
    yield b"data: %b\n\n" % json.dumps(event).encode()


application = ResponseCacheMiddleware(goes_on, store=os.environ["STORE"], drain_timeout=2.0)
flask_app = Flask(__name__)
flask_app.wsgi_app = application  # type: ignore[method-assign]


def post_worker_init(_worker: object) -> None:
    """What a gunicorn that preloads the app is told to call (``--config``)."""
    application.start()
