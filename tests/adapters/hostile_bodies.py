"""Bodies of creates that are made to keep a server busy: each as much as may be of one kind."""

from __future__ import annotations

from typing import Final

from response_cache import Options

MOST: Final = Options().max_request_bytes - 200
VALUES: Final = Options().max_request_values
ECHO: Final = Options().max_echo_bytes - 2000
ITEMS: Final = Options().max_input_items


def filled(unit: bytes, size: int = MOST) -> bytes:
    """As many times *unit* as there is room for."""
    return unit * (size // len(unit))


def array(unit: bytes, size: int = MOST, *, last: bytes = b"1") -> bytes:
    """An array of as many *units*, each with its comma, as there is room for."""
    return b"[%b%b]" % (filled(unit, size), last)


def values(unit: bytes, each: int) -> bytes:
    """An array of as many *units* as may be, where one counts as *each* values."""
    return array(unit, len(unit) * ((VALUES - 10) // each))


def text(unit: bytes, size: int = MOST) -> bytes:
    """A string of nothing but *unit*."""
    return b'"%b"' % filled(unit, size)


def nested(depth: int) -> bytes:
    """Arrays in arrays, as many as may be."""
    return values(b"[" * depth + b"]" * depth + b",", 2 * depth)


HALF: Final = b"\\ud83d"  # of a surrogate pair: what the fast parser refuses
KEYS: Final = b",".join(b'"%x":1' % n for n in range(VALUES - 10))

BOUNDED: Final[dict[str, bytes]] = {
    "objects": values(b"{},", 2),
    "objects of one": values(b'{"a":1},', 2),
    "arrays": values(b"[],", 2),
    "nested": nested(150),
    "nested deeply": nested(390),
    "numbers": values(b"1,", 1),
    "floats": array(b"1.2345678901234567e-300,", 16 * VALUES * 23 // 24 - 100),
    "short floats": values(b"9e-301,", 1),
    "long integers": array(b"9" * 4299 + b",", 16 * VALUES - 9999),
    "an endless fraction": b"1." + filled(b"9", 16 * VALUES - 100),
    "strings": values(b'"",', 1),
    "short strings": values(b'"ab",', 1),
    "NaN": values(b"NaN,", 1),
    "keys": b"{%b}" % KEYS,
    "the same key": b"{%b}" % (values(b'"a":1,', 1)[1:-2] + b'"a":1'),
    "half pairs and objects": b'["%b",%b]' % (HALF, values(b"{},", 2)),
    "half pairs and nested": b'["%b",%b]' % (HALF, nested(150)),
    "half pairs": values(b'"%b",' % HALF, 1),
}
"""As many values as may be, of each kind."""

TEXTS: Final[dict[str, bytes]] = {
    "prose": text(b"hello world, "),
    "NUL": text(b"\\u0000"),
    "line ends": text(b"\\n"),
    "quotes": text(b'\\"'),
    "backslashes": text(b"\\\\"),
    "halves": text(HALF),
    "halves and prose": b'"%b%b"' % (HALF, filled(b"hello world, ")),
    "halves and letters": b'"%b%b"' % (HALF, filled("é".encode())),
    "letters": text("é".encode()),
    "escaped letters": text(b"\\u00e9"),
    "emoji": text("😀".encode()),
    "what we look for": text(b'\\"background\\" resp_r'),
    "white space": filled(b" ") + b"1",
    "a key": b"{%b:1}" % text(b"k"),
    "an escaped key": b"{%b:1}" % text(b"\\n"),
}
"""As many bytes as may be, in one value."""

TOO_MUCH: Final[dict[str, bytes]] = {
    "objects": array(b"{},"),
    "arrays": array(b"[],"),
    "nested": array(b"[" * 150 + b"]" * 150 + b","),
    "numbers": array(b"1,"),
    "strings": array(b'"",'),
    "long integers": array(b"9" * 4299 + b","),
    "an endless integer": filled(b"9"),
    "an endless fraction": b"1." + filled(b"9"),
    "an endless exponent": b"1e" + filled(b"9"),
    "NaN": array(b"NaN,"),
    "half pairs": array(b'"\\ud83d",'),
    "keys": b"{%b}" % filled(b'"a":1,') + b'"b":1}',
    "brackets": filled(b"["),
    "quotes": filled(b'"'),
}
"""As many bytes as may be, of what takes long to parse by the byte."""

ECHOED: Final[dict[str, bytes]] = {
    "objects": array(b"{},", min(ECHO, (VALUES // 2 - 10) * 3), last=b"{}"),
    "functions": array(b'{"type":"function"},', ECHO // 4, last=b"{}"),
    "nested": b"[%b]" % nested(150)[1:-1][: ECHO // 301 * 301 - 1],
    "floats": array(b"1.2345678901234567e-300,", ECHO),
    "half pairs and objects": array(b"{},", (VALUES // 2 - 10) * 3, last=b'"%b"' % HALF),
    "half pairs and floats": array(b"9e-301,", ECHO - 20, last=b'"%b"' % HALF),
    "NUL": text(b"\\u0000", ECHO),
    "halves": text(HALF, ECHO),
    "letters": text("é".encode(), ECHO),
}
"""As much as a response repeats of its request."""
