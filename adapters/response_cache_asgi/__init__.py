"""Background responses around any ASGI 3 application, on asyncio and trio.

app.add_middleware(ResponseCacheMiddleware, store="memory://")  # FastAPI, Starlette
app = ResponseCacheMiddleware(app, store="memory://")           # any ASGI app
"""

from response_cache_asgi.middleware import ResponseCacheMiddleware

__all__ = ("ResponseCacheMiddleware",)
