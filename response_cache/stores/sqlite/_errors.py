"""Errors of SQLite and of the file system, translated to the errors of a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from response_cache.errors import StoreFull, StoreUnavailable

__all__ = ("translating",)

# Primary result codes (https://www.sqlite.org/rescode.html).
# fmt: off
FULL: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL:     "there is no room left",
    sqlite3.SQLITE_TOOBIG:   "a value is larger than SQLite allows",
}
UNAVAILABLE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY:     "it is locked by another process",
    sqlite3.SQLITE_LOCKED:   "it is locked by another process",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_PERM:     "it may not be opened",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_CORRUPT:  "it is damaged",
    sqlite3.SQLITE_NOTADB:   "it is not a SQLite database",
    sqlite3.SQLITE_IOERR:    "its disk does not work",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work",
}
# fmt: on


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Translate what is raised in the context about the database at *path* or its directory.

    An error without a result code comes from wrong use of the driver, and is passed on unchanged.

    Raises:
        StoreFull: there is no room; nothing was changed.
        StoreUnavailable: the message says why.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            raise
        raise _translated(path, code & 0xFF, str(error)) from error  # extended codes: higher bits
    except OSError as error:
        raise StoreUnavailable(f"cannot use {path}: {error.strerror}") from error


def _translated(path: Path, code: int, text: str) -> StoreUnavailable:
    if code in FULL:
        return StoreFull(f"cannot use {path}: {FULL[code]} ({text})")
    reason = UNAVAILABLE.get(code, "it gave an error")
    return StoreUnavailable(f"cannot use {path}: {reason} ({text})")
