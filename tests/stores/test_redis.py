"""The Redis store: the contract and the model on a fake, a real server and a cluster; then its own."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import redis
from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer

from response_cache.store import Store
from response_cache.stores import store_from_url
from response_cache.stores.redis import RedisStore
from response_cache.testing import StoreConformance, machine_for
from tests.stores.servers import ClusterOfThree, Server, cluster_of_three, running_server

DEADLINES = ("lease_ends", "expires", "log_expires", "kept_until")


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


class Shifting:
    """Moves time on by moving what is stored back: to a record it is the same.

    What really passes meanwhile counts, so that a slow machine is no later than a fast one.
    """

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.since = time.monotonic()

    async def advance(self, seconds: float) -> None:
        passed = time.monotonic() - self.since
        self.since = time.monotonic()
        back = round((seconds - passed) * 1000)
        for key in [*self.client.scan_iter(match=f"*{self.prefix}*", count=1000)]:
            self.shift(key, back)

    def shift(self, key: bytes, back: int) -> None:
        if key.endswith(b":meta"):
            for field in DEADLINES:
                if self.client.hget(key, field):
                    self.client.hincrby(key, field, -back)
        left = self.client.pttl(key) - back
        if left > 0:
            self.client.pexpire(key, left)
        else:
            self.client.delete(key)


@dataclass
class Deployment:
    """Some place that stores can be made in."""

    store: Callable[[str], RedisStore]
    client: Any

    def make(self) -> tuple[RedisStore, Shifting]:
        """A store with keys of its own, not opened yet, and what moves its time on."""
        prefix = f"{uuid4().hex}:"
        return self.store(prefix), Shifting(self.client, prefix)


def at(url: str) -> Callable[[str], RedisStore]:
    """What makes stores at *url*."""

    def make(prefix: str) -> RedisStore:
        store = store_from_url(f"{url}?key_prefix={prefix}&tombstone_ttl=20")
        assert isinstance(store, RedisStore)
        return store

    return make


def fake() -> Deployment:
    """No server at all."""
    server = FakeServer()

    def make(prefix: str) -> RedisStore:
        client = FakeAsyncRedis(server=server)
        return RedisStore(client, key_prefix=prefix, tombstone_ttl=20.0)

    return Deployment(make, FakeRedis(server=server))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOfThree]:
    with cluster_of_three() as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["fake", "server", "cluster"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    match request.param:
        case "fake":
            deployment = fake()
        case "server":
            server: Server = request.getfixturevalue("server")
            deployment = Deployment(at(server.url), server.client())
        case "cluster":
            cluster: ClusterOfThree = request.getfixturevalue("cluster")
            client = redis.RedisCluster("127.0.0.1", cluster.nodes[0].port)
            deployment = Deployment(at(cluster.url), client)
    yield deployment
    deployment.client.close()


class TestRedisStore(StoreConformance):
    @pytest.fixture
    def made(self, deployment: Deployment) -> tuple[RedisStore, Shifting]:
        return deployment.make()

    @pytest.fixture
    async def store(self, made: tuple[RedisStore, Shifting]) -> AsyncIterator[Store]:
        store, _ = made
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    def clock(self, made: tuple[RedisStore, Shifting]) -> Shifting:
        return made[1]


def test_it_agrees_with_the_model(deployment: Deployment) -> None:
    machine_for(deployment.make, max_examples=30)("runTest").debug()
