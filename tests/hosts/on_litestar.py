"""A Litestar app, with the middleware around one route by Litestar's own means."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Router, post
from litestar.middleware import DefineMiddleware
from litestar.response import Stream

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told


@post(PATH, status_code=200)
async def create(request: Request[Any, Any, Any]) -> Stream:
    return Stream(told(await request.json()), media_type=STREAM)


@post("/responses", status_code=200)
async def inside() -> None: ...


middleware: Any = DefineMiddleware(ResponseCacheMiddleware, store="memory://")  # type: ignore[arg-type] # scopes of its own types
router = Router("/inside", route_handlers=[inside], middleware=[middleware])
litestar: Any = Litestar([create, router])
app = ResponseCacheMiddleware(litestar, **options())
