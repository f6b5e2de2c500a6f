"""A FastAPI app."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH, STREAM, options
from tests.hosts.story import told

app = FastAPI()


@app.post(PATH)
async def create(request: Request) -> StreamingResponse:
    return StreamingResponse(told(await request.json()), media_type=STREAM)


app.add_middleware(ResponseCacheMiddleware, **options())
