"""How much a JSON text holds, told without a parser.

Parsing takes time and memory by the value, not by the byte: 10 MiB of ``{}`` keep a parser, and
with it every thread of the interpreter, for as long as 500 MiB of text in one string. So what may
be parsed is told beforehand, from what stands outside of strings. The text is gone through in
pieces, by searches as fast as memory, and other threads may run between two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ("BYTES_OF_A_VALUE", "holds_more")

BYTES_OF_A_VALUE: Final = 16
"""What a number or a word may take on average: long numbers take more than their length."""

_PIECE: Final = 1 << 18
_SPACE: Final = b" \t\r\n"
_LEAST: Final = 2  # bytes that a value and its comma take


def holds_more(data: bytes, values: int) -> bool:
    """Whether JSON text holds more than so many *values*, or numbers and words too long for them.

    An empty array or object counts twice. Text that is not JSON may hold less than is said, but
    what a parser makes of it before it gives up is never more.
    """
    if len(data) <= _LEAST * values:
        return False
    count, size = 1, 0
    for text in _outside_strings(data):
        count += text.count(b",") + text.count(b"[") + text.count(b"{")
        size += len(text)
        if count > values or size > BYTES_OF_A_VALUE * values:
            return True
    return False


def _outside_strings(data: bytes) -> Iterator[bytes]:
    """What stands outside of the strings, without white space, piece by piece."""
    at, is_inside = 0, False
    while at < len(data):
        piece = data[at : at + _PIECE]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # it ends within an escape
            piece = data[at : at + _PIECE + 1]
        at += len(piece)
        parts = _without_escapes(piece).split(b'"')
        yield b"".join(parts[is_inside::2]).translate(None, _SPACE)
        is_inside ^= len(parts) % 2 == 0


def _without_escapes(piece: bytes) -> bytes:
    """*piece* without the escapes that hold a quote, or could be taken for one that does."""
    if b"\\" not in piece:
        return piece
    return piece.replace(b"\\\\", b"").replace(b'\\"', b"")
