"""The headers of the proxy's own replies, on replies that never reach the proxy.

Browsers need the CORS headers. Security scanners look for the rest. The proxy's own middleware adds
them, with the proxy's settings, so nothing has to be configured twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.middleware import Middleware

from response_cache import Options
from response_cache_asgi._types import ASGIApp

__all__ = ("create_paths", "with_reply_headers")

ROOT_PATHS: Final = "PerRequestRootPathMiddleware"
HEADER_MIDDLEWARE: Final = frozenset(("CORSMiddleware", "SecurityHeadersMiddleware", ROOT_PATHS))
"""Middleware of the proxy that adds headers or sets the root path, and counts no request."""


def with_reply_headers(app: ASGIApp, middleware: list[Middleware]) -> ASGIApp:
    """*app* inside of the classes of *middleware* (outermost first) that add headers."""
    for entry in reversed(middleware):
        if _name(entry) in HEADER_MIDDLEWARE:
            app = entry.cls(app, *entry.args, **entry.kwargs)
    return app


def create_paths(middleware: list[Middleware]) -> tuple[str, ...]:
    """The paths on which a POST creates a response, also below each of several root paths."""
    spellings: tuple[str, ...] = Options.model_fields["paths"].default
    roots = [
        "/" + root.strip("/")
        for entry in middleware
        if _name(entry) == ROOT_PATHS
        for root in _root_paths(entry)
    ]
    return (*spellings, *(root + path for root in roots for path in spellings))


def _name(entry: Middleware) -> str:
    return str(getattr(entry.cls, "__name__", ""))


def _root_paths(entry: Middleware) -> Iterable[str]:
    paths: Any = entry.kwargs.get("root_paths", ())
    return map(str, paths)
