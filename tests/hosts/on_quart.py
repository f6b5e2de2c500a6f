"""A Quart app."""

from __future__ import annotations

from quart import Quart, Response, request

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told

app = Quart(__name__)


@app.post(PATH)
async def create() -> Response:
    return Response(told(await request.get_json()), mimetype=STREAM)


app.asgi_app = ResponseCacheMiddleware(app.asgi_app, **options())  # type: ignore[method-assign,arg-type,assignment]
