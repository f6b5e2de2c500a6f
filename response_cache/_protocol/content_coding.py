"""Unpacks bodies in their content codings (RFC 9110 8.4.1), requests and answers.

Always there are gzip and deflate. A body is one compressed stream or several, one behind the other:
gzip in members (RFC 1952 2.2), zlib (RFC 1950) or bare deflate (RFC 1951). Senders disagree on what
``deflate`` is (RFC 9110 8.4.1.2 says zlib, some send it bare), so the first two bytes of each
stream decide.

Two codings more are read in answers where their libraries are installed (the extra ``codings``):
``br`` (RFC 7932, one stream) by ``brotli``, and ``zstd`` (RFC 8878, frames one behind the other) by
``compression.zstd`` of Python 3.14 or ``backports.zstd``.

What one body may cost is bounded: the bytes that it gives, and the streams that it has.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final, Protocol

__all__ = ("ACCEPT_ENCODING", "ANSWER_CODINGS", "CODINGS", "Inflate", "coding_in")

CODINGS: Final = ("gzip", "x-gzip", "deflate")
"""Names of the codings that are always read, in lower case."""

_NO_CODING: Final = frozenset(("", "identity", "none", "null", "utf-8", "aws-chunked"))
"""Names by which senders say that nothing is compressed. One of them is a coding (RFC 9110
12.5.3). ``aws-chunked`` stays in the header of objects that Amazon S3 has stored long since."""

_LONGEST_NAME: Final = 32  # characters of an unknown coding that the message repeats
_BY_HEADER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib
_BARE: Final = -zlib.MAX_WBITS
_WINDOW_LOG: Final = 23  # RFC 9659: a content coding needs no more memory than 8 MiB
_SLICE_BYTES: Final = 16 * 2**10
"""Bytes unpacked at a time: zlib copies the rest of them at the end of each stream."""


class _Stream(Protocol):
    """One compressed stream, as ``zlib.decompressobj`` and ``ZstdDecompressor`` have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _BrotliStream:
    """The same of ``brotli``, whose streams have nothing behind them."""

    unused_data: bytes = b""

    def __init__(self) -> None:
        self._stream: Any = _brotli.Decompressor()
        self.eof = False

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        # The library fills its buffer, which may be longer than what was asked for.
        plain: bytes = self._stream.process(data, output_buffer_limit=max_length)
        self.eof = self._stream.is_finished()
        return plain[:max_length]


def _module(*names: str) -> Any:
    """The first of the modules that is installed, or None."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_brotli: Final = _module("brotli")
_zstd: Final = _module("compression.zstd", "backports.zstd")


def _optional() -> Iterator[tuple[str, Callable[[], _Stream]]]:
    """How a stream begins, for each coding whose library is there and can bound what it gives."""
    if hasattr(getattr(_brotli, "Decompressor", None), "can_accept_more_data"):  # 1.2 and later
        yield "br", _BrotliStream
    if _zstd is not None:
        options = {_zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        yield "zstd", lambda: _zstd.ZstdDecompressor(options=options)


_OPTIONAL: Final[Mapping[str, Callable[[], _Stream]]] = dict(_optional())
_ERRORS: Final = (
    zlib.error,
    *(module.error for module in (_brotli,) if module is not None),
    *(module.ZstdError for module in (_zstd,) if module is not None),
)

ANSWER_CODINGS: Final = (*CODINGS, *_OPTIONAL)
"""Names of the codings that are read in an upstream's answer, in lower case."""

ACCEPT_ENCODING: Final = ", ".join(n for n in ANSWER_CODINGS if n != "x-gzip").encode()
"""What a run of ours asks for. A request without this header invites any coding (RFC 9110
12.5.3)."""


def coding_in(values: Iterable[bytes]) -> str:
    """The coding of an answer, in lower case, by the *values* of its content-encoding fields.

    Empty where nothing is compressed; several codings with commas between them.
    """
    names = b",".join(values).decode("latin-1").lower().split(",")
    return ", ".join(name.strip() for name in names if name.strip() not in _NO_CODING)


class Inflate:
    """Unpacks one body, in pieces or as a whole."""

    def __init__(self, coding: str, limit: int, *, max_streams: float = inf) -> None:
        """Give at most *limit* bytes and one more, begin at most *max_streams* and one more.

        By the one more it is seen that there are too many. *coding* is one of ``ANSWER_CODINGS``.
        """
        self._coding = coding
        self._limit = limit
        self._max_streams = max_streams
        self._first = b""  # what came of a header that is not complete yet
        self._stream: _Stream | None = None
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
        if self._coding not in ANSWER_CODINGS:
            name = self._coding[:_LONGEST_NAME]
            raise ValueError(f"The upstream's content-encoding {name!r} is not known.")
        slices = (chunk[n : n + _SLICE_BYTES] for n in range(0, len(chunk), _SLICE_BYTES))
        try:
            return b"".join(plain for part in slices for plain in self._plain(part))
        except _ERRORS:
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
        if self._coding in _OPTIONAL:
            self._stream = _OPTIONAL[self._coding]()
            self.streams += 1
            return rest
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
