"""The body of a reply that goes on: an iterable for a thread, fed by a task of the loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Final

from response_cache.sse import KEEP_ALIVE
from response_cache_wsgi.handover import ToThread
from response_cache_wsgi.host import Hosted
from response_cache_wsgi.portal import Portal

__all__ = ("Pages",)

FIRST_PAGE: Final = 0.1
"""Seconds after which a stream begins with a comment: servers send headers with the first byte."""


class Pages:
    """Each step gives all that has come since the last one. ``close`` stops the reading."""

    def __init__(self, portal: Portal[Hosted], chunks: AsyncGenerator[bytes]) -> None:
        """Read *chunks* in the portal's loop, a little ahead of the server's thread.

        Raises:
            Unavailable: the loop has ended.
        """
        self._handover = ToThread(portal.loop)
        self._patience: float | None = FIRST_PAGE
        self._streams = portal.hosted.streams
        self._reading = portal.spawn(self._read(chunks))
        self._reading.add_done_callback(self._end)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        page = self._handover.take(self._patience)
        self._patience = None
        if page == b"":
            raise StopIteration
        return KEEP_ALIVE if page is None else page

    def close(self) -> None:
        """The client has gone, or has everything."""
        self._reading.cancel()

    async def _read(self, chunks: AsyncGenerator[bytes]) -> None:
        with self._streams.sending():
            async with aclosing(chunks):
                async for chunk in chunks:
                    await self._handover.put(chunk)

    def _end(self, reading: Future[None]) -> None:
        """However it ended, the server's thread must learn of it."""
        self._handover.end(None if reading.cancelled() else reading.exception())
