"""The operations of the store contract as SQL, inside a transaction that ``Session`` has begun.

``response_cache.stores._rules`` decides what is refused, and how long leases and records last. All
checks of an operation come before its first write, so a refusal changes nothing and the transaction
can go on with the next operation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from response_cache._log.batches import unpack
from response_cache.errors import StoreFull
from response_cache.store import Append, Appended, Claim, Link, NewRecord, RecordView, Taken
from response_cache.stores import _rules as rules
from response_cache.stores.sqlite._rows import Row, State

__all__ = ("Records",)

FIRST_CHANGING: Final = Row._fields.index("epoch")
CHANGING: Final = ", ".join(f"{name} = ?" for name in Row._fields[FIRST_CHANGING:])
NEW: Final = (*Row._fields, "owner", "label", "private")

FIND: Final = f"""
    SELECT {", ".join(Row._fields)} FROM record WHERE id = ? AND expires > ?
"""  # noqa: S608 - our own
STATES: Final = """
    SELECT id, incarnation, epoch, tail, closed, expires FROM record
    WHERE id IN (SELECT value FROM json_each(?)) AND expires > ?
"""
INSERT: Final = f"""
    INSERT INTO record ({", ".join(NEW)}) VALUES ({", ".join("?" * len(NEW))})
"""  # noqa: S608 - our own
UPDATE: Final = f"""
    UPDATE record SET {CHANGING}, private = coalesce(?, private) WHERE key = ?
"""  # noqa: S608 - our own
PRIVATE: Final = "SELECT private FROM record WHERE key = ?"
REQUEST: Final = """
    SELECT body FROM request JOIN record ON record.key = request.record
    WHERE record.id = ? AND record.expires > ?
