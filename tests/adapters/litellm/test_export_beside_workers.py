"""The export while workers still serve: what it handed over stays handed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import anyio.to_thread
import pytest

from response_cache.stores.redis._store import RedisStore
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_litellm import _export as module
from response_cache_litellm._export import Exported, export
from tests.adapters.asgi.driver import TOLD, create, ended, request
from tests.stores.servers import Server, ask, running_server, until

pytestmark = pytest.mark.slow

KEYS: Final = "litellm:polling:response:"
LEASE: Final = 6.0  # a writer looks after its record for so long after the end


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


async def test_the_worker_that_ran_it_does_not_write_it_anew(server: Server) -> None:
    cache = ResponseCacheMiddleware(TOLD, server.url, dialect="litellm", lease=LEASE)
    id = await create(cache)
    await ended(cache, id)
    assert await export(server.url) == Exported(written=1)
    before = _scripts(server)
    await anyio.to_thread.run_sync(until, lambda: not _channels(server), "nobody looks after it")
    assert _scripts(server) > before
    assert isinstance(_stored(server, id), str)
    assert await export(server.url) == Exported()


async def test_what_is_deleted_meanwhile_is_not_written(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ResponseCacheMiddleware(TOLD, server.url, dialect="litellm")
    id = await create(cache)
    await ended(cache, id)
    left = module._milliseconds_left

    async def left_and_deleted(source: RedisStore, id: str) -> int:
        milliseconds = await left(source, id)
        await request(cache, "DELETE", f"/v1/responses/{id}")
        return milliseconds

    monkeypatch.setattr(module, "_milliseconds_left", left_and_deleted)
    assert await export(server.url) == Exported()
    with server.client() as client:
        assert client.exists(KEYS + id) == 0


async def test_a_namespace_is_the_same_for_both(server: Server) -> None:
    ours = f"{server.url}?key_prefix=prod:{KEYS}"
    cache = ResponseCacheMiddleware(TOLD, ours, dialect="litellm")
    id = await create(cache)
    await ended(cache, id)
    assert await export(ours, namespace="prod") == Exported(written=1)
    assert isinstance(_stored(server, id, "prod:"), str)
    assert await export(ours, namespace="prod") == Exported()


def _scripts(server: Server) -> int:
    """How many scripts the server has run."""
    with server.client() as client:
        stats: Any = client.info("commandstats")
    return sum(stats[name]["calls"] for name in stats if name.startswith("cmdstat_eval"))


def _channels(server: Server) -> list[bytes]:
    """What is listened to: a writer listens for as long as it looks after its record."""
    with server.client() as client:
        channels: list[bytes] = client.pubsub_channels()
    return channels


def _stored(server: Server, id: str, namespace: str = "") -> object:
    with server.client() as client:
        return json.loads(ask(client, "GET", namespace + KEYS + id))
