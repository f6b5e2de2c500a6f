"""Responses in Redis or Valkey: one server, Sentinels or a cluster."""

from response_cache.stores.redis._store import RedisStore

__all__ = ("RedisStore",)
