"""The body of a reply that goes on: an iterable for a thread, fed by a task of the loop.

Where the stream does not end with the response, the iterable raises ``StreamBroken``, upon which
servers close the connection without the last chunk.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from typing import Final
from weakref import finalize

from response_cache.errors import StreamBroken
from response_cache.hosting import HostedCache, Streams
from response_cache.protocol.sse import KEEP_ALIVE
from response_cache_wsgi.threads.handover import ToThread
from response_cache_wsgi.threads.portal import Portal

__all__ = ("StreamBody",)

logger = logging.getLogger("response_cache.wsgi")

FIRST_BYTE_DELAY: Final = 0.1
"""Seconds after which a stream begins with a comment: servers send headers with the first byte."""


class StreamBody:
    """Each step gives all that has come since the last one. ``close`` stops the reading.

    Raises ``StreamBroken`` where the reply is broken off, or the loop ends before it.
    """

    def __init__(self, portal: Portal[HostedCache], chunks: AsyncGenerator[bytes]) -> None:
        """Read *chunks* in the portal's loop, a little ahead of the server's thread.

        The reading also stops when nobody holds this any more: some middleware forgets to close.

        Raises:
            Unavailable: the loop has ended.
        """
        self._handover = ToThread(portal.loop)
        self._first_wait: float | None = FIRST_BYTE_DELAY
        reading = portal.spawn(_read(chunks, self._handover, portal.hosted.streams))
        reading.add_done_callback(partial(_end, self._handover))
        self._stop = finalize(self, reading.cancel)
        self._stop.atexit = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        page = self._handover.take(self._first_wait)
        self._first_wait = None
        if page == b"":
            raise StopIteration
        return KEEP_ALIVE if page is None else page

    def close(self) -> None:
        """The client has gone, or has everything."""
        self._handover.end()
        self._stop()


async def _read(chunks: AsyncGenerator[bytes], handover: ToThread, streams: Streams) -> None:
    with streams.sending():
        async with aclosing(chunks):
            async for chunk in chunks:
                await handover.put(chunk)


def _end(handover: ToThread, reading: Future[None]) -> None:
    """However it ended, the server's thread must learn of it."""
    if reading.cancelled():  # the loop ends: what came is not the whole
        handover.end(StreamBroken.of("this process is shutting down"))
        return
    error = reading.exception()
    if isinstance(error, StreamBroken):
        logger.info("%s", error.strerror)  # of which most servers say nothing
    handover.end(error)
