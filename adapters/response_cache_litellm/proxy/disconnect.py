"""How the proxy learns that nobody wants a run's answer any more.

Between the provider's first byte and its own, LiteLLM holds the provider's connection in a place
where neither a disconnect nor a failing ``send`` closes it: it would stay open, and be paid for,
until the garbage collector comes by. So a run that is stopped is let through this stretch, which
takes milliseconds, and told then. What it sends meanwhile is dropped.
"""

from __future__ import annotations

from typing import Final

import anyio

from response_cache import Answer
from response_cache_asgi.types import Message, Receive, Send

__all__ = ("STOP_GRACE", "DelayedDisconnect")

FIRST_BYTE_GRACE: Final = 0.3
"""Seconds for the proxy's first byte. Where the provider is silent, there is none."""
STOP_GRACE: Final = 1.0
"""Seconds until a run that was told to stop is cancelled; longer than ``FIRST_BYTE_GRACE``."""


class DelayedDisconnect:
    """The two ends of a run, for the proxy to hold."""

    def __init__(self, answer: Answer, receive: Receive, send: Send) -> None:
        self._answer = answer
        self._receive = receive
        self._send = send
        self._has_begun = anyio.Event()

    async def receive(self) -> Message:
        """The next message; a disconnect not before the answer's first byte, if that comes soon."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            with anyio.move_on_after(FIRST_BYTE_GRACE):
                await self._has_begun.wait()
        return message

    async def send(self, message: Message) -> None:
        """Pass *message* on as long as it is wanted."""
        self._has_begun.set()
        if not self._answer.stopped.is_set():
            await self._send(message)
