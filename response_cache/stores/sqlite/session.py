"""The connection of one thread, and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from response_cache.stores.sqlite.errors import translating
from response_cache.stores.sqlite.file import DatabaseFile
from response_cache.stores.sqlite.forks import Use
from response_cache.stores.sqlite.records import Records

__all__ = ("Begin", "Session")

Begin = Literal["BEGIN", "BEGIN IMMEDIATE"]  # to read; to write


class Session:
    """The connection of one thread: made when it is needed, given up when it has failed.

    It is also given up when the process forks, by the thread that does it.
    """

    def __init__(self, file: DatabaseFile, clock: Callable[[], float], begin: Begin) -> None:
        self._file = file
        self._clock = clock
        self._begin = begin
        self._connection: sqlite3.Connection | None = None
        self._count = 0  # connections made so far
        self._use = Use(self._close)

    @contextmanager
    def transaction(self, begin: Begin | None = None) -> Iterator[Records]:
        """All or nothing of what is done in the context, at one instant.

        Raises:
            StoreFull: there is no room; nothing was done.
            StoreUnavailable: it did not work.
        """
        with self._use:
            try:
                with translating(self._file.path):
                    connection = self._connected()
                    connection.execute(begin or self._begin)
                    yield Records(connection, self._clock())
                    connection.execute("COMMIT")
            except BaseException:
                self._close()
                raise

    def shrink(self, pages: int) -> None:
        """Give at most *pages* free pages of the file back, in a transaction of its own.

        Raises:
            StoreUnavailable: it did not work.
        """
        with self._use, translating(self._file.path):
            # The driver takes this statement's pages for rows, and a plain execute stops at one.
            self._connected().executescript(f"PRAGMA incremental_vacuum({pages})")

    def data_version(self) -> tuple[int, int]:
        """What changes whenever another connection, of any process, has committed.

        Raises:
            StoreUnavailable: the file does not answer.
        """
        with self._use, translating(self._file.path):
            (version,) = self._connected().execute("PRAGMA data_version").fetchone()
        return self._count, int(version)  # the version alone says nothing across connections

    def drop(self) -> None:
        """Close the connection."""
        with self._use:
            self._close()

    def _close(self) -> None:
        """Close the connection; what was not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._file.connect()
            self._count += 1
        return self._connection
