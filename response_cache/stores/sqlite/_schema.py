"""The tables of a SQLite store, and the steps that bring an older file to the present format.

A record has one row in ``record``, which is small because each append rewrites it. Large parts have
a table of their own: ``snapshot``, ``request``, and ``log`` with one row for each batch of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ("APPLICATION_ID", "FORMAT", "MIGRATIONS")

APPLICATION_ID: Final = 0x72737063  # "rspc": marks a file as a store, in its header

FORMAT_1: Final = (
    """
    CREATE TABLE record (
        key INTEGER PRIMARY KEY,     -- "record" in the other tables
        id TEXT NOT NULL UNIQUE,
        incarnation TEXT NOT NULL,
        header BLOB NOT NULL,
        epoch INTEGER NOT NULL,      -- what stands before it never changes
        status TEXT NOT NULL,
        notes BLOB NOT NULL,
        token TEXT NOT NULL,         -- of the last append that brought events, or ''
        tail INTEGER NOT NULL,       -- number that the next event will have
        through INTEGER NOT NULL,    -- number of the last event that the snapshot covers
        closed INTEGER NOT NULL,
        ttl REAL NOT NULL,           -- as given last; a take renews with it
        lease REAL NOT NULL,         -- as given last; all times are seconds of the store's clock
        lease_ends REAL NOT NULL,
        expires REAL NOT NULL,
        log_expires REAL NOT NULL,   -- infinite while the record is open; 0: the log was swept
        -- Appends do not read what follows: it is last, so that SQLite need not step over it.
        owner TEXT NOT NULL,         -- digest; with the label only to list records by
        label TEXT NOT NULL,
        private BLOB NOT NULL        -- read by a take alone; empty once the record is closed
    )
    """,
    # Partial indexes: an append to an open record changes none of them.
    "CREATE INDEX record_closed ON record (expires) WHERE closed",
    "CREATE INDEX record_open ON record (key) WHERE NOT closed",
    "CREATE INDEX record_log ON record (log_expires) WHERE closed AND log_expires > 0",
    "CREATE TABLE snapshot (record INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE request (record INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    """
    CREATE TABLE log (
        record INTEGER NOT NULL,
        last INTEGER NOT NULL,       -- number of the batch's last event
        events BLOB NOT NULL,        -- packed
        PRIMARY KEY (record, last)
    )
    """,  # has rowids: batches are too large for the nodes of an index
    "CREATE TABLE tombstone (id TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX tombstone_expires ON tombstone (expires)",
)

# The step at index n brings a file of format n to format n + 1. A released step never changes.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (FORMAT_1,)
FORMAT: Final = len(MIGRATIONS)
