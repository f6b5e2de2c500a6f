"""The transport of a connection, and the ways in which it is closed.

An answer that is broken off must not look like one that has ended. A body in chunks, or with a
length, is visibly not whole when the connection closes. For a body that ends with the connection, a
plain close is a clean end. So such a connection has to be *reset* (RFC 9112, 8). The socket is set
to that while the answer is under way. Then every close resets it, also the end of this process.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

from response_cache_server._http1.deadline import Deadline
from response_cache_server._http1.limits import LINGER_BYTES, LINGER_TIMEOUT

__all__ = ("Wire",)

LINGER: Final = "hh" if sys.platform == "win32" else "ii"  # the fields of SO_LINGER: on, seconds
CLOSE_BY_RESET: Final = struct.pack(LINGER, 1, 0)
CLOSE_NORMALLY: Final = struct.pack(LINGER, 0, 0)


class Wire:
    """Writes to *transport*, pauses its reading, and closes it in time, by *deadline*."""

    __slots__ = (
        "_deadline",
        "_flush_timeout",
        "_is_paused",
        "_may_drop",
        "_resets",
        "_transport",
        "_unsent",
        "is_lingering",
    )

    def __init__(
        self, transport: asyncio.Transport, deadline: Deadline, *, flush_timeout: float
    ) -> None:
        self._transport = transport
        self._deadline = deadline
        self._flush_timeout = flush_timeout
        self._unsent = 0  # bytes that waited for the client at the last look
        self._is_paused = False
        self._resets = False
        self._may_drop = LINGER_BYTES
        self.is_lingering = False

    def hold_back(self, wanted: bool) -> None:
        """Pause reading while that is *wanted*."""
        if wanted != self._is_paused and not self._transport.is_closing():
            self._is_paused = wanted
            (self._transport.pause_reading if wanted else self._transport.resume_reading)()

    def reset_on_close(self, wanted: bool) -> None:
        """Let a close be an error for the client while that is *wanted*."""
        if wanted != self._resets:
            self._resets = wanted
            connected = self._transport.get_extra_info("socket")
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_BY_RESET if wanted else CLOSE_NORMALLY
            )

    def close(self) -> None:
        """Close when the client has taken all that was written; reset when it stops to take it."""
        self._transport.close()
        self._await_flush()

    def _await_flush(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._deadline.set(self._flush_timeout, self._flush_is_late)

    def _flush_is_late(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent:
            self._await_flush()
        else:
            self.reset()

    def reset(self) -> None:
        """Close at once. The rest is lost, and the client must see that."""
        self.reset_on_close(True)
        self._transport.abort()

    def linger(self) -> None:
        """Close when the client closes, or ``LINGER_TIMEOUT`` is over.

        The client may still send. Then a close would be a reset, and destroy the answer that tells
        it to stop (RFC 9112, 9.6).
        """
        self.is_lingering = True
        self._deadline.set(LINGER_TIMEOUT, self._transport.abort)
        self.hold_back(False)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def drop(self, size: int) -> None:
        """*size* bytes came while lingering."""
        self._may_drop -= size
        if self._may_drop < 0:
            self._transport.abort()
