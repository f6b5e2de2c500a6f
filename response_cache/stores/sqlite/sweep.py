"""The chore of giving back the room of what has expired, a little at a time."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Final

from response_cache.errors import StoreUnavailable
from response_cache.stores.sqlite.records import Records
from response_cache.stores.sqlite.session import Session

__all__ = ("Sweep",)

logger = logging.getLogger("response_cache.stores.sqlite")

RECORDS: Final = 50  # most that one sweep removes of each kind
PAGES: Final = 256  # most that one sweep gives back to the file system
SPARE: Final = 4  # one page in so many may be free, for what comes next

CLOSED: Final = "SELECT key FROM record WHERE closed AND expires <= ? LIMIT ?"
# There are few open records, and those that expired have lost their recorder.
OPEN: Final = "SELECT key FROM record WHERE NOT closed AND expires <= ? LIMIT ?"
LOGS: Final = """
    SELECT key FROM record WHERE closed AND log_expires > 0 AND log_expires <= ? LIMIT ?
"""
TOMBSTONES: Final = """
    DELETE FROM tombstone WHERE id IN (SELECT id FROM tombstone WHERE expires <= ? LIMIT ?)
"""


class Sweep:
    """Removes expired rows. Nothing depends on it: expiry is judged by whoever reads."""

    def __init__(self, interval: float) -> None:
        """Sweep every *interval* seconds, and at once again while there is more to do."""
        self._interval = interval
        self._due = time.monotonic() + interval

    def pause(self) -> float:
        """See ``Chore.pause``."""
        return self._due - time.monotonic()

    def do(self, session: Session) -> None:
        """Sweep once; what does not work is tried again."""
        self._due = time.monotonic() + self._interval
        try:
            with session.transaction() as records:
                is_done = _remove_expired(records)
                spare_pages = _spare_pages(records.connection)
            if spare_pages:
                session.shrink(min(spare_pages, PAGES))
        except StoreUnavailable as error:
            logger.warning("cannot sweep: %s", error)
        else:
            if not is_done:
                self._due = time.monotonic()


def _remove_expired(records: Records) -> bool:
    """Remove some of what has expired; whether that was all."""
    connection, bounds = records.connection, (records.now, RECORDS)
    expired = [key for query in (CLOSED, OPEN) for (key,) in connection.execute(query, bounds)]
    for key in expired:
        records.erase_key(key)
    logs = connection.execute(LOGS, bounds).fetchall()
    for key in logs:
        connection.execute("DELETE FROM log WHERE record = ?", key)
        connection.execute("UPDATE record SET log_expires = 0 WHERE key = ?", key)
    tombstones = connection.execute(TOMBSTONES, bounds).rowcount
    return max(len(expired), len(logs), tombstones) < RECORDS


def _spare_pages(connection: sqlite3.Connection) -> int:
    """Free pages that are better given back than kept for what comes next."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (all_pages,) = connection.execute("PRAGMA page_count").fetchone()
    return max(0, int(free) - int(all_pages) // SPARE)
