"""The connection of one thread, and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from response_cache.stores.sqlite._errors import translating
from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._forks import ForkGuard
from response_cache.stores.sqlite._records import Records

__all__ = ("BeginStatement", "Session")

BeginStatement = Literal["BEGIN", "BEGIN IMMEDIATE"]  # a transaction that reads; that writes


class Session:
    """The connection of one thread.

    It is opened when it is needed, and closed after an error. A thread that forks the process
    closes it, too.
    """

    def __init__(
        self, file: DatabaseFile, clock: Callable[[], float], begin: BeginStatement
    ) -> None:
        """*clock* gives the seconds of a transaction; *begin* starts one."""
        self._file = file
        self._clock = clock
        self._begin = begin
        self._connection: sqlite3.Connection | None = None
        self._connection_count = 0  # opened so far
        self._guard = ForkGuard(self._close)

    @contextmanager
    def transaction(
        self, begin: BeginStatement | None = None, *, is_full: bool = False
    ) -> Iterator[Records]:
        """The records at one instant. The transaction is committed at the end of the context.

        An error that leaves the context rolls everything back. *begin* replaces that of the
        session. With *is_full* the records refuse what needs room, and for the rest the file may
        grow past its bound.

        Raises:
            StoreFull: there is no room; nothing was written.
            StoreUnavailable: the file did not work.
        """
        with self._guard:
            try:
                with translating(self._file.path):
                    connection = self._connected()
                    if is_full:
                        self._file.lift_bound(connection)
                    connection.execute(begin or self._begin)
                    yield Records(connection, self._clock(), is_full=is_full)
                    connection.execute("COMMIT")
                    if is_full:
                        self._file.set_bound(connection)
            except BaseException:
                self._close()  # the next connection has the bound of the file
                raise

    def set_bound(self) -> None:
        """Bound the file anew: one that was larger than its bound may have shrunk.

        Raises:
            StoreUnavailable: the file did not work.
        """
        with self._guard, translating(self._file.path):
            self._file.set_bound(self._connected())

    def shrink(self, pages: int) -> None:
        """Give at most *pages* free pages of the file back, in a transaction of its own.

        Raises:
            StoreUnavailable: the file did not work.
        """
        with self._guard, translating(self._file.path):
            # The pragma yields a row for each page; ``execute`` would stop after the first.
            self._connected().executescript(f"PRAGMA incremental_vacuum({pages})")

    def data_version(self) -> tuple[int, int]:
        """Two numbers that change whenever another connection, of any process, has committed.

        Raises:
            StoreUnavailable: the file did not work.
        """
        with self._guard, translating(self._file.path):
            (version,) = self._connected().execute("PRAGMA data_version").fetchone()
        return self._connection_count, int(version)  # the version means nothing to another one

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        """Close the connection, which rolls back what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._file.connect()
            self._connection_count += 1
        return self._connection
