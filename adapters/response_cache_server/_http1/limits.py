"""Limits of what one client may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = (
    "HIGH_WATER_BYTES",
    "LINGER_BYTES",
    "LINGER_TIMEOUT",
    "MAX_PIPELINED",
    "SLICE_BYTES",
    "Limits",
)

HIGH_WATER_BYTES: Final = 64 * 1024
"""Bytes of a body that wait for the app; above it the connection is not read."""
MAX_PIPELINED: Final = 16
"""Pipelined requests that wait for their turn; above it no bytes are parsed."""
SLICE_BYTES: Final = 16 * 1024
"""Bytes that are parsed at a time, so that one piece does not bring thousands of requests."""
LINGER_TIMEOUT: Final = 2.0
"""Seconds in which a refused client may stop to send, and read why."""
LINGER_BYTES: Final = 64 * 2**20
"""Bytes that it may send in that time; they are dropped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that can be set. Times are seconds."""

    max_head_bytes: int = 64 * 1024
    """Request line and header fields; the same again for trailers and the framing of chunks."""
    max_head_fields: int = 256
    """Number of header fields."""
    head_timeout: float = 30.0
    """From the first byte of a request, or the opening of the connection, to its head's end."""
    body_timeout: float = 30.0
    """Between two pieces of a body, while the app waits for one."""
    keep_alive: float = 75.0
    """From the end of an answer to the first byte of the next request."""
    flush_timeout: float = 30.0
    """How long a client may take nothing of what was written before its connection is closed."""
    max_connections: int = 10_000
    """Connections that are open at the same time."""
