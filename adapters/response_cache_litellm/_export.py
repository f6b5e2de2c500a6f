"""The way back to LiteLLM: closed responses in the form of its own polling handler.

Its value is the official object as JSON text, encoded as JSON once more, under LiteLLM's key. Only
responses of dialect ``litellm`` can go back: LiteLLM takes no other ids for its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from response_cache._protocol.dialects import DIALECTS
from response_cache.errors import StoreUnavailable
from response_cache.store import RecordView
from response_cache.stores import store_from_url
from response_cache.stores.redis import RedisStore
from response_cache.stores.redis._callbacks import replies_to
from response_cache.stores.redis._scripts import Command

__all__ = ("Exported", "export")

DIALECT: Final = DIALECTS["litellm"]
PREFIX: Final = "litellm:polling:response:"

# In one step, so that a response is kept by one side alone. Without our keys it is only written.
# The worker that ran it watches it for one more lease; the tombstone keeps it from writing again.
HAND_OVER: Final = """
local theirs, meta, log, request, tombstone = unpack(KEYS)
if meta then
  if redis.call('EXISTS', meta) == 0 then return 0 end
  redis.call('UNLINK', meta, log, request)
  redis.call('SET', tombstone, '', 'PX', ARGV[3])
end
redis.call('SET', theirs, ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass(slots=True)
class Exported:
    """How many responses were written, and how many were left because they still run."""

    written: int = 0
    running: int = 0


async def export(
    source_url: str, target_url: str | None = None, *, namespace: str = ""
) -> Exported:
    """Write the closed responses of the older dialect for LiteLLM, for the rest of their ttl.

    *source_url* is the store; *target_url* the Redis that LiteLLM uses, by default the same, and
    *namespace* the one of its cache settings. What LiteLLM then has under our own key is no longer
    ours, also for workers that still serve. May be repeated, and should be when those that still
    run have ended.

    Raises:
        ValueError: a URL is not of a Redis.
        StoreUnavailable: a server cannot be reached; what was written so far is whole.
    """
    done = Exported()
    async with _opened(source_url) as source, _opened(target_url or source_url) as target:
        is_same = target_url is None
        async for id in source.ids(DIALECT.ids.prefix):
            view = await source.read(id)
            if view is None:  # it expired, or was exported already
                continue
            if not view.closed:
                done.running += 1
                continue
            ttl = await _milliseconds_left(source, id)
            if ttl > 0:
                ours = source if is_same else None
                done.written += await _hand_over(view, ttl, ours, target, namespace)
    return done


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[RedisStore]:
    store = store_from_url(url, dialect="litellm")
    if not isinstance(store, RedisStore):
        raise ValueError("only responses in Redis can be exported, to a Redis")  # noqa: TRY004
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def _hand_over(
    view: RecordView, ttl: int, source: RedisStore | None, target: RedisStore, namespace: str
) -> int:
    """How many were written: none if it was deleted, or handed over, since it was read."""
    key = f"{namespace}:{PREFIX}{view.id}" if namespace else PREFIX + view.id
    keys: tuple[str, ...] = (key,)
    if source is not None and source.keys(view.id)[0] == key:
        keys = source.keys(view.id)
    forgetting = round(target.tombstone_ttl * 1000)
    command: Command = ("EVAL", HAND_OVER, len(keys), *keys, _as_theirs(view), ttl, forgetting)
    (reply,) = await replies_to(target.servers.send, [command])
    if isinstance(reply, Exception):
        raise StoreUnavailable(f"cannot export {view.id}: {type(reply).__name__}") from reply
    return int(reply)


def _as_theirs(view: RecordView) -> str:
    """The value as LiteLLM writes it: the JSON of an object, as a JSON string."""
    if view.snapshot is None:
        raise ValueError("a page read from a cursor has no snapshot")
    return json.dumps(json.dumps(DIALECT.load(view.snapshot)))


async def _milliseconds_left(source: RedisStore, id: str) -> int:
    (reply,) = await replies_to(source.servers.send, [("PTTL", source.keys(id)[0])])
    if isinstance(reply, Exception):
        raise StoreUnavailable(f"cannot export {id}: {type(reply).__name__}") from reply
    return int(reply)
