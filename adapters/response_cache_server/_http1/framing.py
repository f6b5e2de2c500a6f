"""The bytes of an answer (RFC 9112): its head, and its body in one of four ways.

| the answer | its body ends |
| --- | --- |
| to HEAD, and with status 204 or 304 | at once: it has none |
| with Content-Length | after that many bytes |
| without, to HTTP/1.1 | with the last chunk |
| without, to HTTP/1.0 | with the connection |

How the body ends, and whether the connection lasts, is decided here. So the app's
``Transfer-Encoding`` and ``Connection`` are not sent; ``Connection: close`` is obeyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, TypeAlias

__all__ = ("End", "Framing", "Headers", "frame")

Headers: TypeAlias = Iterable[Sequence[bytes]]


class End(Enum):
    """What tells where a body ends."""

    NONE = auto()  # there is no body
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()


STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())
    for status in range(200, 600)
    for phrase in [HTTPStatus(status).phrase if status in set(HTTPStatus) else ""]
}
BODILESS: Final = (204, 304)
LAST_CHUNK: Final = b"0\r\n\r\n"
FRAMING_FIELDS: Final = frozenset(
    (b"connection", b"content-length", b"keep-alive", b"transfer-encoding")
)

# What a name and a value may consist of (RFC 9110, 5.1 and 5.5): tokens, and all but controls.
NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
VALUE_BYTES: Final = b"\t" + bytes(code for code in range(0x20, 0x100) if code != 0x7F)


class Framing:
    """How the body of one answer is written. ``head`` goes before it."""

    __slots__ = ("_is_chunked", "_left", "end", "head", "keeps_alive")

    def __init__(self, head: bytes, end: End, left: int, keeps_alive: bool) -> None:
        """*left* is the length of the body, where that is what ends it."""
        self.head = head
        self.end = end
        self._is_chunked = end is End.CHUNKS
        self.keeps_alive = keeps_alive
        self._left = left

    def body(self, piece: bytes, *, more: bool) -> bytes:
        """*piece* as it is written; the last one without *more*.

        Raises:
            RuntimeError: the body is longer or shorter than its announced length.
        """
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            return chunk if more else chunk + LAST_CHUNK
        if self.end is End.NONE:
            return b""
        if self.end is End.LENGTH:
            self._left -= len(piece)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("The body of the answer does not have its Content-Length.")
        return piece


def frame(
    status: int, headers: Headers, *, method: str, version: str, keeps_alive: bool
) -> Framing:
    """The framing of an answer to *method* in HTTP *version*.

    *keeps_alive*: whether the connection may stay open after it.

    Raises:
        RuntimeError: the app's status or one of its fields cannot stand in a head.
    """
    if status not in STATUS_LINES:
        raise RuntimeError(f"An answer cannot have the status {status}.")
    names, values, lines = [], [], [STATUS_LINES[status]]
    length = None
    for name, value in headers:
        name = name.lower()
        if name not in FRAMING_FIELDS:
            names.append(name)
            values.append(value)
            lines += (name, b": ", value, b"\r\n")
        elif name == b"content-length":
            length = _length(value, length)
        elif name == b"connection" and b"close" in value.lower():
            keeps_alive = False
    _check(names, values)
    end = _end(status, method, version, length)
    if end is End.CLOSE:
        keeps_alive = False
    if end is End.CHUNKS:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif length is not None and status not in BODILESS:
        lines.append(b"content-length: %d\r\n" % length)
    if not keeps_alive:
        lines.append(b"connection: close\r\n")
    elif version == "1.0":
        lines.append(b"connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return Framing(b"".join(lines), end, length or 0, keeps_alive)


def _check(names: list[bytes], values: list[bytes]) -> None:
    of_names, of_values = b"".join(names), b"".join(values)
    if (
        b"" in names
        or of_names.translate(None, NAME_BYTES)
        or of_values.translate(None, VALUE_BYTES)
    ):
        raise RuntimeError("A header field of the answer is not valid.")


def _end(status: int, method: str, version: str, length: int | None) -> End:
    if method == "HEAD" or status in BODILESS:
        return End.NONE
    if length is not None:
        return End.LENGTH
    return End.CLOSE if version == "1.0" else End.CHUNKS


def _length(value: bytes, before: int | None) -> int:
    if not value.isdigit() or before not in (None, int(value)):
        raise RuntimeError("The Content-Length of the answer is not valid.")
    return int(value)
