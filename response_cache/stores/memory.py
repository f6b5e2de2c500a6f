"""Responses in the memory of one process: nothing to install, nothing to keep.

Open records stand in a plain table and are never evicted: a response that is being recorded is a
promise. Closed ones stand in a cache that forgets the least recently used to make room. When the
open ones alone fill the store, new responses are refused (``StoreFull``), and so are appends that
bring events; heartbeats and ends always go.

A record that expired is dropped when somebody asks for it, or when room is short; a task that
waits for it is woken then. No operation but ``wait`` gives way to other tasks: they return at
once, and a loop over them needs a checkpoint of its own.

Tables are guarded by a lock, so several threads may read and write. Waiting is for one event loop:
all tasks that wait, and all that write while one waits, must run in the same one.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio
from cachetools import TLRUCache, TTLCache

from response_cache.errors import StoreFull
from response_cache.store import (
    Append,
    Appended,
    Claim,
    Link,
    NewRecord,
    RecordView,
    Taken,
)
from response_cache.stores import _rules as rules

__all__ = ("MemoryStore",)

EVENT_OVERHEAD: Final = 48  # bytes that the interpreter adds to each event it holds
RECORD_OVERHEAD: Final = 1024  # the same for a record: its fields, its rows in the tables
MAX_TOMBSTONES: Final = 100_000  # about 20 MB; past it the oldest are forgotten before their time


def _weight(events: Sequence[bytes]) -> int:
    return sum(map(len, events)) + EVENT_OVERHEAD * len(events)


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for an event numbered above *after*, or for a greater change."""

    after: int
    woken: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True, eq=False)
class _Record:
    id: str
    incarnation: str
    epoch: int
    header: bytes
    request: bytes
    snapshot: bytes
    log: list[bytes]
    status: str
    private: bytes
    tail: int
    snapshot_through: int
    size: int  # bytes held, overhead included
    notes: bytes = b""
    token: str = ""  # of the last append that brought events
    closed: bool = False
    ttl: float = 0.0  # as last given; a take renews with it
    lease: float = 0.0
    lease_ends: float = 0.0
    expires: float = -math.inf
    log_expires: float = math.inf
    waiters: set[_Waiter] = field(default_factory=set)
    last_view: RecordView | None = None  # of a closed record, which is polled most

    @classmethod
    def of(cls, new: NewRecord) -> _Record:
        parts = len(new.header) + len(new.request) + len(new.snapshot) + len(new.private)
        return cls(
            id=new.id,
            incarnation=new.incarnation,
            epoch=new.epoch,
            header=new.header,
            request=new.request,
            snapshot=new.snapshot,
            log=list(new.events),
            status=new.status,
            private=new.private,
            tail=len(new.events),
            snapshot_through=len(new.events) - 1,
            size=RECORD_OVERHEAD + parts + _weight(new.events),
        )

    def claim(self) -> Claim:
        return Claim(self.id, self.incarnation, self.epoch, self.tail)

    def renew(self, now: float, *, lease: float, ttl: float) -> None:
        """Hold the lease, and put off the end of all that belongs to the record."""
        self.ttl = ttl
        self.lease = lease
        self.lease_ends = now + lease
        self.expires = rules.end_of_open(now, lease=lease, ttl=ttl, expires=self.expires)

    def growth(self, append: Append) -> int:
        """The bytes by which the record grows when it takes in *append*."""
        grown = _weight(append.events) if append.events else 0
        if append.snapshot is not None:
            grown += len(append.snapshot) - len(self.snapshot)
        if append.notes is not None:
            grown += len(append.notes) - len(self.notes)
        if append.private is not None:
            grown += len(append.private) - len(self.private)
        return grown

    def write(self, append: Append, growth: int) -> None:
        """Take in one append, by which the record grows so much."""
        self.size += growth
        if append.events:
            self.log.extend(append.events)
            self.tail += len(append.events)
            self.token = append.token
        if append.snapshot is not None:
            self.snapshot = append.snapshot
            self.snapshot_through = self.tail - 1
        if append.status is not None:
            self.status = append.status
        if append.notes is not None:
            self.notes = append.notes
        if append.private is not None:
            self.private = append.private

    def close(self, now: float, *, ttl: float, stream_ttl: float | None) -> None:
        self.closed = True
        self.expires = now + ttl
        self.log_expires = rules.end_of_log(now, ttl=ttl, stream_ttl=stream_ttl)
        self.size -= len(self.private)
        self.private = b""

    def closed_view(self, now: float) -> RecordView:
        """The whole view of a record that changes no more, but for the end of its log."""
        view = self.last_view
        if view is None or view.log_expired != (now >= self.log_expires):
            view = self.last_view = self.view(now)
        return view

    def drop_log(self) -> None:
        self.size -= _weight(self.log)
        self.log = []

    def view(self, now: float, *, after: int | None = None, limit: int | None = None) -> RecordView:
        first = self.snapshot_through + 1 if after is None else max(after, -1) + 1
        end = None if limit is None else first + limit
        return RecordView(
            id=self.id,
            incarnation=self.incarnation,
            epoch=self.epoch,
            status=self.status,
            header=self.header,
            notes=self.notes,
            snapshot=self.snapshot if after is None else None,
            snapshot_through=self.snapshot_through,
            first=first,
            events=self.log[first:end],
            tail=self.tail,
            closed=self.closed,
            orphaned=not self.closed and rules.is_orphaned(self, now),
            log_expired=now >= self.log_expires,
        )

    def wake_readers(self) -> None:
        """Wake the readers whose next event is there; recorders wait for none and sleep on."""
        for waiter in self.waiters:
            if self.tail > waiter.after + 1:
                waiter.woken.set()

    def wake_all(self) -> None:
        for waiter in self.waiters:
            waiter.woken.set()


