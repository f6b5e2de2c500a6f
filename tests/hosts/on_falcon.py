"""A Falcon app."""

from __future__ import annotations

from typing import Any

from falcon.asgi import App

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told


class Responses:
    async def on_post(self, request: Any, response: Any) -> None:
        response.content_type = STREAM
        response.stream = told(await request.get_media())


falcon: Any = App()
falcon.add_route(PATH, Responses())
app = ResponseCacheMiddleware(falcon, **options())
