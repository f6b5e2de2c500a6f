"""The body of a request, read ahead and then given to the app as if it had not been read."""

from __future__ import annotations

import io
import re
from typing import Final
from wsgiref.types import InputStream, WSGIEnvironment

from response_cache.http import BODY_HEADERS
from response_cache_wsgi._headers import variable

__all__ = ("ReadAhead", "put_body")

READ_BYTES: Final = 1 << 16
_LENGTH: Final = re.compile("[0-9]{1,18}")


class ReadAhead:
    """The part of a body that was read: all of it, its beginning, or nothing."""

    def __init__(self, environ: WSGIEnvironment, limit: int) -> None:
        """Read the body until its end, or until more than *limit* bytes were read.

        Raises what the server's stream raises.
        """
        self._environ = environ
        self._stream: InputStream = environ["wsgi.input"]
        self._left = _length(environ)  # None: until the stream ends
        self.content = b""
        self.is_cut = False  # longer than the limit: the rest was not read
        self._read(limit)

    @property
    def is_whole(self) -> bool:
        """Whether the whole body was read. It was not when the client has disconnected."""
        return not self.is_cut and not self._left

    def restore(self) -> None:
        """Let the app read the same bytes from the start."""
        if self.is_cut:
            rest = _Rejoined(self.content, self._stream, self._left)
            self._environ["wsgi.input"] = io.BufferedReader(rest)
        elif self.content:
            self._environ["wsgi.input"] = io.BytesIO(self.content)

    def _read(self, limit: int) -> None:
        pieces, size = [], 0
        while self._left != 0 and size <= limit:
            piece = self._stream.read(
                READ_BYTES if self._left is None else min(READ_BYTES, self._left)
            )
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if self._left is not None:
                self._left -= len(piece)
        self.content = b"".join(pieces)
        self.is_cut = size > limit


def put_body(environ: WSGIEnvironment, body: bytes) -> None:
    """Let *environ* be of a request with another body."""
    for header in BODY_HEADERS:
        environ.pop(variable(header), None)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)


def _length(environ: WSGIEnvironment) -> int | None:
    """How many bytes may be read: the content length, or None where the stream itself ends.

    0 if neither is given: by PEP 3333, reading could then wait for ever.
    """
    if environ.get("wsgi.input_terminated"):
        return None
    length: str = environ.get("CONTENT_LENGTH") or ""
    return int(length) if _LENGTH.fullmatch(length) else 0


class _Rejoined(io.RawIOBase):
    """The bytes that were read, and then the rest of the stream."""

    def __init__(self, first: bytes, stream: InputStream, left: int | None) -> None:
        self._first = io.BytesIO(first)
        self._stream = stream
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of any buffer
        piece = self._first.read(len(buffer)) or self._more(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _more(self, size: int) -> bytes:
        if self._left is None:
            return self._stream.read(size)
        piece = self._stream.read(min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece
