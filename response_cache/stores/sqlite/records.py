"""The operations of the store contract as SQL, inside a transaction that ``Session`` has begun.

All checks of an operation come before its first write, so a refusal changes nothing and the
transaction can go on with the next operation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
)
from response_cache.log.batches import unpack
from response_cache.store import Claim, RecordView, Taken
from response_cache.stores.sqlite.rows import Batch, Row, State

__all__ = ("Records",)


COLUMNS: Final = ", ".join(Row._fields)

FIND: Final = f"SELECT {COLUMNS} FROM record WHERE id = ? AND expires > ?"  # noqa: S608 - our own
STATES: Final = """
    SELECT id, incarnation, epoch, tail, closed FROM record
    WHERE id IN (SELECT value FROM json_each(?)) AND expires > ?
"""
INSERT: Final = f"""
    INSERT INTO record ({COLUMNS}) VALUES ({", ".join(f":{name}" for name in Row._fields)})
"""  # noqa: S608 - our own
UPDATE: Final = """
    UPDATE record SET epoch = :epoch, status = :status, notes = :notes, batch = :batch,
        tail = :tail, through = :through, closed = :closed, ttl = :ttl,
        lease = :lease, lease_ends = :lease_ends, expires = :expires, log_expires = :log_expires
    WHERE key = :key
"""
REQUEST: Final = """
    SELECT body FROM request JOIN record ON record.key = request.record
    WHERE record.id = ? AND record.expires > ?
