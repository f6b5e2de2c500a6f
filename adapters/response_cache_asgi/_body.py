"""The body of a request, read ahead and then given to the app as if it had not been read."""

from __future__ import annotations

import anyio

from response_cache.errors import RequestTimeout
from response_cache_asgi._budget import Share
from response_cache_asgi._types import Message, Receive

__all__ = ("RequestBody",)


class RequestBody:
    """Messages of *receive* that were read ahead, and can be received once more."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._messages: list[Message] = []
        self.is_whole = False
        self.is_cut = False  # longer than the limit: the rest was not received

    @property
    def content(self) -> bytes:
        """The bytes that were read."""
        return b"".join(message.get("body", b"") for message in self._messages)

    async def read(self, share: Share, timeout: float) -> None:
        """Receive until the end of the body, its limit, or a disconnect.

        Raises:
            RequestTimeout: the next piece did not come within *timeout* seconds.
            Unavailable: all bodies that are being read are together larger than the budget.
        """
        size = 0
        with anyio.move_on_after(timeout) as pause:
            while True:
                message = await self._receive()
                self._messages.append(message)
                if message["type"] != "http.request":
                    return
                piece = len(message.get("body", b""))
                size += piece
                share.take(piece)
                self.is_cut = size > self._limit
                self.is_whole = not (self.is_cut or message.get("more_body", False))
                if self.is_whole or self.is_cut:
                    return
                pause.deadline = anyio.current_time() + timeout
        raise RequestTimeout("The body of the request did not come in time.")

    def replace(self, body: bytes) -> None:
        """Have *body* received instead of the bytes that were read."""
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Message:
        """The next message, as if nothing had been read before."""
        if self._messages:
            return self._messages.pop(0)
        return await self._receive()
