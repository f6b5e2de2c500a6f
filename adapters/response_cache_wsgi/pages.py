"""The body of a reply that goes on: an iterable for a thread, fed by a task of the loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import anyio

from response_cache_wsgi.handover import ToThread
from response_cache_wsgi.host import Hosted
from response_cache_wsgi.portal import Portal

__all__ = ("Pages",)


class Pages:
    """Each step gives all that has come since the last one. ``close`` stops the reading."""

    def __init__(self, portal: Portal[Hosted], chunks: AsyncGenerator[bytes]) -> None:
        """Read *chunks* in the portal's loop, a little ahead of the server's thread."""
        self._portal = portal
        self._chunks = chunks
        self._handover = ToThread(portal.loop)
        self._scope: anyio.CancelScope | None = None
        self._is_closed = False
        portal.soon(portal.hosted.tasks.start_soon, self._read)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        page = b"" if self._is_closed else self._handover.take()
        if not page:
            raise StopIteration
        return page

    def close(self) -> None:
        """The client has gone, or has everything."""
        self._is_closed = True
        self._portal.soon(self._stop)

    def _stop(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def _read(self) -> None:
        failure: Exception | None = None
        try:
            with anyio.CancelScope() as self._scope, self._portal.hosted.streams.sending():
                async with aclosing(self._chunks):
                    await self._hand_over()
        except Exception as error:  # noqa: BLE001 - raised in the server's thread
            failure = error
        finally:
            self._handover.end(failure)

    async def _hand_over(self) -> None:
        if not self._is_closed:
            async for chunk in self._chunks:
                await self._handover.put(chunk)
