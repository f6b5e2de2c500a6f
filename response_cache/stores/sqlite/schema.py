"""The tables of a SQLite store, and the steps that bring an older file to them.

A record is a row of ``record``, small enough to be rewritten by each append. What is large or
grows has a table of its own: ``snapshot``, ``request``, and ``log`` with a row for each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ("APPLICATION_ID", "FORMAT", "MIGRATIONS")

APPLICATION_ID: Final = 0x72737063  # "rspc" in the file's header tells ours from other databases

FORMAT_1: Final = (
    """
    CREATE TABLE record (
        key INTEGER PRIMARY KEY,     -- by which the other tables name it
        id TEXT NOT NULL UNIQUE,
        incarnation TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        status TEXT NOT NULL,
        header BLOB NOT NULL,
        notes BLOB NOT NULL,
        batch TEXT NOT NULL,         -- token of the last append that brought events, or ''
        tail INTEGER NOT NULL,
        through INTEGER NOT NULL,    -- number of the last event that the snapshot covers
        closed INTEGER NOT NULL,
        ttl REAL NOT NULL,           -- as last given; a take renews with it
        lease REAL NOT NULL,         -- as last given; all times are seconds of the store's clock
        lease_ends REAL NOT NULL,
        expires REAL NOT NULL,
        log_expires REAL             -- NULL: as long as the record; 0: its rows were swept
    )
    """,
    # Partial, so that appends to open records do not touch them.
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
    """,  # with rowids: batches are too large to stand in an index
    "CREATE TABLE tombstone (id TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX tombstone_expires ON tombstone (expires)",
)

# The step at index n brings a file of format n to format n + 1. Released steps never change.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (FORMAT_1,)
FORMAT: Final = len(MIGRATIONS)
