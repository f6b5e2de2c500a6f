"""Live tails: a response that is followed in this process is read once for all of its readers.

A tail holds the newest part of the log, one copy of the bytes. A reader has a position of its own.
It takes the events from there on out of the tail, and reads older events from the store. So a slow
reader delays no other reader. Late readers at the same position share one read of the store.

A stream ends in one of two ways. It returns when the log is complete and the reader has all of it.
In every other case it raises ``StreamBroken``, so that no client takes a part for the whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from weakref import WeakSet

import anyio
from cachetools import LRUCache

from response_cache._reading.reader import Reader
from response_cache.errors import StoreUnavailable, StreamBroken
from response_cache.options import Options
from response_cache.store import RecordView

__all__ = ("Tails",)

PAGE_EVENTS: Final = 1000  # events that one read of the store returns
TAIL_BYTES: Final = 1 << 20  # that a tail keeps for its readers
RECREATION_TIMEOUT: Final = 1.0  # seconds for a recorder to restore what a store has lost
RETRY_DELAY: Final = 0.5  # seconds until a store is asked again that did not answer

DELETED: Final = "the response was deleted, or the store has lost it"
EXPIRED: Final = "its events have expired"
SHORTER: Final = "the store has lost events that were delivered"
STOPPED: Final = "this process has stopped reading it"
SHUTTING_DOWN: Final = "this process is shutting down"


class Spawn(Protocol):
    """Runs a tail in the background, for as long as the process hosts responses."""

    def __call__(self, tail: Tail, /) -> None: ...


@dataclass(slots=True)
class _Stretch:
    """Some events of a log in a row."""

    chunk: bytes  # their frames, joined
    end: int  # the number after the last of them


class _Place:
    """Counts one open stream, which alone refers to it: also a stream that is never read ends."""

    __slots__ = ("__weakref__",)


class Tail:
    """The newest events of one response, for all of its readers in this process."""

    def __init__(self, view: RecordView, reader: Reader, options: Options) -> None:
        """Follow the log from the tail that *view* saw."""
        self._reader = reader
        self._options = options
        self._sizes = 0
        self._joined = (0, 0), b""  # the last result of since(), with its first and last number
        # By position: what was read last for readers that the tail has left behind. Often many of
        # them are at the same position.
        self.earlier = LRUCache[int, _Stretch](TAIL_BYTES, getsizeof=lambda it: len(it.chunk))
        self.id = view.id
        self.incarnation = view.incarnation
        self.readers = 0
        self.first = view.tail  # number of frames[0]
        self.frames: list[bytes] = []
        self.is_over = False  # nothing more will be added; readers still get what is here
        self.broken = ""  # why readers must go although the log is not complete; else empty
        self.changed = anyio.Event()
        self.scope = anyio.CancelScope()

    @property
    def end(self) -> int:
        """The number after the last frame."""
        return self.first + len(self.frames)

    def serves(self, view: RecordView) -> bool:
        """Whether a reader may continue after *view* here: the log grows, or is complete."""
        is_complete = view.closed and view.tail == self.end and view.incarnation == self.incarnation
        return is_complete and not self.broken if self.is_over else True

    def break_off(self, why: str) -> None:
        """End all streams with ``StreamBroken``; *why* is logged. Clients may resume elsewhere."""
        self.is_over, self.broken = True, why
        self._wake()

    async def view(self, after: int) -> RecordView | None:
        """The record that is followed, with its events above number *after*.

        None when the store does not have it, also after ``RECREATION_TIMEOUT``.
        """
        view = await self._reader.view(self.id, after=after, limit=PAGE_EVENTS)
        if view is None or view.incarnation != self.incarnation:
            return await self._restored(after) if self._reader.may_be_restored else None
        return view

    async def run(self) -> None:
        """Read page after page until the log is complete, or its record gone or created anew."""
        try:
            with self.scope:
                while not self.is_over:
                    try:
                        await self._turn()
                    except StoreUnavailable:
                        await anyio.sleep(RETRY_DELAY)
        finally:
            if not self.is_over:  # cancelled, or a fault of ours: no reader may wait further
                self.break_off(STOPPED)

    async def _turn(self) -> None:
        view = await self.view(self.end - 1)
        if view is None or view.log_expired or (view.closed and view.tail < self.end):
            self.break_off(_why(view))
            return
        self._add(view)
        if view.closed and view.tail <= self.end:
            self.is_over = True
            self._wake()
            return
        pause = self._options.orphan_confirmation / 2 if view.orphaned else self._options.lease
        with anyio.move_on_after(pause):
            if view.orphaned:
                await anyio.sleep_forever()
            await self._reader.change(view, after=self.end - 1)

    async def _restored(self, after: int) -> RecordView | None:
        """The same incarnation of the record, if it is restored in ``RECREATION_TIMEOUT``."""
        with anyio.move_on_after(RECREATION_TIMEOUT):
            while True:
                await anyio.sleep(RECREATION_TIMEOUT / 10)
                view = await self._reader.view(self.id, after=after, limit=PAGE_EVENTS)
                if view is not None:
                    return view if view.incarnation == self.incarnation else None
        return None

    def since(self, position: int) -> bytes:
        """The frames from number *position* on, joined; the same bytes for the same position."""
        stretch = position, self.end
        if stretch != self._joined[0]:
            self._joined = stretch, b"".join(self.frames[position - self.first :])
        return self._joined[1]

    def _add(self, view: RecordView) -> None:
        new = view.events[self.end - view.first :]
        if not new:
            return
        self.frames.extend(new)
        self._sizes += sum(map(len, new))
        if self._sizes > TAIL_BYTES:
            self._drop_old()
        self._wake()

    def _drop_old(self) -> None:
        """Drop the older half of the bytes, but never the last frame."""
        index = 0
        while self._sizes > TAIL_BYTES // 2 and index < len(self.frames) - 1:
            self._sizes -= len(self.frames[index])
            index += 1
        del self.frames[:index]
        self.first += index

    def _wake(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


def _kept(tail: Tail, position: int, view: RecordView) -> _Stretch:
    """The frames of *view*, which begin at *position*; kept for other readers that are there."""
    stretch = _Stretch(b"".join(view.events), position + len(view.events))
    if len(stretch.chunk) <= TAIL_BYTES:
        tail.earlier[position] = stretch
    return stretch


def _why(view: RecordView | None) -> str:
    """Why *view*, just read, has no further events."""
    if view is None:
        return DELETED
    return EXPIRED if view.log_expired else SHORTER


class Tails:
    """The tails of this process, one for each response that is followed."""

    def __init__(self, reader: Reader, options: Options, spawn: Spawn) -> None:
        self._reader = reader
        self._options = options
        self._spawn = spawn
        self._tails: dict[str, Tail] = {}
        self._places: WeakSet[_Place] = WeakSet()
        self._ended_but: Container[str] | None = None  # None: break_all was not called

    @property
    def followed(self) -> int:
        """How many responses are followed."""
        return len(self._tails)

    @property
    def open(self) -> int:
        """How many streams of ``follow`` have not ended yet."""
        return len(self._places)

    def break_all(self, *, but: Container[str] = ()) -> None:
        """Break all streams of logs that still grow, except for ids in *but*: the process ends.

        From then on, such a stream is broken when it begins, too: a slow reader may still be at
        its first page.
        """
        self._ended_but = but
        for tail in self._tails.values():
            if not tail.is_over and tail.id not in but:
                tail.break_off(SHUTTING_DOWN)

    async def settled(self) -> None:
        """Return when every log that is followed is complete or broken off."""
        for tail in tuple(self._tails.values()):
            while not tail.is_over:
                await tail.changed.wait()

    def follow(self, view: RecordView) -> AsyncGenerator[bytes]:
        """The frames of *view*, then all later frames until the response is over.

        Yields whole frames, as many as there are at a time, and ``b""`` after each ``keep_alive``
        seconds of silence.

        Raises:
            StreamBroken: the log has more events, but not from here: the response is deleted or
                lost, its events have expired, or the process ends.
        """
        place = _Place()
        self._places.add(place)
        return self._frames(view, place)

    async def _frames(self, view: RecordView, _place: _Place) -> AsyncGenerator[bytes]:
        position = view.first + len(view.events)
        if view.closed and view.tail <= position:
            if view.events:
                yield b"".join(view.events)
            return
        tail = self._enter(view)  # before the first yield, so that a drain waits for a slow reader
        try:
            if view.events:
                yield b"".join(view.events)
            while not tail.broken:
                chunk = b""
                if position < tail.first:
                    stretch = await self._catch_up(tail, position)
                    chunk, position = stretch.chunk, stretch.end
                elif position < tail.end:
                    chunk, position = tail.since(position), tail.end
                elif tail.is_over:
                    return
                else:
                    with anyio.move_on_after(self._options.keep_alive) as silence:
                        await tail.changed.wait()
                    if not silence.cancelled_caught:
                        continue
                yield chunk
            raise StreamBroken.of(tail.broken, id=tail.id)
        finally:
            self._leave(tail)

    async def _catch_up(self, tail: Tail, position: int) -> _Stretch:
        """The next frames from the store, for a reader whose position the tail has dropped."""
        while not tail.broken:
            if (known := tail.earlier.get(position)) is not None:
                return known
            with suppress(StoreUnavailable):
                view = await tail.view(position - 1)
                if view is not None and view.events:
                    return _kept(tail, position, view)
                if view is None or view.log_expired or view.closed:
                    raise StreamBroken.of(_why(view), id=tail.id)  # other readers may go on
            await anyio.sleep(RETRY_DELAY)  # no answer, or the recorder restores what is lost
        raise StreamBroken.of(tail.broken, id=tail.id)

    def _enter(self, view: RecordView) -> Tail:
        tail = self._tails.get(view.id)
        if tail is None or not tail.serves(view):
            tail = self._tails[view.id] = Tail(view, self._reader, self._options)
            if self._ended_but is not None and view.id not in self._ended_but:
                tail.break_off(SHUTTING_DOWN)
            else:
                self._spawn(tail)
        tail.readers += 1
        return tail

    def _leave(self, tail: Tail) -> None:
        tail.readers -= 1
        if tail.readers == 0:
            tail.scope.cancel()
            if self._tails.get(tail.id) is tail:
                del self._tails[tail.id]
