"""How the proxy is told that a run was stopped.

After the provider's first byte and before the proxy's own, neither a disconnect nor a failing
``send`` makes LiteLLM close the provider's connection: it would stay open, and be paid for, until
garbage collection. So a stopped run gets its disconnect only after that moment, which lasts
milliseconds. What the proxy sends meanwhile is dropped.
"""

from __future__ import annotations

from typing import Final

import anyio

from response_cache import Answer
from response_cache_asgi._types import Message, Receive, Send

__all__ = ("STOP_GRACE", "DelayedDisconnect")

FIRST_BYTE_GRACE: Final = 0.3
"""Seconds to wait for the proxy's first byte. While the provider is silent, none comes."""
STOP_GRACE: Final = 1.0
"""Seconds until a run that was told to stop is cancelled; longer than ``FIRST_BYTE_GRACE``."""


class DelayedDisconnect:
    """``receive`` and ``send`` of a run, for the proxy."""

    def __init__(self, answer: Answer, receive: Receive, send: Send) -> None:
        self._answer = answer
        self._receive = receive
        self._send = send
        self._has_begun = anyio.Event()

    async def receive(self) -> Message:
        """The next message; a disconnect waits for the first byte, up to ``FIRST_BYTE_GRACE``."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            with anyio.move_on_after(FIRST_BYTE_GRACE):
                await self._has_begun.wait()
        return message

    async def send(self, message: Message) -> None:
        """Pass *message* on, unless the run was stopped."""
        self._has_begun.set()
        if not self._answer.stopped.is_set():
            await self._send(message)
