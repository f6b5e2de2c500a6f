"""The SQLite store: responses in one file, shared by all processes of one machine."""

from response_cache.stores.sqlite._file import Synchronous
from response_cache.stores.sqlite._store import SQLiteStore

__all__ = ("SQLiteStore", "Synchronous")