"""
PUT_OFF: Final = "UPDATE record SET expires = ? WHERE id = ?"
SET_SNAPSHOT: Final = "INSERT OR REPLACE INTO snapshot (record, body) VALUES (?, ?)"
SET_REQUEST: Final = "INSERT INTO request (record, body) VALUES (?, ?)"
ADD_BATCH: Final = "INSERT INTO log (record, last, events) VALUES (?, ?, ?)"
BATCHES: Final = "SELECT last, events FROM log WHERE record = ? AND last >= ? ORDER BY last"
SNAPSHOT: Final = "SELECT body FROM snapshot WHERE record = ?"
TOMBSTONE: Final = "SELECT 1 FROM tombstone WHERE id = ? AND expires > ?"
SET_TOMBSTONE: Final = "INSERT OR REPLACE INTO tombstone (id, expires) VALUES (?, ?)"


class Records:
    """All records as one transaction sees them, at one instant of the store's clock."""

    def __init__(
        self, connection: sqlite3.Connection, now: float, *, is_full: bool = False
    ) -> None:
        """A store that *is_full* refuses new records, and appends that need room."""
        self.connection = connection
        self.now = now
        self._is_full = is_full

    def create(self, new: NewRecord, block: bytes, lease: float) -> Claim:
        """See ``Store.create``; *block* is the events of *new*, packed."""
        if self._is_deleted(new.id):
            raise rules.absence(new.id, "create", is_deleted=True)
        row = self.find(new.id)
        if row is None:
            return self._inserted(new, block, lease).claim()
        epoch = rules.epoch_of_repeated(new, row)
        if not row.closed:
            row = row._replace(epoch=epoch).renewed(self.now, lease=lease, ttl=new.ttl)
            self._update(row)
        return row.claim()

    def append(self, claim: Claim, append: Append, block: bytes, lease: float) -> Appended:
        """See ``Store.append``; *block* is the events of *append*, packed.

        A repeated append renews the lease, as a heartbeat does.
        """
        row = self.find(claim.id)
        if row is None:
            raise rules.absence(claim.id, "append to", is_deleted=self._is_deleted(claim.id))
        if not rules.is_repeated(claim, append, row):
            row = self._written(row, append, block, lease)
        elif not row.closed:
            row = row.renewed(self.now, lease=lease, ttl=append.ttl)
            self._update(row)
        return Appended(row.claim())

    def take(self, id: str, *, lease: float, only_orphaned: bool, raise_by: int) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        row = self.find(id)
        if row is None:
            raise rules.absence(id, "take", is_deleted=False)
        if not rules.may_take(row, self.now, only_orphaned=only_orphaned):
            return Taken(None, self._view(row, None, None))
        row = row._replace(epoch=row.epoch + raise_by).renewed(self.now, lease=lease, ttl=row.ttl)
        self._update(row)
        (private,) = self.connection.execute(PRIVATE, (row.key,)).fetchone()
        return Taken(row.claim(), self._view(row, None, None), private)

    def read(self, id: str, after: int | None, limit: int | None) -> RecordView | None:
        """See ``Store.read``."""
        row = self.find(id)
        return None if row is None else self._view(row, after, limit)

    def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        found = self.connection.execute(REQUEST, (id, self.now)).fetchone()
        return None if found is None else found[0]

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of all *ids* that have a record, in one query."""
        rows = self.connection.execute(STATES, (json.dumps(ids), self.now))
        return {id: State(*state) for id, *state in rows}

    def delete(self, id: str, *, claim: Claim | None, tombstone_ttl: float) -> bool:
        """See ``Store.delete``. Without *claim* it leaves a tombstone also where nothing was."""
        row = self.find(id)
        if claim is not None and not rules.may_withdraw(id, claim, row):
            return False
        self.erase(id)
        if claim is None:  # after the erasing, which makes room for it
            self.connection.execute(SET_TOMBSTONE, (id, self.now + tombstone_ttl))
        return row is not None

    def renew(self, links: Sequence[Link], ttl: float) -> list[bool]:
        """See ``Store.renew``. It writes nothing where *ttl* is 0."""
        states = self.states([link.id for link in links])
        return [self._renew(link, states.get(link.id), ttl) for link in links]

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

    def _is_deleted(self, id: str) -> bool:
        return self.connection.execute(TOMBSTONE, (id, self.now)).fetchone() is not None

    def _inserted(self, new: NewRecord, block: bytes, lease: float) -> Row:
        """Store a new record; its row."""
        if self._is_full:
            raise StoreFull(f"cannot create {new.id}: there is no room left in the file")
        self.erase(new.id)  # an expired record that was not swept yet
        row = Row.of(self._next_key(), new).renewed(self.now, lease=lease, ttl=new.ttl)
        self.connection.execute(INSERT, (*row, new.owner, new.label, new.private))
        self.connection.execute(SET_REQUEST, (row.key, new.request))
        self.connection.execute(SET_SNAPSHOT, (row.key, new.snapshot))
        if new.events:
            self.connection.execute(ADD_BATCH, (row.key, row.tail - 1, block))
        return row

    def _next_key(self) -> int:
        (key,) = self.connection.execute("SELECT coalesce(max(key), 0) + 1 FROM record").fetchone()
        return int(key)

    def _written(self, row: Row, append: Append, block: bytes, lease: float) -> Row:
        """Store an append that is the next one of the record at *row*; the row after it."""
        if self._is_full and rules.needs_room(append):
            raise StoreFull(f"cannot append to {row.id}: there is no room left in the file")
        row = row.appended(append)
        if append.events:
            self.connection.execute(ADD_BATCH, (row.key, row.tail - 1, block))
        if append.snapshot is not None:
            self.connection.execute(SET_SNAPSHOT, (row.key, append.snapshot))
        if append.close:
            row = row.ended(self.now, ttl=append.ttl, stream_ttl=append.stream_ttl)
        else:
            row = row.renewed(self.now, lease=lease, ttl=append.ttl)
        self._update(row, b"" if append.close else append.private)
        return row

    def _update(self, row: Row, private: bytes | None = None) -> None:
        """Store *row*, and the private part unless it is None."""
        self.connection.execute(UPDATE, (*row[FIRST_CHANGING:], private, row.key))

    def _renew(self, link: Link, state: State | None, ttl: float) -> bool:
        if state is None or not rules.is_linked(link, state):
            return False
        expires = rules.end_of_renewed(self.now, ttl=ttl, expires=state.expires)
        if expires != state.expires:
            self.connection.execute(PUT_OFF, (expires, link.id))
        return True

    def _view(self, row: Row, after: int | None, limit: int | None) -> RecordView:
        first = row.through + 1 if after is None else max(after, -1) + 1
        log_expired = self.now >= row.log_expires
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
            orphaned=not row.closed and rules.is_orphaned(row, self.now),
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
