"""The body of a request on its way to the upstream, as the HTTP client reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx

from response_cache_server._asgi import Receive, until_disconnect
from response_cache_server._proxy.headers import Fields

__all__ = ("RequestBody",)


class RequestBody(httpx.AsyncByteStream):
    """What the client sends, chunk by chunk, and then its disconnect.

    An iterator and no generator: the HTTP client leaves it unfinished when the upstream answers
    early, and a generator would stay open then.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._next = b""
        self._more = True
        self._gone = False
        self._over = anyio.Event()

    async def begin(self) -> bool:
        """Wait for the first piece; False when the client disconnected instead."""
        await self._pull()
        return not self._gone

    def framing(self, length: bytes | None) -> Fields:
        """Fields that tell where the body ends; *length* is what the client announced."""
        if not self._more:
            known = bool(self._next) or length is not None
            return [(b"content-length", str(len(self._next)).encode())] if known else []
        if length is not None:
            return [(b"content-length", length)]
        return [(b"transfer-encoding", b"chunked")]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._next and self._more:
            await self._pull()
        if self._gone:
            self.end()
            await anyio.sleep_forever()  # until client_gone() ended the race
        if not self._next:
            self.end()
            raise StopAsyncIteration
        chunk, self._next = self._next, b""
        return chunk

    async def _pull(self) -> None:
        message = await self._receive()
        self._gone = message["type"] == "http.disconnect"
        self._next = message.get("body", b"")
        self._more = not self._gone and message.get("more_body", False)

    def end(self) -> None:
        """The body will not be read any further: from now on only the disconnect counts."""
        self._over.set()

    async def client_gone(self) -> None:
        """Return when the client has disconnected. Until the body was read, reading notices it."""
        await self._over.wait()
        if not self._gone:
            await until_disconnect(self._receive)
