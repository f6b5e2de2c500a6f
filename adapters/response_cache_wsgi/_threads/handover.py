"""Queues between a thread and the event loop: in order, in batches, bounded.

A side takes everything that waits for it at once. So a slow side pays for one hop to the other
thread in a batch, not for one in a chunk. A side that puts waits while ``MAX_BUFFERED_BYTES`` are
not taken yet.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Final, Generic, TypeVar

from response_cache import UpstreamStopped

__all__ = ("ToLoop", "ToThread")

T = TypeVar("T")

MAX_BUFFERED_BYTES: Final = 1 << 18
MAX_JOINED_BYTES: Final = 1 << 16  # a longer backlog is taken chunk by chunk, without a copy
PART_OVERHEAD_BYTES: Final = 64  # added to the length of each part: small parts take memory, too


class ToLoop(Generic[T]):
    """From one thread to a task of the event loop that this is made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._changed = threading.Condition()
        self._parts: list[T] = []
        self._size = 0
        self._is_wanted = True
        self.has_ended = False

    # The thread's side.

    def put(self, part: T) -> None:
        """Hand over *part*; waits while the queue is full.

        Raises:
            UpstreamStopped: the other side takes nothing more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._size < MAX_BUFFERED_BYTES or not self._is_wanted)
            if not self._is_wanted:
                raise UpstreamStopped("the response was ended")
            self._parts.append(part)
            self._size += PART_OVERHEAD_BYTES + (len(part) if isinstance(part, bytes) else 0)
            is_news = len(self._parts) == 1
        if is_news:
            self._tell()

    def end(self) -> None:
        """Nothing more will come: the thread ends."""
        with self._changed:
            self.has_ended = True
        self._tell()

    def _tell(self) -> None:
        with suppress(
            RuntimeError
        ):  # the loop is closed: the process does not wait for this thread
            self._loop.call_soon_threadsafe(self._arrived.set)

    # The loop's side.

    async def take(self) -> list[T]:
        """All parts that wait, once there are some; an empty list at the end."""
        while True:
            with self._changed:
                parts, self._parts, self._size = self._parts, [], 0
                self._changed.notify()
                if parts or self.has_ended:
                    return parts
            await self._arrived.wait()
            self._arrived.clear()

    def refuse(self) -> None:
        """Take nothing more: the next ``put`` of the thread raises ``UpstreamStopped``."""
        with self._changed:
            self._is_wanted = False
            self._parts, self._size = [], 0
            self._changed.notify()

    async def ended(self) -> None:
        """Return when the thread has ended. For one task, after ``refuse``."""
        while not self.has_ended:
            await self._arrived.wait()
            self._arrived.clear()


class ToThread:
    """From a task of the event loop to one thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = asyncio.Event()
        self._changed = threading.Condition()
        self._chunks: list[bytes] = []
        self._size = 0
        self._error: BaseException | None = None
        self._has_ended = False

    # The loop's side.

    async def put(self, chunk: bytes) -> None:
        """Hand over *chunk*; waits while the queue is full."""
        with self._changed:
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._changed.notify()
        while self._size >= MAX_BUFFERED_BYTES:
            await self._room.wait()
            self._room.clear()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come, because of *error* if there is one. The first call counts."""
        with self._changed:
            if not self._has_ended:
                self._error = error
            self._has_ended = True
            self._changed.notify()

    # The thread's side.

    def take(self, within: float | None = None) -> bytes | None:
        """The bytes that wait, once there are some; ``b""`` at the end.

        Up to ``MAX_JOINED_BYTES`` are joined; of more, one chunk is taken, so that long chunks are
        not copied. None when nothing comes *within* seconds. Raises the error that the other side
        has ended with.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._chunks or self._has_ended, within):
                return None
            was_full = self._size >= MAX_BUFFERED_BYTES
            if self._size < MAX_JOINED_BYTES:
                chunks, self._chunks, self._size = self._chunks, [], 0
            else:
                chunks, self._chunks = self._chunks[:1], self._chunks[1:]
                self._size -= len(chunks[0])
        if was_full and self._size < MAX_BUFFERED_BYTES:
            with suppress(RuntimeError):  # the loop is closed, so nothing waits in it
                self._loop.call_soon_threadsafe(self._room.set)
        if not chunks and self._error is not None:
            raise self._error
        return b"".join(chunks)
