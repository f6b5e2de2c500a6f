"""Inside of middleware that copies replies, as ``@app.middleware("http")`` of FastAPI does."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told


async def create(request: Request) -> StreamingResponse:
    return StreamingResponse(told(await request.json()), media_type=STREAM)


async def copy(request: Request, call_next: Any) -> Any:
    return await call_next(request)


app = Starlette(
    routes=[Route(PATH, create, methods=["POST"])],
    middleware=[
        Middleware(BaseHTTPMiddleware, dispatch=copy),
        Middleware(ResponseCacheMiddleware, **options()),
    ],
)
