"""The file of a SQLite store: made, recognised, brought up to date, connected to."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from response_cache.errors import StoreUnavailable
from response_cache.stores.sqlite.errors import translating
from response_cache.stores.sqlite.forks import Use
from response_cache.stores.sqlite.schema import APPLICATION_ID, FORMAT, MIGRATIONS

__all__ = ("DatabaseFile", "Synchronous")

logger = logging.getLogger("response_cache.stores.sqlite")

Synchronous = Literal["NORMAL", "FULL"]

OWNER_ONLY: Final = 0o600  # there are other people's prompts in it
OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
BESIDE: Final = ("-wal", "-shm")  # what SQLite puts beside a file that is in use
WAL_BYTES: Final = 16 * 2**20  # to which the log of writes shrinks again after a peak
PAUSE: Final = 0.01  # between two tries of what SQLite does not wait for by itself

_warned_of: Final[set[Path]] = set()

# One at a time in a process: closing any descriptor of a file ends all POSIX locks that the process
# holds on it, so no other thread may have it open while it is being made.
_preparing: Final = Use()


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """One file, and how to open it."""

    path: Path
    synchronous: Synchronous
    busy_timeout: float  # how long to wait for the locks of other processes
    max_bytes: int | None

    def prepare(self) -> None:
        """Make the file if it is missing, and bring it to the format of this release.

        Raises:
            StoreUnavailable: it is missing its directory, read-only, locked, damaged, of a newer
                release, or something else than a store. Such a file is not changed.
            StoreFull: there is no room for it.
        """
        with translating(self.path), _preparing:
            self._make()
            with closing(self.connect()) as connection:
                self._recognise(connection)
                self._begin_wal(connection)
                self._migrate(connection)
                self._warn_of_other_readers()

    def connect(self) -> sqlite3.Connection:
        """A connection to a file that is there; transactions by hand.

        It is for one thread at a time, and that only within a ``Use``.
        """
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self.busy_timeout,
            isolation_level=None,
            check_same_thread=False,  # whoever forks the process closes it
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        if self.max_bytes is not None:
            page_size = _number(connection, "page_size")
            connection.execute(f"PRAGMA max_page_count = {max(1, self.max_bytes // page_size)}")

    def _make(self) -> None:
        if not self.path.parent.is_dir():
            raise StoreUnavailable(f"cannot use {self.path}: its directory does not exist")
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
        except FileExistsError:
            return

    def _warn_of_other_readers(self) -> None:
        """Say once in a process that others than the owner of the files can read them."""
        if os.name == "nt" or self.path in _warned_of:  # access is told by other means there
            return
        for file in (self.path, *(self.path.with_name(self.path.name + end) for end in BESIDE)):
            mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0
            if mode & OTHERS:
                _warned_of.add(self.path)
                logger.warning(
                    "%s has mode %04o: others than its owner can read the prompts and answers in"
                    " it; %04o is enough",
                    file,
                    mode,
                    OWNER_ONLY,
                )
                return

    def _recognise(self, connection: sqlite3.Connection) -> None:
        """Refuse what is not ours to write to."""
        if _is_empty(connection):
            return
        if _number(connection, "application_id") != APPLICATION_ID:
            raise StoreUnavailable(f"cannot use {self.path}: it is the database of something else")
        format = _number(connection, "user_version")
        if format > FORMAT:
            raise StoreUnavailable(
                f"cannot use {self.path}: it was written by a newer release, in format {format};"
                f" this one knows formats up to {FORMAT}"
            )

    def _begin_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging, which stays with the file."""
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before the first write
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                # Another process is just switching, and SQLite does not wait for that.
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
        if mode != "wal":
            raise StoreUnavailable(f"cannot use {self.path}: write-ahead logging is not possible")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Take all steps that are owed, or none; beginning proves that the file can be written."""
        connection.execute("BEGIN IMMEDIATE")
        self._recognise(connection)  # another process may have been faster
        for step in MIGRATIONS[_number(connection, "user_version") :]:
            for statement in step:
                connection.execute(statement)
        if _number(connection, "user_version") != FORMAT:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
