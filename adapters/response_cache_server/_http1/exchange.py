"""One request and its answer, as an ASGI app sees them: a scope, ``receive`` and ``send``.

An exchange is *over* when the last byte of the answer was written, or the client has disconnected.
An answer is *broken off* when the app returns or raises before that: the client must not take it
for a whole one, so the connection is broken.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from response_cache_server._asgi import App, Message, Scope
from response_cache_server._http1.framing import End, Framing, Headers, frame
from response_cache_server._http1.limits import HIGH_WATER_BYTES

__all__ = ("Carrier", "Exchange")

logger = logging.getLogger("response_cache_server.http1.exchange")

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    congestion: asyncio.Event | None
    """Set as soon as the client has taken enough of what was written; None while it has."""

    @property
    def default_headers(self) -> Headers:
        """The header fields of every answer."""

    def write(self, data: bytes, /) -> None:
        """Write *data* after what was written before."""

    def body_is_awaited(self) -> None:
        """The app now waits for a piece of the body."""

    def answer_begins(self, exchange: Exchange, status: int, end: End) -> None:
        """The head of an answer is about to be written; *end* tells where its body ends."""

    def answer_ends(self, exchange: Exchange) -> None:
        """The last byte of an answer was written."""

    def app_is_through(self, exchange: Exchange) -> None:
        """The app has returned or raised."""


class Exchange:
    """Carries one call of *app* over a connection."""

    __slots__ = (
        "_carrier",
        "_framing",
        "_is_read",
        "_news",
        "_pieces",
        "app",
        "buffered",
        "expects_continue",
        "is_over",
        "is_whole",
        "keeps_alive",
        "scope",
    )

    def __init__(
        self,
        carrier: Carrier,
        app: App,
        scope: Scope,
        *,
        keeps_alive: bool = False,
        expects_continue: bool = False,
    ) -> None:
        self._carrier = carrier
        self.app = app
        self.scope = scope
        self.keeps_alive = keeps_alive  # whether the connection may serve another request
        self.expects_continue = expects_continue
        self.is_whole = False  # the request was read to its end
        self.is_over = False
        self.buffered = 0  # bytes of the body that wait for the app
        self._pieces: list[bytes] = []
        self._is_read = False  # by the app, to its end
        self._framing: Framing | None = None
        self._news: asyncio.Event | None = None

    async def run(self) -> None:
        """Call the app. What it raises is logged, and breaks its answer off."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except Exception:
            logger.exception("the app failed to answer")
        finally:
            self._carrier.app_is_through(self)

    @property
    def is_begun(self) -> bool:
        """Whether the head of the answer was written."""
        return self._framing is not None

    @property
    def is_too_full(self) -> bool:
        """Whether more of the body waits for the app than should."""
        return self.buffered > HIGH_WATER_BYTES

    # Called by the connection.

    def body_comes(self, piece: bytes) -> None:
        """Keep *piece* until the app asks for it."""
        if not self.is_over:
            self._pieces.append(piece)
            self.buffered += len(piece)
            self._tell()

    def request_ends(self) -> None:
        """There is no more of the body."""
        self.is_whole = True
        self._tell()

    def leave(self) -> None:
        """The exchange is over: no more of the answer is written."""
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    # Called by the app.

    async def receive(self) -> Message:
        """A piece of the body; a disconnect once the exchange is over."""
        while not (self.is_over or self._pieces or self._has_unread_end):
            await self._wait()
        if self.is_over:
            return {"type": "http.disconnect"}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.buffered = 0
        self._is_read = self.is_whole
        return {"type": "http.request", "body": body, "more_body": not self.is_whole}

    @property
    def _has_unread_end(self) -> bool:
        return self.is_whole and not self._is_read

    async def _wait(self) -> None:
        if not self.is_whole:
            if self.expects_continue and self._framing is None:
                self._carrier.write(CONTINUE)
            self.expects_continue = False
            self._carrier.body_is_awaited()
        if self._news is None:
            self._news = asyncio.Event()
        self._news.clear()
        await self._news.wait()

    async def send(self, message: Message) -> None:
        """Write a part of the answer, as soon as the client has taken enough of the parts before.

        Raises:
            RuntimeError: such a part may not come now. Nothing of it was written.
        """
        if self._carrier.congestion is not None:
            await self._carrier.congestion.wait()
        if self.is_over:
            return
        if self._framing is None:
            self._begin(message)
            return
        if message["type"] != "http.response.body":
            raise RuntimeError(f"{message['type']} was sent in the middle of an answer.")
        more = message.get("more_body", False)
        self._carrier.write(self._framing.body(message.get("body", b""), more=more))
        if not more:
            self.leave()
            self._carrier.answer_ends(self)

    def _begin(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError(f"{message['type']} was sent before the answer began.")
        framing = frame(
            message["status"],
            [*self._carrier.default_headers, *message.get("headers", ())],
            method=self.scope["method"],
            version=self.scope["http_version"],
            # A request that is answered before its end is not read to its end.
            keeps_alive=self.keeps_alive and self.is_whole,
        )
        self._framing = framing
        self.keeps_alive = framing.keeps_alive
        self._carrier.answer_begins(self, message["status"], framing.end)
        self._carrier.write(framing.head)
