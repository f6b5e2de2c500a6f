"""The file of a SQLite store: created, checked, brought to the present format, connected to."""

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
from response_cache.stores.sqlite._errors import translating
from response_cache.stores.sqlite._forks import ForkGuard
from response_cache.stores.sqlite._schema import APPLICATION_ID, FORMAT, MIGRATIONS

__all__ = ("DatabaseFile", "Synchronous")

logger = logging.getLogger("response_cache.stores.sqlite")

Synchronous = Literal["NORMAL", "FULL"]

OWNER_ONLY: Final = 0o600  # prompts and answers of many people are in the file
READABLE_BY_OTHERS: Final = stat.S_IRGRP | stat.S_IROTH
COMPANIONS: Final = ("-wal", "-shm")  # files that SQLite keeps beside a database in use
WAL_BYTES: Final = 16 * 2**20  # to which the write-ahead log is cut after a peak
MOST_PAGES: Final = 2**30 - 1  # of a file: the bound that every release of SQLite knows
RETRY_INTERVAL: Final = 0.01  # between two tries of what SQLite does not wait for by itself

_warned_of: Final[set[Path]] = set()

# One thread of a process at a time prepares a file: when any descriptor of a file is closed, the
# process loses all POSIX locks on it, also the locks of another thread's connection.
_preparing: Final = ForkGuard()


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """One file, and how to open it."""

    path: Path
    synchronous: Synchronous
    busy_timeout: float  # seconds to wait for the locks of other processes
    max_bytes: int | None

    def prepare(self) -> None:
        """Create the file if it is missing, and bring it to the format of this release.

        Raises:
            StoreUnavailable: the directory is missing; or the file is read-only, locked, damaged,
                of a newer release, or no store. It was not changed.
            StoreFull: there is no room for it.
        """
        with translating(self.path), _preparing:
            self._create()
            with closing(self.connect()) as connection:
                self._check_is_ours(connection)
                self._use_wal(connection)
                self._migrate(connection)
                self._warn_of_other_readers()

    def connect(self) -> sqlite3.Connection:
        """A connection to the existing file; the caller begins and commits transactions.

        Only one thread at a time may use it, and only while it holds a ``ForkGuard``.
        """
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self.busy_timeout,
            isolation_level=None,
            check_same_thread=False,  # a thread that forks the process closes it
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute("PRAGMA secure_delete = ON")  # not every build does so by itself
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        self.set_bound(connection)

    def set_bound(self, connection: sqlite3.Connection) -> None:
        """Let writes through *connection* make the file no larger than ``max_bytes``.

        A file that is larger already may only not grow.
        """
        if self.max_bytes is not None:
            page_size = _number(connection, "page_size")
            connection.execute(f"PRAGMA max_page_count = {max(1, self.max_bytes // page_size)}")

    def lift_bound(self, connection: sqlite3.Connection) -> None:
        """Let them make it as large as SQLite can."""
        if self.max_bytes is not None:
            connection.execute(f"PRAGMA max_page_count = {MOST_PAGES}")

    def _create(self) -> None:
        if not self.path.parent.is_dir():
            raise StoreUnavailable(f"cannot use {self.path}: its directory does not exist")
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
        except FileExistsError:
            return

    def _warn_of_other_readers(self) -> None:
        """Log once in a process that users other than the owner can read the file."""
        if os.name == "nt" or self.path in _warned_of:  # Windows has no such mode
            return
        for file in (self.path, *(self.path.with_name(self.path.name + end) for end in COMPANIONS)):
            mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0
            if mode & READABLE_BY_OTHERS:
                _warned_of.add(self.path)
                logger.warning(
                    "%s has mode %04o: users other than its owner can read the prompts and answers"
                    " in it; %04o is enough",
                    file,
                    mode,
                    OWNER_ONLY,
                )
                return

    def _check_is_ours(self, connection: sqlite3.Connection) -> None:
        """Raise unless the database is empty, or a store that this release can read."""
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

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch the file to write-ahead logging, which it remembers."""
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # works before the first write only
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                # Another process is switching, too, and SQLite does not wait for the end of that.
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_INTERVAL)
        if mode != "wal":
            raise StoreUnavailable(f"cannot use {self.path}: write-ahead logging is not possible")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Take all missing steps in one transaction, which also proves that it can be written."""
        connection.execute("BEGIN IMMEDIATE")
        self._check_is_ours(connection)  # another process may have been faster
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
