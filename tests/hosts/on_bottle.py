"""A Bottle app."""

from __future__ import annotations

from typing import Any

from bottle import Bottle, request, response

from response_cache_wsgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told_by_thread

bottle: Any = Bottle()


def create() -> Any:
    response.content_type = STREAM
    return told_by_thread(request.json)


bottle.post(PATH, callback=create)
app = ResponseCacheMiddleware(bottle, **options())
