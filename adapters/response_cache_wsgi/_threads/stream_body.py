"""The body of a streamed reply: an iterable for a server's thread, fed by a task of the event loop.

When the stream is broken off, the iterable raises ``StreamBroken``. Servers then close the
connection without the last chunk, so that the client sees an error.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from functools import partial
from typing import Final
from weakref import finalize

from response_cache._hosting import HostedCache, Streams
from response_cache._protocol.sse import KEEP_ALIVE
from response_cache.errors import StreamBroken
from response_cache_wsgi._threads.handover import ToThread
from response_cache_wsgi._threads.portal import Portal

__all__ = ("StreamBody",)

logger = logging.getLogger("response_cache.wsgi")

FIRST_BYTE_DELAY: Final = 0.1
"""Seconds without an event after which a stream begins with a comment. The client waits for the
headers, which servers send with the first byte of the body."""


class StreamBody:
    """Each step gives all bytes that have come since the last one. ``close`` stops the reading.

    Raises ``StreamBroken`` when the reply is broken off, or the event loop ends before it.
    """

    def __init__(self, portal: Portal[HostedCache], chunks: AsyncGenerator[bytes]) -> None:
        """Read *chunks* in the portal's event loop, a little ahead of the server's thread.

        The reading also stops when this object is freed: some middleware forgets to close it.

        Raises:
            Unavailable: the event loop has ended.
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
        """Stop reading: the client has disconnected, or has everything."""
        self._handover.end()
        self._stop()


async def _read(chunks: AsyncGenerator[bytes], handover: ToThread, streams: Streams) -> None:
    with streams.sending():
        async with aclosing(chunks):
            async for chunk in chunks:
                await handover.put(chunk)


def _end(handover: ToThread, reading: Future[None]) -> None:
    """Tell the server's thread that the *reading* has ended, and how."""
    if reading.cancelled():  # the event loop ends before the stream
        handover.end(StreamBroken.of("this process is shutting down"))
        return
    error = reading.exception()
    if isinstance(error, StreamBroken):
        logger.info("%s", error.strerror)  # most servers do not log it
    handover.end(error)
