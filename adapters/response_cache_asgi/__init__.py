"""Background responses around any ASGI 3 application, on asyncio and trio.

app.add_middleware(ResponseCacheMiddleware, store="memory://")  # FastAPI, Starlette
app = ResponseCacheMiddleware(app, store="memory://")           # any ASGI app
"""

from response_cache_asgi._middleware import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send

__all__ = ("ASGIApp", "Message", "Receive", "ResponseCacheMiddleware", "Scope", "Send")