"""
SET_SNAPSHOT: Final = "INSERT OR REPLACE INTO snapshot (record, body) VALUES (?, ?)"
SET_REQUEST: Final = "INSERT INTO request (record, body) VALUES (?, ?)"
ADD_BATCH: Final = "INSERT INTO log (record, last, events) VALUES (?, ?, ?)"
BATCHES: Final = "SELECT last, events FROM log WHERE record = ? AND last >= ? ORDER BY last"
SNAPSHOT: Final = "SELECT body FROM snapshot WHERE record = ?"
TOMBSTONE: Final = "SELECT 1 FROM tombstone WHERE id = ? AND expires > ?"
SET_TOMBSTONE: Final = "INSERT OR REPLACE INTO tombstone (id, expires) VALUES (?, ?)"


class Records:
    """All records as one transaction sees them, at one instant of the store's clock."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self.connection = connection
        self.now = now

    def create(
        self,
        id: str,
        batch: Batch,
        *,
        incarnation: str,
        header: bytes,
        request: bytes,
        snapshot: bytes,
        status: str,
        lease: float,
        ttl: float,
    ) -> Claim:
        """See ``Store.create``. The repeat of a create that is still open renews its lease."""
        self._refuse_deleted(id, "create")
        row = self.find(id)
        if row is not None:
            _check_repeated(row, incarnation)
            row = row.renewed(self.now, lease=lease, ttl=ttl)
            self._update(row)
            return row.claim()
        self.erase(id)  # an expired record that was not swept yet
        row = Row(
            key=self._next_key(),
            id=id,
            incarnation=incarnation,
            epoch=1,
            status=status,
            header=header,
            notes=b"",
            batch="",
            tail=batch.length,
            through=batch.length - 1,
            closed=False,
            ttl=0.0,
            lease=0.0,
            lease_ends=0.0,
            expires=0.0,
            log_expires=None,
        ).renewed(self.now, lease=lease, ttl=ttl)
        self.connection.execute(INSERT, row._asdict())
        self.connection.execute(SET_REQUEST, (row.key, request))
        self.connection.execute(SET_SNAPSHOT, (row.key, snapshot))
        self._add(row, batch)
        return row.claim()

    def append(
        self,
        claim: Claim,
        batch: Batch,
        *,
        close: bool,
        snapshot: bytes | None,
        status: str | None,
        notes: bytes | None,
        lease: float,
        ttl: float,
        stream_ttl: float | None,
    ) -> Claim:
        """See ``Store.append``. A repeated batch renews the lease, as a heartbeat does."""
        row = self._held(claim)
        if not (batch.token and batch.token == row.batch):
            _check_writable(row, claim)
            row = self._written(row, batch, snapshot, status, notes)
            if close:
                row = self._closed(row, ttl, stream_ttl)
        row = row.renewed(self.now, lease=lease, ttl=ttl)
        self._update(row)
        return row.claim()

    def take(self, id: str, *, only_orphaned: bool, lease: float) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        row = self.find(id)
        if row is None:
            raise Missing(f"cannot take {id}: there is no such record")
        if row.closed or (only_orphaned and not row.is_orphaned(self.now)):
            return Taken(None, self._view(row, None, None))
        row = row._replace(epoch=row.epoch + 1).renewed(self.now, lease=lease, ttl=row.ttl)
        self._update(row)
        return Taken(row.claim(), self._view(row, None, None))

    def read(self, id: str, after: int | None, limit: int | None) -> RecordView | None:
        """See ``Store.read``."""
        row = self.find(id)
        return None if row is None else self._view(row, after, limit)

    def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        found = self.connection.execute(REQUEST, (id, self.now)).fetchone()
        return None if found is None else found[0]

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of all *ids* that have a record."""
        rows = self.connection.execute(STATES, (json.dumps(ids), self.now))
        return {id: State(*state) for id, *state in rows}

    def delete(self, id: str, *, claim: Claim | None, tombstone_ttl: float) -> bool:
        """See ``Store.delete``. Without *claim* it leaves a tombstone also where nothing was."""
        row = self.find(id)
        if claim is None:
            self.connection.execute(SET_TOMBSTONE, (id, self.now + tombstone_ttl))
        elif row is None or row.closed or id != claim.id or not row.is_held_by(claim):
            return False
        self.erase(id)
        return row is not None

    def find(self, id: str) -> Row | None:
        """The record, unless it has expired."""
        found = self.connection.execute(FIND, (id, self.now)).fetchone()
        return None if found is None else Row(*found)

    def erase(self, id: str) -> None:
        """Remove the record *id*, expired or not. A tombstone stays."""
        found = self.connection.execute("SELECT key FROM record WHERE id = ?", (id,)).fetchone()
        if found is not None:
            self.erase_key(found[0])

    def erase_key(self, key: int) -> None:
        """Remove all rows of one record."""
        self.connection.execute("DELETE FROM log WHERE record = ?", (key,))
        self.connection.execute("DELETE FROM snapshot WHERE record = ?", (key,))
        self.connection.execute("DELETE FROM request WHERE record = ?", (key,))
        self.connection.execute("DELETE FROM record WHERE key = ?", (key,))

    def _next_key(self) -> int:
        (key,) = self.connection.execute("SELECT coalesce(max(key), 0) + 1 FROM record").fetchone()
        return int(key)

    def _refuse_deleted(self, id: str, tried: str) -> None:
        if self.connection.execute(TOMBSTONE, (id, self.now)).fetchone() is not None:
            raise Deleted(f"cannot {tried} {id}: it was deleted")

    def _held(self, claim: Claim) -> Row:
        """The record that *claim* may write to, closed or not."""
        row = self.find(claim.id)
        if row is None:
            self._refuse_deleted(claim.id, "append to")
            raise Missing(f"cannot append to {claim.id}: there is no such record")
        if not row.is_held_by(claim):
            raise Fenced(
                f"cannot append to {claim.id} at epoch {claim.epoch}: it was taken at epoch"
                f" {row.epoch} or created anew"
            )
        return row

    def _written(
        self,
        row: Row,
        batch: Batch,
        snapshot: bytes | None,
        status: str | None,
        notes: bytes | None,
    ) -> Row:
        """Store the parts of one append; the caller stores the row that is returned."""
        if batch.length:
            row = row._replace(tail=row.tail + batch.length, batch=batch.token)
            self._add(row, batch)
        if snapshot is not None:
            row = row._replace(through=row.tail - 1)
            self.connection.execute(SET_SNAPSHOT, (row.key, snapshot))
        return row._replace(
            status=row.status if status is None else status,
            notes=row.notes if notes is None else notes,
        )

    def _closed(self, row: Row, ttl: float, stream_ttl: float | None) -> Row:
        log_expires = None if stream_ttl is None else self.now + stream_ttl
        return row._replace(closed=True, expires=self.now + ttl, log_expires=log_expires)

    def _add(self, row: Row, batch: Batch) -> None:
        """Store *batch*, which the tail of *row* already counts."""
        if batch.length:
            self.connection.execute(ADD_BATCH, (row.key, row.tail - 1, batch.block))

    def _update(self, row: Row) -> None:
        self.connection.execute(UPDATE, row._asdict())

    def _view(self, row: Row, after: int | None, limit: int | None) -> RecordView:
        first = row.through + 1 if after is None else max(after, -1) + 1
        log_expired = row.log_expires is not None and self.now >= row.log_expires
        is_empty = log_expired or first >= row.tail
        return RecordView(
            id=row.id,
            incarnation=row.incarnation,
            epoch=row.epoch,
            status=row.status,
            header=row.header,
            notes=row.notes,
            snapshot=self._snapshot(row.key) if after is None else None,
            snapshot_through=row.through,
            first=first,
            events=[] if is_empty else self._events(row.key, first, limit),
            tail=row.tail,
            closed=bool(row.closed),
            orphaned=row.is_orphaned(self.now),
            log_expired=log_expired,
        )

    def _snapshot(self, key: int) -> bytes:
        (body,) = self.connection.execute(SNAPSHOT, (key,)).fetchone()
        return bytes(body)

    def _events(self, key: int, first: int, limit: int | None) -> list[bytes]:
        """At most *limit* events from number *first* on; no batch beyond the limit is read."""
        events: list[bytes] = []
        with closing(self.connection.execute(BATCHES, (key, first))) as rows:
            for last, block in rows:
                batch = unpack(block)
                events += batch[max(0, first - (last + 1 - len(batch))) :]
                if limit is not None and len(events) >= limit:
                    break
        return events[:limit]


def _check_repeated(row: Row, incarnation: str) -> None:
    """Raise unless a create of *incarnation* is the repeat of the one that made the record."""
    if row.incarnation != incarnation:
        raise AlreadyExists(f"cannot create {row.id}: it exists")
    if row.epoch != 1:
        raise Fenced(f"cannot create {row.id} again: it was taken at epoch {row.epoch}")


def _check_writable(row: Row, claim: Claim) -> None:
    if row.closed:
        raise Closed(f"cannot append to {row.id}: it is closed")
    if claim.tail != row.tail:
        raise SequenceGap(
            f"cannot append to {row.id} at {claim.tail}: its tail is {row.tail}",
            tail=row.tail,
        )
