"""The wrapped app's own reply to a request in which ids of ours were replaced.

An error is held back until it is complete, and sent with our ids in it. Other replies go on as they
come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from response_cache.http import PassThrough
from response_cache_wsgi._headers import as_bytes, as_native

__all__ = ("AppReply",)


class AppReply:
    """One reply, between the app and the server (PEP 3333): it is what the server iterates."""

    def __init__(self, way: PassThrough, start_response: StartResponse) -> None:
        self._way = way
        self._start_response = start_response
        self._held: _Start | None = None  # the start of an error
        self._body: Iterable[bytes] = ()
        self._pieces: list[bytes] = []
        self._size = 0

    def of(self, app: WSGIApplication, environ: WSGIEnvironment) -> AppReply:
        """This reply, once *app* was called. Raises what the app raises."""
        self._body = app(environ, self._start)
        return self

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            if self._held is None:
                yield piece
                continue
            self._hold(piece)
            if not self._way.renames(self._held.code, self._size):
                yield self._released(self._held, is_read=False)
        if self._held is not None:
            yield self._released(self._held, is_read=True)

    def close(self) -> None:
        """What the server calls at the end of the request."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], Any]:
        start = _Start(status, headers)
        if self._way.renames(start.code):
            self._held = start
            return self._hold
        self._held = None
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    def _released(self, start: _Start, *, is_read: bool) -> bytes:
        """Start the reply that was held, and give what there is of its body."""
        self._held, content, headers = None, b"".join(self._pieces), start.headers
        if is_read:
            told, content = self._way.renamed(as_bytes(headers), content)
            headers = as_native(told)
        self._start_response(start.status, headers)
        return content


class _Start(NamedTuple):
    status: str
    headers: list[tuple[str, str]]

    @property
    def code(self) -> int:
        """The number in the status line; 0 where there is none, which the server refuses."""
        digits = self.status[:3]
        return int(digits) if digits.isdecimal() and digits.isascii() else 0
