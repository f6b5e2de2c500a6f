"""A FastAPI app whose middleware is told what cannot be."""

from __future__ import annotations

import json
import os

from fastapi import FastAPI

from response_cache_asgi import ResponseCacheMiddleware
from tests.hosts.options import PATH

app = FastAPI()


@app.get("/other")
async def other() -> str:
    return "other"


@app.post(PATH)
async def create() -> str:
    return "foreground"


app.add_middleware(ResponseCacheMiddleware, **json.loads(os.environ["MISTAKE"]))
