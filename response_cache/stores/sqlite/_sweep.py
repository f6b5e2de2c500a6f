"""The periodic task that removes expired rows and gives free pages back, a little at a time."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Final

from response_cache.errors import StoreUnavailable
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._session import Session

__all__ = ("Sweep",)

logger = logging.getLogger("response_cache.stores.sqlite")

MAX_ROWS: Final = 50  # of each kind that one sweep removes
MAX_PAGES: Final = 256  # that one sweep gives back to the file system
PAGES_PER_FREE_ONE: Final = 4  # a quarter of the file may be free, for what is written next

EXPIRED_CLOSED: Final = "SELECT key FROM record WHERE closed AND expires <= ? LIMIT ?"
# Open records are few, and one that has expired has lost its recorder.
EXPIRED_OPEN: Final = "SELECT key FROM record WHERE NOT closed AND expires <= ? LIMIT ?"
EXPIRED_LOGS: Final = """
    SELECT key FROM record WHERE closed AND log_expires > 0 AND log_expires <= ? LIMIT ?
"""
DELETE_TOMBSTONES: Final = """
    DELETE FROM tombstone WHERE id IN (SELECT id FROM tombstone WHERE expires <= ? LIMIT ?)
"""


class Sweep:
    """Removes expired rows. No answer depends on it: each operation judges expiry itself."""

    def __init__(self, interval: float) -> None:
        """Sweep every *interval* seconds, and again at once while more rows have expired."""
        self._interval = interval
        self._due = time.monotonic() + interval

    def seconds_until_due(self) -> float:
        """See ``PeriodicTask.seconds_until_due``."""
        return self._due - time.monotonic()

    def run(self, session: Session) -> None:
        """Sweep once. After an error the next sweep, an interval later, tries again."""
        self._due = time.monotonic() + self._interval
        try:
            with session.transaction() as records:
                is_complete = _remove_expired(records)
                spare_pages = _spare_pages(records.connection)
            if spare_pages:
                session.shrink(min(spare_pages, MAX_PAGES))
            session.set_bound()
        except StoreUnavailable as error:
            logger.warning("cannot sweep: %s", error)
        else:
            if not is_complete:
                self._due = time.monotonic()


def _remove_expired(records: Records) -> bool:
    """Remove at most ``MAX_ROWS`` of each kind; whether these were all."""
    connection, bounds = records.connection, (records.now, MAX_ROWS)
    queries = (EXPIRED_CLOSED, EXPIRED_OPEN)
    expired = [key for query in queries for (key,) in connection.execute(query, bounds)]
    for key in expired:
        records.erase_key(key)
    logs = connection.execute(EXPIRED_LOGS, bounds).fetchall()
    for key in logs:
        connection.execute("DELETE FROM log WHERE record = ?", key)
        connection.execute("UPDATE record SET log_expires = 0 WHERE key = ?", key)
    tombstones = connection.execute(DELETE_TOMBSTONES, bounds).rowcount
    return max(len(expired), len(logs), tombstones) < MAX_ROWS


def _spare_pages(connection: sqlite3.Connection) -> int:
    """How many free pages are more than the file should keep."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (all_pages,) = connection.execute("PRAGMA page_count").fetchone()
    return max(0, int(free) - int(all_pages) // PAGES_PER_FREE_ONE)
