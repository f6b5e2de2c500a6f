"""A Flask app."""

from __future__ import annotations

from flask import Flask, Response, request

from response_cache_wsgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told_by_thread

app = Flask(__name__)


@app.post(PATH)
def create() -> Response:
    return Response(told_by_thread(request.get_json()), mimetype=STREAM)


app.wsgi_app = ResponseCacheMiddleware(app.wsgi_app, **options())  # type: ignore[method-assign]
