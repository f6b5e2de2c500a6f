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
from response_cache.store import Claim, RecordView, Taken

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
    ttl: float
    lease: float = 0.0
    lease_ends: float = 0.0
    expires: float = 0.0
    log_expires: float = math.inf
    epoch: int = 1
    notes: bytes = b""
    batch: str = ""
    closed: bool = False

    def claim(self, id: str) -> Claim:
        """The valid claim."""
        return Claim(id, self.incarnation, self.epoch, len(self.events))


class StoreModel:
    """The contract in dictionaries; ``now`` is moved by whoever tests."""

    def __init__(self, tombstone_ttl: float) -> None:
        self.now = 0.0
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

    def create(
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
        """See ``Store.create``."""
        if self.is_deleted(id):
            raise Deleted(id)
        record = self.record(id)
        if record is None:
            record = self.records[id] = ModelRecord(
                incarnation=incarnation,
                header=header,
                request=request,
                snapshot=snapshot,
                status=status,
                events=list(events),
                snapshot_through=len(events) - 1,
                ttl=ttl,
            )
        if record.incarnation != incarnation:
            raise AlreadyExists(id)
        if record.epoch > 1:
            raise Fenced(id)
        self._renew(record, lease, ttl)
        return record.claim(id)

    def append(
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
        """See ``Store.append``."""
        record = self._held(claim)
        if not (batch and batch == record.batch):
            _check_writable(record, claim)
            record.events += events
            record.batch = batch if events else record.batch
            record.status = record.status if status is None else status
            record.notes = record.notes if notes is None else notes
            if snapshot is not None:
                record.snapshot, record.snapshot_through = snapshot, len(record.events) - 1
            if close:
                self._close(record, ttl, stream_ttl)
        self._renew(record, lease, ttl)
        return record.claim(claim.id)

    def take(self, id: str, *, only_orphaned: bool = False, lease: float) -> Taken:
        """See ``Store.take``."""
        record = self.record(id)
        if record is None:
            raise Missing(id)
        if record.closed or (only_orphaned and self._is_leased(record)):
            return Taken(None, self._page(id, record))
        record.epoch += 1
        self._renew(record, lease, record.ttl)
        return Taken(record.claim(id), self._page(id, record))

    def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        record = self.record(id)
        return None if record is None else self._page(id, record, after, limit)

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

    def _renew(self, record: ModelRecord, lease: float, ttl: float) -> None:
        if not record.closed:
            record.ttl = ttl
            record.lease = lease
            record.lease_ends = self.now + lease
            record.expires = self.now + max(ttl, 4 * lease)

    def _close(self, record: ModelRecord, ttl: float, stream_ttl: float | None) -> None:
        record.closed = True
        record.expires = self.now + ttl
        record.log_expires = math.inf if stream_ttl is None else self.now + stream_ttl

    def _page(
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


def _check_writable(record: ModelRecord, claim: Claim) -> None:
    if record.closed:
        raise Closed(claim.id)
    if claim.tail != len(record.events):
        raise SequenceGap(claim.id, tail=len(record.events))