class MemoryStore:
    """A ``Store`` in the memory of this process, bounded in bytes and in number of responses."""

    def __init__(
        self,
        *,
        max_bytes: int = 256 * 2**20,
        max_responses: int = 10_000,
        tombstone_ttl: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*max_bytes* counts all that is held, with the interpreter's own overhead estimated.

        *clock* gives seconds; leases and expiry are judged by it.

        Raises:
            ValueError: a bound is not positive.
        """
        if not (max_bytes > 0 and max_responses > 0 and tombstone_ttl > 0):
            raise ValueError("max_bytes, max_responses and tombstone_ttl must be positive")
        self.flush_interval: float = 0.0
        self.may_lose_writes = False
        self.id_tag: str = secrets.token_hex(4)  # tells the ids of several processes apart
        self.tombstone_ttl = tombstone_ttl
        self._max_bytes = max_bytes
        self._max_responses = max_responses
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, _Record] = {}
        self._open_bytes = 0
        # Without a bound of its own: the bytes that open records leave to it change all the time.
        self._closed = TLRUCache[str, _Record, float](
            math.inf, lambda _id, record, _now: record.expires, clock, lambda record: record.size
        )
        self._tombstones = TTLCache[str, None, float](MAX_TOMBSTONES, tombstone_ttl, clock)

    async def open(self) -> None:
        """There is nothing to open."""

    async def aclose(self) -> None:
        """There is nothing to close; what is stored stays until the object goes."""

    async def create(self, new: NewRecord, lease: float) -> Claim:
        """See ``Store.create``."""
        with self._lock:
            now = self._clock()
            if new.id in self._tombstones:
                raise rules.absence(new.id, "create", is_deleted=True)
            record = self._find(new.id, now)
            if record is None:
                record = _Record.of(new)
                self._admit(record, now)
            elif record.epoch != (epoch := rules.epoch_of_repeated(new, record)):
                record.epoch = epoch
                record.wake_all()
            if not record.closed:
                record.renew(now, lease=lease, ttl=new.ttl)
            return record.claim()

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """See ``Store.append``. A repeated append renews the lease, as a heartbeat does."""
        rules.require_token(append)
        with self._lock:
            now = self._clock()
            record = self._find(claim.id, now)
            if record is None:
                is_deleted = claim.id in self._tombstones
                raise rules.absence(claim.id, "append to", is_deleted=is_deleted)
            if not rules.is_repeated(claim, append, record):
                self._write(record, append, now)
            if not record.closed:
                record.renew(now, lease=lease, ttl=append.ttl)
            return Appended(record.claim())

    async def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        with self._lock:
            now = self._clock()
            record = self._find(id, now)
            if record is None:
                raise rules.absence(id, "take", is_deleted=False)
            if not rules.may_take(record, now, only_orphaned=only_orphaned):
                return Taken(None, record.view(now))
            record.epoch += raise_by
            record.renew(now, lease=lease, ttl=record.ttl)
            record.wake_all()
            return Taken(record.claim(), record.view(now), record.private)

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        with self._lock:
            now = self._clock()
            record = self._find(id, now)
            if record is None:
                return None
            if record.closed and after is None and limit is None:
                return record.closed_view(now)
            return record.view(now, after=after, limit=limit)

    async def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        with self._lock:
            record = self._find(id, self._clock())
            return None if record is None else record.request

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """See ``Store.wait``."""
        with self._lock:
            record = self._find(id, self._clock())
            if record is None or rules.has_news(
                record, after=after, epoch=epoch, incarnation=incarnation, closed=closed
            ):
                return
            waiter = _Waiter(after)
            record.waiters.add(waiter)
        try:
            await waiter.woken.wait()
        finally:
            with self._lock:
                record.waiters.discard(waiter)

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``. Without *claim* it leaves a tombstone also where nothing was."""
        with self._lock:
            record = self._find(id, self._clock())
            if claim is None:
                self._tombstones[id] = None
            elif not rules.may_withdraw(id, claim, record):
                return False
            if record is None:
                return False
            self._drop(record)
            return True

    async def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """See ``Store.renew``."""
        with self._lock:
            now = self._clock()
            return [self._renew(link, now, ttl) for link in links]

    def _renew(self, link: Link, now: float, ttl: float) -> bool:
        record = self._find(link.id, now)
        if record is None or not rules.is_linked(link, record):
            return False
        expires = rules.end_of_renewed(now, ttl=ttl, expires=record.expires)
        if expires != record.expires:
            record.expires = expires
            self._closed[link.id] = record  # timed again
        return True

    def _find(self, id: str, now: float) -> _Record | None:
        """The record, if it has not expired; an expired one is given up on the way."""
        record = self._open.get(id)
        if record is None:
            return self._find_closed(id, now)
        if now >= record.expires:
            self._drop(record)
            return None
        return record

    def _find_closed(self, id: str, now: float) -> _Record | None:
        try:
            record = self._closed[id]
        except KeyError:  # "get" would look twice
            return None
        if record.log and now >= record.log_expires:
            record.drop_log()
            self._closed[id] = record  # weighed again
        return record

    def _admit(self, record: _Record, now: float) -> None:
        """Let a new record in, at the cost of closed ones."""
        if self._is_full_for(record):
            self._drop_expired(now)
        if self._is_full_for(record):
            raise StoreFull(
                f"cannot create {record.id}: {len(self._open)} open responses hold"
                f" {self._open_bytes} bytes"
            )
        self._open[record.id] = record
        self._open_bytes += record.size
        self._evict()

    def _is_full_for(self, record: _Record) -> bool:
        return len(self._open) >= self._max_responses or not self._has_room(record.size)

    def _has_room(self, size: int) -> bool:
        """Whether open records may hold *size* bytes more."""
        return self._open_bytes + size <= self._max_bytes

    def _write(self, record: _Record, append: Append, now: float) -> None:
        """Let an append in that is the next one, and end the record where it says so."""
        growth = record.growth(append)
        if not self._has_room(growth) and rules.needs_room(append):
            self._drop_expired(now)
            if not self._has_room(growth):
                raise StoreFull(
                    f"cannot append to {record.id}: {len(self._open)} open responses hold"
                    f" {self._open_bytes} bytes"
                )
        record.write(append, growth)
        self._open_bytes += growth
        self._evict()
        if append.close:
            self._close(record, now, append)
        elif append.events:
            record.wake_readers()

    def _drop_expired(self, now: float) -> None:
        """Give up records that nobody asked for since they expired; only when room is short."""
        for record in [record for record in self._open.values() if now >= record.expires]:
            self._drop(record)

    def _evict(self) -> None:
        """Forget closed records, least recently used first, until all that is held fits."""
        with self._closed.timer:  # time stands still, so that nothing expires between look and pop
            while self._closed and self._is_over():
                self._closed.popitem()

    def _is_over(self) -> bool:
        return (
            self._open_bytes + self._closed.currsize > self._max_bytes
            or len(self._open) + len(self._closed) > self._max_responses
        )

    def _close(self, record: _Record, now: float, append: Append) -> None:
        """Move a record to the closed ones; evicting comes before, so it is not evicted itself."""
        del self._open[record.id]
        self._open_bytes -= record.size
        record.close(now, ttl=append.ttl, stream_ttl=append.stream_ttl)
        self._closed[record.id] = record
        record.wake_all()

    def _drop(self, record: _Record) -> None:
        if self._open.pop(record.id, None) is None:
            self._closed.pop(record.id, None)
        else:
            self._open_bytes -= record.size
        record.wake_all()
