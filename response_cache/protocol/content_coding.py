"""Decompresses an answer piece by piece: gzip in any number of members, zlib, and bare deflate.

Servers disagree on what ``deflate`` is (RFC 9110 8.4.1.2 says zlib, some send it bare), so the
first two bytes decide.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ("Inflate",)

_KNOWN: Final = ("gzip", "x-gzip", "deflate")
_BY_HEADER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib
_BARE: Final = -zlib.MAX_WBITS


class Inflate:
    """Decompresses one body, up to a bound."""

    def __init__(self, encoding: str, limit: int) -> None:
        """Give at most *limit* bytes and one more, by which it is seen that there are too many."""
        self._encoding = encoding
        self._limit = limit
        self._first = b""  # what came of a header that is not complete yet
        self._stream: zlib._Decompress | None = None
        self.given = 0

    def feed(self, chunk: bytes) -> bytes:
        """What *chunk* adds to the body.

        Raises:
            ValueError: the encoding is not known, or *chunk* is not in it. The message may be
                shown.
        """
        if self._encoding not in _KNOWN:
            raise ValueError(f"The upstream's content-encoding {self._encoding!r} is not known.")
        try:
            return b"".join(self._members(chunk))
        except zlib.error:
            raise ValueError("The upstream's compressed answer is broken.") from None

    def _members(self, rest: bytes) -> list[bytes]:
        plain = []
        while rest and self.given <= self._limit:
            stream = self._stream = self._stream or self._begun(rest)
            if stream is None:
                break
            rest, self._first = self._first + rest, b""
            plain.append(stream.decompress(rest, self._limit + 1 - self.given))
            self.given += len(plain[-1])
            if not stream.eof:
                break
            rest, self._stream = stream.unused_data.lstrip(b"\0"), None  # members may be padded
        return plain

    def _begun(self, rest: bytes) -> zlib._Decompress | None:
        """A new stream, once enough of its header is there."""
        header = self._first + rest
        if len(header) < 2:
            self._first = header
            return None
        is_zlib = header[0] & 0x0F == 8 and int.from_bytes(header[:2]) % 31 == 0  # RFC 1950 2.2
        is_bare = self._encoding == "deflate" and not is_zlib and header[:2] != b"\x1f\x8b"
        return zlib.decompressobj(_BARE if is_bare else _BY_HEADER)
