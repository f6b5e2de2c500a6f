"""How many values a JSON text holds, counted without a parser.

A parser takes time and memory by the value, not by the byte: 10 MiB of ``{}`` take as long as one
string of 500 MiB, and no other thread of the interpreter runs meanwhile. So the values are counted
before the text is parsed, by what stands outside of strings. The text is searched in pieces, at the
speed of memory, and other threads may run between two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

__all__ = ("BYTES_OF_A_VALUE", "holds_more")

BYTES_OF_A_VALUE: Final = 16
"""Bytes that a number or a literal may have on average: to parse long numbers takes long."""

_PIECE: Final = 1 << 18
_SPACE: Final = b" \t\r\n"
_LEAST: Final = 2  # bytes that a value and its comma take


def holds_more(data: bytes, values: int) -> bool:
    """Whether JSON text holds more than *values* values, or as many bytes as no such number has.

    An empty array or object counts twice. Text that is not JSON may be counted too high, but never
    too low: a parser makes no more values of it before it gives up.
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
