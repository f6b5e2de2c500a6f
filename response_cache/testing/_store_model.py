"""A plain model of the store contract.

``StoreModel`` does each operation of ``response_cache.store`` with dictionaries and lists, in the
plainest way and at any cost. ``store_machine`` compares stores with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
)
from response_cache.store import (
    Append,
    Appended,
    Claim,
    Link,
    NewRecord,
    RecordView,
    Taken,
)

__all__ = ("ModelRecord", "StoreModel")


@dataclass(kw_only=True)
class ModelRecord:
    """Everything that a store knows about one response."""

    incarnation: str
    header: bytes
    request: bytes
    snapshot: bytes
    status: str
    events: list[bytes]
    snapshot_through: int
    epoch: int
    private: bytes
    ttl: float = 0.0
    lease: float = 0.0
    lease_ends: float = 0.0
    expires: float = 0.0
    log_expires: float = math.inf
    notes: bytes = b""
    token: str = ""
    closed: bool = False

    def claim(self, id: str) -> Claim:
        """The valid claim."""
        return Claim(id, self.incarnation, self.epoch, len(self.events))


class StoreModel:
    """The contract in dictionaries; the test moves ``now``. It has room for everything."""

    def __init__(self, tombstone_ttl: float) -> None:
        self.now: float = 0.0
        self.tombstone_ttl = tombstone_ttl
        self.records: dict[str, ModelRecord] = {}
        self.tombstones: dict[str, float] = {}

    def record(self, id: str) -> ModelRecord | None:
        """The record under *id*, unless it has expired."""
        record = self.records.get(id)
        if record is not None and self.now >= record.expires:
            del self.records[id]
            return None
        return record

    def is_deleted(self, id: str) -> bool:
        """Whether *id* has a tombstone."""
        return self.now < self.tombstones.get(id, -math.inf)

    def create(self, new: NewRecord, lease: float) -> Claim:
        """See ``Store.create``."""
        if self.is_deleted(new.id):
            raise Deleted(new.id)
        record = self.record(new.id)
        if record is None:
            record = self.records[new.id] = ModelRecord(
                incarnation=new.incarnation,
                header=new.header,
                request=new.request,
                snapshot=new.snapshot,
                status=new.status,
                events=list(new.events),
                snapshot_through=len(new.events) - 1,
                epoch=new.epoch,
                private=new.private,
            )
        if record.incarnation != new.incarnation:
            raise AlreadyExists(new.id)
        if record.epoch > new.epoch:
            raise Fenced(new.id)
        if not record.closed:
            record.epoch = new.epoch
            self._hold(record, lease, new.ttl)
        return record.claim(new.id)

    def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """See ``Store.append``."""
        record = self._held(claim)
        if not (append.token and append.token == record.token):
            _check_writable(record, claim)
            _write(record, append)
            if append.close:
                self._close(record, append)
        if not record.closed:
            self._hold(record, lease, append.ttl)
        return Appended(record.claim(claim.id))

    def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """See ``Store.take``."""
        record = self.record(id)
        if record is None:
            raise Missing(id)
        if record.closed or (only_orphaned and self._is_leased(record)):
            return Taken(None, self._view(id, record))
        record.epoch += raise_by
        self._hold(record, lease, record.ttl)
        return Taken(record.claim(id), self._view(id, record), record.private)

    def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        record = self.record(id)
        return None if record is None else self._view(id, record, after, limit)

    def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        record = self.record(id)
        return None if record is None else record.request

    def has_news(self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool) -> bool:
        """Whether ``Store.wait`` must return at once."""
        record = self.record(id)
        return (
            record is None
            or record.closed != closed
            or (record.epoch, record.incarnation) != (epoch, incarnation)
            or len(record.events) > after + 1
        )

    def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``."""
        record = self.record(id)
        if claim is None:
            self.tombstones[id] = self.now + self.tombstone_ttl
        elif record is None or record.closed or not _holds(claim, record):
            return False
        return self.records.pop(id, None) is not None

    def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """See ``Store.renew``."""
        return [self._renew(link, ttl) for link in links]

    def _renew(self, link: Link, ttl: float) -> bool:
        record = self.record(link.id)
        if record is None or record.incarnation != link.incarnation or not record.closed:
            return False
        if record.expires < self.now + ttl:
            record.expires = self.now + 1.5 * ttl
        return True

    def _held(self, claim: Claim) -> ModelRecord:
        if self.is_deleted(claim.id):
            raise Deleted(claim.id)
        record = self.record(claim.id)
        if record is None:
            raise Missing(claim.id)
        if not _holds(claim, record):
            raise Fenced(claim.id)
        return record

    def _is_leased(self, record: ModelRecord) -> bool:
        return self.now < record.lease_ends <= self.now + 2 * record.lease

    def _hold(self, record: ModelRecord, lease: float, ttl: float) -> None:
        record.ttl = ttl
        record.lease = lease
        record.lease_ends = self.now + lease
        record.expires = max(record.expires, self.now + ttl, self.now + 4 * lease)

    def _close(self, record: ModelRecord, append: Append) -> None:
        record.closed = True
        record.private = b""
        record.expires = record.log_expires = self.now + append.ttl
        if append.stream_ttl is not None and append.stream_ttl < append.ttl:
            record.log_expires = self.now + append.stream_ttl

    def _view(
        self, id: str, record: ModelRecord, after: int | None = None, limit: int | None = None
    ) -> RecordView:
        log_expired = self.now >= record.log_expires
        first = (record.snapshot_through if after is None else after) + 1
        events = () if log_expired else tuple(record.events[first:])
        return RecordView(
            id=id,
            incarnation=record.incarnation,
            epoch=record.epoch,
            status=record.status,
            header=record.header,
            notes=record.notes,
            snapshot=record.snapshot if after is None else None,
            snapshot_through=record.snapshot_through,
            first=first,
            events=events[:limit],
            tail=len(record.events),
            closed=record.closed,
            orphaned=not (record.closed or self._is_leased(record)),
            log_expired=log_expired,
        )


def _holds(claim: Claim, record: ModelRecord) -> bool:
    return (claim.incarnation, claim.epoch) == (record.incarnation, record.epoch)


def _write(record: ModelRecord, append: Append) -> None:
    if append.events:
        record.events += append.events
        record.token = append.token
    if append.snapshot is not None:
        record.snapshot = append.snapshot
        record.snapshot_through = len(record.events) - 1
    record.status = record.status if append.status is None else append.status
    record.notes = record.notes if append.notes is None else append.notes
    record.private = record.private if append.private is None else append.private


def _check_writable(record: ModelRecord, claim: Claim) -> None:
    if record.closed:
        raise Closed(claim.id)
    if claim.tail != len(record.events):
        raise SequenceGap(claim.id, tail=len(record.events))
