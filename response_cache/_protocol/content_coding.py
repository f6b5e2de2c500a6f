"""Unpacks bodies in the content codings gzip and deflate (RFC 9110 8.4.1), requests and answers.

A body is one compressed stream or several, one behind the other: gzip in members (RFC 1952 2.2),
zlib (RFC 1950) or bare deflate (RFC 1951). Senders disagree on what ``deflate`` is (RFC 9110
8.4.1.2 says zlib, some send it bare), so the first two bytes of each stream decide.

What one body may cost is bounded: the bytes that it gives, and the streams that it has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from math import inf
from typing import Final

__all__ = ("CODINGS", "Inflate")

CODINGS: Final = ("gzip", "x-gzip", "deflate")
"""Names of the codings, in lower case."""

_BY_HEADER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib
_BARE: Final = -zlib.MAX_WBITS
_SLICE_BYTES: Final = 16 * 2**10
"""Bytes unpacked at a time: zlib copies the rest of them at the end of each stream."""


class Inflate:
    """Unpacks one body, in pieces or as a whole."""

    def __init__(self, coding: str, limit: int, *, max_streams: float = inf) -> None:
        """Give at most *limit* bytes and one more, begin at most *max_streams* and one more.

        By the one more it is seen that there are too many.
        """
        self._coding = coding
        self._limit = limit
        self._max_streams = max_streams
        self._first = b""  # what came of a header that is not complete yet
        self._stream: zlib._Decompress | None = None
        self.given = 0  # bytes
        self.streams = 0  # that have begun

    @property
    def is_whole(self) -> bool:
        """Whether all that was fed is whole streams: at least one, and nothing is cut off."""
        return self.streams > 0 and self._stream is None and not self._first

    def feed(self, chunk: bytes) -> bytes:
        """What *chunk* adds to the body.

        Raises:
            ValueError: the coding is not known, or *chunk* is not in it. The message is about an
                upstream's answer and may be shown.
        """
        if self._coding not in CODINGS:
            raise ValueError(f"The upstream's content-encoding {self._coding!r} is not known.")
        slices = (chunk[n : n + _SLICE_BYTES] for n in range(0, len(chunk), _SLICE_BYTES))
        try:
            return b"".join(plain for part in slices for plain in self._plain(part))
        except zlib.error:
            raise ValueError("The upstream's compressed answer is broken.") from None

    def _plain(self, rest: bytes) -> Iterator[bytes]:
        while rest and self.given <= self._limit and self.streams <= self._max_streams:
            if self._stream is None:
                rest = self._begin(rest)
            if self._stream is None:
                return
            plain = self._stream.decompress(rest, self._limit + 1 - self.given)
            self.given += len(plain)
            yield plain
            rest = self._stream.unused_data
            if self._stream.eof:
                self._stream = None

    def _begin(self, rest: bytes) -> bytes:
        """Begin a stream once enough of its header is there; what there is of the stream."""
        header = self._first + rest
        if self.streams:
            header = header.lstrip(b"\0")  # streams may be padded
        self._first = header if len(header) < 2 else b""
        if len(header) >= 2:
            self._stream = zlib.decompressobj(self._container(header))
            self.streams += 1
        return header

    def _container(self, header: bytes) -> int:
        is_zlib = header[0] & 0x0F == 8 and int.from_bytes(header[:2]) % 31 == 0  # RFC 1950 2.2
        is_bare = self._coding == "deflate" and not is_zlib and header[:2] != b"\x1f\x8b"
        return _BARE if is_bare else _BY_HEADER
