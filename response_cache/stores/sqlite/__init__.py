"""Responses in one SQLite file, for the processes of one machine."""

from response_cache.stores.sqlite.store import SQLiteStore

__all__ = ("SQLiteStore",)
