"""Responses in the memory of one process: nothing to install, nothing to keep.

Open records stand in a plain table and are never evicted: a response that is being recorded is a
promise. Closed ones stand in a cache that forgets the least recently used to make room. When the
open ones alone fill the store, new responses are refused (``StoreFull``); appends to open ones
never are, so what one response may hold is bounded by its writer (``max_response_bytes``).

A record that expired is dropped when somebody asks for it, or when room is short; whoever waits
for it is woken then. No operation but ``wait`` gives way to other tasks: they return at once, and
a loop over them needs a checkpoint of its own.

Tables are guarded by a lock, so several threads may read and write. Waiting is for one event loop:
all that wait, and all that write while somebody waits, must run in the same one.
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

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreFull,
)
from response_cache.store import Claim, RecordView, Taken

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
    header: bytes
    request: bytes
    snapshot: bytes
    log: list[bytes]
    status: str
    tail: int
    snapshot_through: int
    size: int  # bytes held, overhead included
    epoch: int = 1
    notes: bytes = b""
    batch: str = ""  # token of the last append that brought events
    closed: bool = False
    ttl: float = 0.0  # as last given; a take renews with it
    lease: float = 0.0
    lease_ends: float = 0.0
    expires: float = 0.0
    log_expires: float = math.inf
    waiters: set[_Waiter] = field(default_factory=set)
    last_view: RecordView | None = None  # of a closed record, which is polled most

    def claim(self) -> Claim:
        return Claim(self.id, self.incarnation, self.epoch, self.tail)

    def is_held_by(self, claim: Claim) -> bool:
        return self.epoch == claim.epoch and self.incarnation == claim.incarnation

    def is_leased(self, now: float) -> bool:
        return now < self.lease_ends <= now + 2 * self.lease

    def renew(self, now: float, *, lease: float, ttl: float) -> None:
        """Hold the lease, and put off the expiry of all that belongs to the record."""
        self.ttl = ttl
        self.lease = lease
        self.lease_ends = now + lease
        self.expires = now + max(ttl, 4 * lease)

    def write(
        self,
        events: Sequence[bytes],
        batch: str,
        snapshot: bytes | None,
        status: str | None,
        notes: bytes | None,
    ) -> int:
        """Take in one append; return the bytes by which the record grew."""
        size = self.size
        if events:
            self.log.extend(events)
            self.tail += len(events)
            self.batch = batch
            self.size += _weight(events)
        if snapshot is not None:
            self.size += len(snapshot) - len(self.snapshot)
            self.snapshot = snapshot
            self.snapshot_through = self.tail - 1
        if notes is not None:
            self.size += len(notes) - len(self.notes)
            self.notes = notes
        if status is not None:
            self.status = status
        return self.size - size

    def close(self, now: float, *, ttl: float, stream_ttl: float | None) -> None:
        self.closed = True
        self.expires = now + ttl
        if stream_ttl is not None:
            self.log_expires = now + stream_ttl

    def closed_view(self, now: float) -> RecordView:
        """The whole page of a record that changes no more, but for its log's expiry."""
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
            orphaned=not (self.closed or self.is_leased(now)),
            log_expired=now >= self.log_expires,
        )

    def has_news(self, *, after: int, epoch: int, incarnation: str, closed: bool) -> bool:
        return (
            self.tail > after + 1
            or self.closed != closed
            or self.epoch != epoch
            or self.incarnation != incarnation
        )

    def wake_readers(self) -> None:
        """Wake who waits for an event that is now there; recorders wait for none and sleep on."""
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
        self.flush_interval = 0.0
        self.may_lose_writes = False
        self.id_tag = secrets.token_hex(4)  # tells the ids of several processes apart
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

    async def create(
        self,
        id: str,
        *,
        incarnation: str,
        header: bytes,
        request: bytes,
        snapshot: bytes,
        events: Sequence[bytes],
        status: str,
        lease: float,
        ttl: float,
    ) -> Claim:
        """See ``Store.create``. The repeat of a create that is still open renews its lease."""
        with self._lock:
            now = self._clock()
            if id in self._tombstones:
                raise Deleted(f"cannot create {id}: it was deleted")
            record = self._find(id, now)
            if record is None:
                record = _Record(
                    id=id,
                    incarnation=incarnation,
                    header=header,
                    request=request,
                    snapshot=snapshot,
                    log=list(events),
                    status=status,
                    tail=len(events),
                    snapshot_through=len(events) - 1,
                    size=RECORD_OVERHEAD
                    + len(header)
                    + len(request)
                    + len(snapshot)
                    + _weight(events),
                )
                self._admit(record, now)
            else:
                _check_repeated(record, incarnation)
            if not record.closed:
                record.renew(now, lease=lease, ttl=ttl)
            return record.claim()

    async def append(
        self,
        claim: Claim,
        events: Sequence[bytes],
        *,
        batch: str = "",
        close: bool = False,
        snapshot: bytes | None = None,
        status: str | None = None,
        notes: bytes | None = None,
        lease: float,
        ttl: float,
        stream_ttl: float | None = None,
    ) -> Claim:
        """See ``Store.append``. A repeated batch renews the lease, as a heartbeat does.

        Raises:
            ValueError: there are events and no *batch*.
        """
        if events and not batch:
            raise ValueError("an append that brings events needs a batch token")
        with self._lock:
            now = self._clock()
            record = self._held(claim, now)
            repeated = bool(batch) and batch == record.batch
            if not repeated:
                _check_writable(record, claim)
                self._open_bytes += record.write(events, batch, snapshot, status, notes)
                self._evict()
                if close:
                    self._close(record, now, ttl=ttl, stream_ttl=stream_ttl)
                elif events:
                    record.wake_readers()
            if not record.closed:
                record.renew(now, lease=lease, ttl=ttl)
            return record.claim()

    async def take(self, id: str, *, only_orphaned: bool = False, lease: float) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        with self._lock:
            now = self._clock()
            record = self._find(id, now)
            if record is None:
                raise Missing(f"cannot take {id}: there is no such record")
            if record.closed or (only_orphaned and record.is_leased(now)):
                return Taken(None, record.view(now))
            record.epoch += 1
            record.renew(now, lease=lease, ttl=record.ttl)
            record.wake_all()
            return Taken(record.claim(), record.view(now))

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
            if record is None or record.has_news(
                after=after, epoch=epoch, incarnation=incarnation, closed=closed
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
            elif record is None or record.closed or id != claim.id or not record.is_held_by(claim):
                return False
            if record is None:
                return False
            self._drop(record)
            return True

    def _find(self, id: str, now: float) -> _Record | None:
        """The record, if it has not expired; what has is given up on the way."""
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

    def _held(self, claim: Claim, now: float) -> _Record:
        """The record that *claim* may write to, closed or not."""
        record = self._find(claim.id, now)
        if record is None:
            if claim.id in self._tombstones:
                raise Deleted(f"cannot append to {claim.id}: it was deleted")
            raise Missing(f"cannot append to {claim.id}: there is no such record")
        if not record.is_held_by(claim):
            raise Fenced(
                f"cannot append to {claim.id} at epoch {claim.epoch}: it was taken at epoch"
                f" {record.epoch} or created anew"
            )
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
        return (
            len(self._open) >= self._max_responses
            or self._open_bytes + record.size > self._max_bytes
        )

    def _drop_expired(self, now: float) -> None:
        """Give up what nobody has asked for since it expired; only when room is short."""
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

    def _close(self, record: _Record, now: float, *, ttl: float, stream_ttl: float | None) -> None:
        """Move a record to the closed ones; evicting comes before, so it is not evicted itself."""
        record.close(now, ttl=ttl, stream_ttl=stream_ttl)
        del self._open[record.id]
        self._open_bytes -= record.size
        self._closed[record.id] = record
        record.wake_all()

    def _drop(self, record: _Record) -> None:
        if self._open.pop(record.id, None) is None:
            self._closed.pop(record.id, None)
        else:
            self._open_bytes -= record.size
        record.wake_all()


def _check_repeated(record: _Record, incarnation: str) -> None:
    """Raise unless a create of *incarnation* is the repeat of the one that made the record."""
    if record.incarnation != incarnation:
        raise AlreadyExists(f"cannot create {record.id}: it exists")
    if record.epoch != 1:
        raise Fenced(f"cannot create {record.id} again: it was taken at epoch {record.epoch}")


def _check_writable(record: _Record, claim: Claim) -> None:
    if record.closed:
        raise Closed(f"cannot append to {record.id}: it is closed")
    if claim.tail != record.tail:
        raise SequenceGap(
            f"cannot append to {record.id} at {claim.tail}: its tail is {record.tail}",
            tail=record.tail,
        )
