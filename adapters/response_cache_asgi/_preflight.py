"""Asks the wrapped app whether a page may read a reply of ours, by one ``OPTIONS`` request.

This preflight has the origin and the host of the page's own request. It has neither its credentials
nor its query nor its extensions: it names no user.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import anyio

from response_cache import Headers, Request
from response_cache.http import Preflight
from response_cache_asgi._types import ASGIApp, Message, Scope

__all__ = ("PreflightOf",)

SAFE: Final = "/:@!$&'()*+,;=~"  # characters that a path need not escape (RFC 3986, section 3.3)


class PreflightOf:
    """Asks *app* for the page that sent *request*, whose scope is *scope*."""

    def __init__(self, app: ASGIApp, scope: Scope, request: Request) -> None:
        self._app = app
        self._scope = scope
        self._path = request.path
        self._root: str = scope["path"].removesuffix(request.path)

    async def __call__(self, preflight: Preflight) -> tuple[int, Headers] | None:
        """Status and headers of the app's answer. Raises what the app raises."""
        head: tuple[int, Headers] | None = None
        is_read, is_over = False, anyio.Event()

        async def receive() -> Message:
            nonlocal is_read
            if not is_read:
                is_read = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await is_over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message["status"], tuple(message.get("headers", ()))
            elif not message.get("more_body", False):
                is_over.set()

        await self._app(self._scope_of(preflight), receive, send)
        return head

    def _raw_path(self, path: str) -> bytes:
        """*path* as the page's request has it, encoded; empty where that is not known.

        An escape that the server has not decoded must not be escaped again: ``%2F`` in a name.
        """
        raw: bytes = (self._scope.get("raw_path") or b"").partition(b"?")[0]
        rest = self._path.removeprefix(path)  # "/", an id of ours and a verb; most often nothing
        if not self._path.startswith(path) or not raw.endswith(rest.encode()):
            return b""
        return raw.removesuffix(rest.encode())

    def _scope_of(self, preflight: Preflight) -> Scope:
        path = self._root + preflight.path
        host = [pair for pair in self._scope["headers"] if pair[0].lower() == b"host"]
        scope = {
            **self._scope,
            "method": "OPTIONS",
            "path": path,
            "raw_path": self._raw_path(preflight.path) or quote(path, safe=SAFE).encode(),
            "query_string": b"",
            "headers": [
                *host,
                (b"origin", preflight.origin.encode("latin-1")),
                (b"access-control-request-method", preflight.method.encode("latin-1")),
            ],
            "extensions": {},
        }
        if "state" in scope:
            scope["state"] = dict(scope["state"])
        return scope
