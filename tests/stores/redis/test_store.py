"""The Redis store: the contract on a fake, a real server and a cluster, and its own promises."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

import pytest
import redis
import redis.asyncio
import trio
from fakeredis import FakeAsyncRedis, FakeRedis, FakeServer
from redis.crc import key_slot

from response_cache import __version__
from response_cache.errors import Fenced
from response_cache.store import Append, Appended, Claim, Link, NewRecord, Store
from response_cache.stores import store_from_url
from response_cache.stores.redis._callbacks import Cancel, OnReplies, replies_to
from response_cache.stores.redis._channel import Channel
from response_cache.stores.redis._cluster import Cluster
from response_cache.stores.redis._scripts import POSITION, Command
from response_cache.stores.redis._store import RedisStore
from response_cache.stores.redis._subscriptions import Subscriptions
from response_cache.stores.redis._topology import SOCKET_TIMEOUT, SingleServer
from response_cache.testing import StoreConformance, machine_for
from tests import deadlines
from tests.stores.servers import (
    ClusterOfThree,
    Server,
    cluster_of_three,
    running_sentinel,
    running_server,
)

pytestmark = pytest.mark.slow

WAIT_TIMEOUT = deadlines.WAIT_TIMEOUT
NO_EVENTS = 2**53 - 1  # what a recorder waits for: nothing but a lost claim
UNIT = 60.0  # a second of the model, so that what really passes does not matter
DEADLINES = ("lease_ends", "expires", "log_expires", "kept_until")


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


class Shifting:
    """Moves time on by moving what is stored back: to a record it is the same."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    async def advance(self, seconds: float) -> None:
        for key in [*self.client.scan_iter(match=f"*{self.prefix}*", count=1000)]:
            self.shift(key, round(seconds * 1000))

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


class StoreMaker(Protocol):
    """Makes stores whose keys begin with *prefix*."""

    def __call__(self, prefix: str, socket_timeout: float = SOCKET_TIMEOUT) -> RedisStore: ...


@dataclass
class Deployment:
    """Some place that stores can be made in."""

    store: StoreMaker
    client: Any

    def make(self, socket_timeout: float = SOCKET_TIMEOUT) -> tuple[RedisStore, Shifting]:
        """A store with keys of its own, not opened yet, and what moves its time on."""
        prefix = f"{uuid4().hex}:"
        return self.store(prefix, socket_timeout), Shifting(self.client, prefix)


def at(url: str) -> StoreMaker:
    """What makes stores at *url*."""

    def make(prefix: str, socket_timeout: float = SOCKET_TIMEOUT) -> RedisStore:
        query = f"key_prefix={prefix}&tombstone_ttl={20 * UNIT}&socket_timeout={socket_timeout}"
        store = store_from_url(f"{url}?{query}")
        assert isinstance(store, RedisStore)
        return store

    return make


def fake() -> Deployment:
    """No server at all."""
    server = FakeServer()

    def make(prefix: str, socket_timeout: float = SOCKET_TIMEOUT) -> RedisStore:
        client = FakeAsyncRedis(server=server)
        return RedisStore(
            client,
            key_prefix=prefix,
            tombstone_ttl=20 * UNIT,
            socket_timeout=socket_timeout,
        )

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
        # No store gives up because the machine is busy. (The model's machine needs the usual time:
        # that is how long a wait may take to see that time was moved.)
        return deployment.make(socket_timeout=20.0)

    @pytest.fixture
    async def store(self, made: tuple[RedisStore, Shifting]) -> AsyncIterator[Store]:
        store, _ = made
        await store.open()
        yield store
        await store.aclose()

    @pytest.fixture
    def clock(self, made: tuple[RedisStore, Shifting]) -> Shifting:
        return made[1]


def test_it_agrees_with_the_model(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # No message tells that time was moved: who waits has to ask.
    monkeypatch.setattr("response_cache.stores.redis._store.CHECK_INTERVAL", 0.02)
    monkeypatch.setattr("response_cache.stores.redis._store.CLAIM_CHECK_INTERVAL", 0.12)
    machine_for(deployment.make, max_examples=30, unit=UNIT)("runTest").debug()


# What only this store promises.

LEASE = 15.0
TTL = 100.0


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


@pytest.fixture
async def store(server: Server, prefix: str) -> AsyncIterator[RedisStore]:
    store = at(server.url)(prefix)
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


def new(id: str = "r", *events: bytes, epoch: int = 1, private: bytes = b"") -> NewRecord:
    return NewRecord(
        id=id,
        incarnation="first",
        header=b"h",
        request=b"q",
        snapshot=b'{"id":"r"}',
        events=events,
        status="queued",
        ttl=TTL,
        private=private,
        epoch=epoch,
    )


async def create(store: Store, id: str = "r", *events: bytes) -> Claim:
    return await store.create(new(id, *events), LEASE)


async def append(store: Store, claim: Claim, *events: bytes, token: str | None = None) -> Claim:
    return (await appended(store, claim, *events, token=token)).claim


async def appended(
    store: Store, claim: Claim, *events: bytes, token: str | None = None
) -> Appended:
    token = uuid4().hex if token is None else token
    return await store.append(claim, Append(events=events, token=token, ttl=TTL), LEASE)


async def update(store: Store, claim: Claim, event: bytes, snapshot: bytes) -> Claim:
    """Append *event* with a snapshot."""
    append = Append(events=[event], token=uuid4().hex, snapshot=snapshot, ttl=TTL)
    return (await store.append(claim, append, LEASE)).claim


async def close(
    store: Store, claim: Claim, *, snapshot: bytes | None = None, stream_ttl: float | None = None
) -> Claim:
    """Append the end."""
    append = Append(
        events=[b"end"],
        token=uuid4().hex,
        snapshot=snapshot,
        close=True,
        ttl=TTL,
        stream_ttl=stream_ttl,
    )
    return (await store.append(claim, append, LEASE)).claim


async def log_of(store: Store, id: str = "r") -> list[bytes]:
    view = await store.read(id, after=-1)
    assert view is not None
    return list(view.events)


async def eventually(condition: Callable[[], object]) -> None:
    """Return when *condition* holds, and let others work meanwhile."""
    async with asyncio.timeout(WAIT_TIMEOUT):
        while not condition():  # noqa: ASYNC110 - of a server, which has no event to wait for
            await asyncio.sleep(0.005)


def keys_of(client: redis.Redis, prefix: str) -> set[str]:
    return {key.decode().replace(prefix, "") for key in client.scan_iter(match=f"*{prefix}*")}


async def test_the_key_of_a_response_holds_exactly_its_snapshot(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    claim = await create(store)
    assert client.get(f"{prefix}r") == b'{"id":"r"}'
    await update(store, claim, b"0", b'{"id":"r","status":"in_progress"}')
    assert client.get(f"{prefix}r") == b'{"id":"r","status":"in_progress"}'


async def test_a_response_has_four_keys_in_one_slot_and_each_expires(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    claim = await create(store)
    claim = await append(store, claim, b"0")
    assert keys_of(client, prefix) == {"r", "{r}:meta", "{r}:log", "{r}:request"}
    keys = [f"{prefix}r", *(f"{{{prefix}r}}:{part}" for part in ("meta", "log", "request"))]
    assert len({key_slot(key.encode()) for key in keys}) == 1
    assert [TTL <= client.ttl(key) <= 1.25 * TTL for key in keys] == [True] * 4
    claim = await update(store, claim, b"1", b"{}")
    assert [TTL <= client.ttl(key) <= 1.25 * TTL for key in keys] == [True] * 4
    await close(store, claim, snapshot=b"{}", stream_ttl=50.0)
    assert [client.ttl(key) for key in keys] == pytest.approx([100, 100, 50, 100], abs=1)
    await store.delete("r")
    assert keys_of(client, prefix) == {"{r}:deleted"}
    assert 0 < client.ttl(f"{{{prefix}r}}:deleted") <= store.tombstone_ttl


async def test_every_entry_of_the_log_is_one_batch_named_after_its_last_event(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    claim = await create(store, "r", b"0", b"1")
    claim = await append(store, claim, b"2", b"3", b"4")
    await append(store, claim, b"5")
    entries = client.xrange(f"{{{prefix}r}}:log")
    assert [id for id, _ in entries or []] == [b"2-0", b"5-0", b"6-0"]


async def test_a_log_that_is_over_is_packed_into_few_entries(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    claim = await create(store, "r", b"0")
    for n in range(1, 50):
        claim = await append(store, claim, *[b"%d" % n] * 50)
    before = await log_of(store)
    await close(store, claim, stream_ttl=50.0)
    log = f"{{{prefix}r}}:log"
    await eventually(lambda: client.xlen(log) == 3)
    assert await log_of(store) == [*before, b"end"]
    assert client.ttl(log) == pytest.approx(50, abs=1)
    view = await store.read("r", after=998, limit=3)
    assert view is not None
    assert view.events == [*before, b"end"][999:1002]


@pytest.mark.parametrize("change", ["delete", "another"])
async def test_a_log_is_not_packed_when_the_record_is_another_by_then(
    store: RedisStore, client: redis.Redis, prefix: str, change: str
) -> None:
    claim = await create(store)
    for _ in range(20):
        claim = await append(store, claim, b"x")
    closing = asyncio.create_task(close(store, claim))
    closed = await closing
    await store.delete("r")
    if change == "another":
        client.delete(f"{{{prefix}r}}:deleted")
        await create(store, "r", b"other")
    await store.aclose()
    expected = (
        {"{r}:deleted"} if change == "delete" else {"r", "{r}:meta", "{r}:log", "{r}:request"}
    )
    assert closed.tail == 21
    assert keys_of(client, prefix) == expected


async def test_what_is_listed_by_is_kept_and_what_is_private_is_erased_with_the_close(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    meta = f"{{{prefix}r}}:meta"
    claim = await store.create(replace(new(private=b"p"), owner="o", label="l"), LEASE)
    assert client.hmget(meta, "owner", "label", "private") == [b"o", b"l", b"p"]
    append = Append(events=[b"0"], token="a", private=b"again", ttl=TTL)
    claim = (await store.append(claim, append, LEASE)).claim
    assert client.hget(meta, "private") == b"again"
    end = Append(events=[b"1"], token="b", private=b"late", close=True, ttl=TTL)
    await store.append(claim, end, LEASE)
    await store.append(claim, end, LEASE)
    assert client.hmget(meta, "owner", "label", "private") == [b"o", b"l", None]


async def test_what_is_empty_takes_no_room(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    await create(store)
    assert client.hmget(f"{{{prefix}r}}:meta", "owner", "label", "private") == [None] * 3


async def test_epochs_are_exact_up_to_the_largest(deployment: Deployment) -> None:
    store, _ = deployment.make()
    await store.open()
    claim = await store.create(new("r", b"0", epoch=2**53 - 2**32 - 1), LEASE)
    waiting = asyncio.create_task(
        store.wait("r", after=NO_EVENTS, epoch=claim.epoch, incarnation="first")
    )
    taken = await store.take("r", lease=LEASE, raise_by=2**32 - 1)
    assert taken.claim == replace(claim, epoch=2**53 - 2)
    async with asyncio.timeout(WAIT_TIMEOUT):
        await waiting
    with pytest.raises(Fenced):
        await append(store, replace(claim, epoch=2**53 - 3), b"1")
    held = await append(store, taken.claim, b"1")
    assert held.epoch == 2**53 - 2
    raised = replace(held, epoch=2**53 - 1)
    assert await store.create(new("r", b"0", epoch=raised.epoch), LEASE) == raised
    with pytest.raises(Fenced):
        await append(store, held, b"2")
    view = await store.read("r")
    assert view is not None
    assert (view.epoch, view.tail) == (2**53 - 1, 2)
    await store.aclose()


async def test_whoever_waits_elsewhere_is_told_of_a_create_at_a_higher_epoch(
    deployment: Deployment, prefix: str
) -> None:
    here, there = deployment.store(prefix), deployment.store(prefix)
    await create(here)
    waiting = asyncio.create_task(there.wait("r", after=NO_EVENTS, epoch=1, incarnation="first"))
    await there.read("r")
    await here.create(new("r", epoch=5), LEASE)
    async with asyncio.timeout(WAIT_TIMEOUT):
        await waiting
    await here.aclose()
    await there.aclose()


async def test_a_renewed_record_keeps_its_keys_and_the_end_of_its_log(
    store: RedisStore, client: redis.Redis, prefix: str
) -> None:
    await close(store, await create(store), stream_ttl=50.0)
    keys = [f"{prefix}r", *(f"{{{prefix}r}}:{part}" for part in ("meta", "log", "request"))]
    for ttl, left in ((90.0, 100), (0.0, 100), (200.0, 300), (200.0, 300)):
        assert list(await store.renew([Link("r", "first")], ttl=ttl)) == [True]
        assert [client.ttl(key) for key in keys] == pytest.approx([left, left, 50, left], abs=1)


@pytest.mark.parametrize("prefix", ["{", "a}b", "{app}:"])
async def test_a_prefix_with_braces_is_refused(server: Server, prefix: str) -> None:
    with pytest.raises(ValueError, match="braces"):
        store_from_url(f"{server.url}?key_prefix={prefix}")


async def test_ids_with_braces_are_ids_like_others(deployment: Deployment) -> None:
    store, _ = deployment.make()
    await store.open()
    for id in ("a{b}c", "a%7Bb%7Dc", "a", "{b}"):
        await create(store, id, id.encode())
    for id in ("a{b}c", "a%7Bb%7Dc", "a", "{b}"):
        assert await log_of(store, id) == [id.encode()]
    await store.aclose()


async def test_what_is_stored_can_be_listed(deployment: Deployment) -> None:
    store, _ = deployment.make()
    await store.open()
    ids = {"a{b}c", "a%7Bb%7Dc", "a", "ab", "b"}
    for id in ids:
        await create(store, id, b"0")
    await store.delete("ab")
    assert {id async for id in store.ids()} == ids - {"ab"}
    assert {id async for id in store.ids("a{")} == {"a{b}c"}
    await store.aclose()


async def test_a_prefix_is_no_pattern(server: Server) -> None:
    for prefix, id in (("x[a]*", "mine"), ("xa", "other")):
        store = at(server.url)(quote(prefix))
        await store.open()
        await create(store, id)
        assert [id async for id in store.ids()] == [id]
        await store.aclose()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_client_handed_in_stays_open_whatever_its_protocol(
    server: Server, prefix: str, protocol: int
) -> None:
    async with redis.asyncio.Redis(port=server.port, protocol=protocol) as client:
        store = RedisStore(client, key_prefix=prefix)
        await store.open()
        claim = await create(store)
        waiting = asyncio.create_task(store.wait("r", after=-1, epoch=1, incarnation="first"))
        await append(store, claim, b"0")
        await waiting
        await store.aclose()
        assert await client.ping()


async def test_a_cluster_client_handed_in_stays_open(cluster: ClusterOfThree, prefix: str) -> None:
    async with redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port) as client:
        store = RedisStore(client, key_prefix=prefix)
        await store.open()
        await create(store)
        await store.aclose()
        assert await client.ping()


async def test_any_command_with_a_key_finds_its_node(cluster: ClusterOfThree, prefix: str) -> None:
    store = at(cluster.url)(prefix)
    await store.open()
    ids = [f"r{n}" for n in range(12)]
    for id in ids:
        await create(store, id)
    commands = [("PTTL", store.keys(id)[0]) for id in ids]
    for command in commands:
        (left,) = await replies_to(store.servers.send, [command])
        assert 0 < left <= 1250 * TTL
    together = await replies_to(store.servers.send, commands)  # on three nodes
    assert [0 < left <= 1250 * TTL for left in together] == [True] * 12
    await store.aclose()


@pytest.mark.parametrize("kind", [redis.asyncio.Redis, redis.asyncio.RedisCluster])
def test_a_client_that_decodes_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="decode_responses=False"):
        RedisStore(kind(host="127.0.0.1", decode_responses=True))


@pytest.mark.parametrize("option", ["tombstone_ttl", "socket_timeout", "max_connections"])
def test_bounds_must_be_positive(option: str) -> None:
    with pytest.raises(ValueError, match="positive"):
        RedisStore(redis.asyncio.Redis(), **{option: 0})  # type: ignore[arg-type]  # that is it


async def test_events_need_a_token(store: RedisStore) -> None:
    claim = await create(store)
    with pytest.raises(ValueError, match="token"):
        await append(store, claim, b"0", token="")
    assert await log_of(store) == []


def test_it_needs_asyncio(server: Server) -> None:
    with pytest.raises(RuntimeError, match="asyncio"):
        trio.run(store_from_url(server.url).open)


class Counting(SingleServer):
    """A server that remembers what it was sent."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client, owned=[client])
        self.sent: list[Sequence[Command]] = []

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        self.sent.append(commands)
        return super().send(commands, on_replies)

    @property
    def questions(self) -> int:
        """How often it was asked for a position."""
        return sum(POSITION.digest in command for sent in self.sent for command in sent)


@pytest.fixture
async def counting(server: Server) -> AsyncIterator[Counting]:
    servers = Counting(redis.asyncio.Redis(port=server.port))
    yield servers
    await servers.aclose()


async def test_what_many_ask_at_once_travels_in_one_pipeline(
    counting: Counting, prefix: str
) -> None:
    store = RedisStore(counting, key_prefix=prefix)
    claims = await asyncio.gather(*(create(store, f"r{n}") for n in range(100)))
    assert [len(commands) for commands in counting.sent] in ([100], [100, 100])  # scripts unknown
    counting.sent.clear()
    await asyncio.gather(*(append(store, claim, b"0") for claim in claims))
    assert [len(commands) for commands in counting.sent] in ([100], [100, 100])
    await store.aclose()


async def test_a_pipeline_is_about_one_mebibyte_at_most(counting: Counting, prefix: str) -> None:
    store = RedisStore(counting, key_prefix=prefix)
    claims = await asyncio.gather(*(create(store, f"r{n}") for n in range(8)))
    counting.sent.clear()
    noise = random.Random(0).randbytes(400_000)
    await asyncio.gather(*(append(store, claim, noise) for claim in claims))
    assert max(len(commands) for commands in counting.sent) == 3
    await store.aclose()


async def test_the_links_of_a_chain_travel_together(counting: Counting, prefix: str) -> None:
    store = RedisStore(counting, key_prefix=prefix)
    links = [Link(f"r{n}", "first") for n in range(500)]
    await store.renew(links, ttl=TTL)  # and the server knows the script
    counting.sent.clear()
    renewing = asyncio.create_task(store.renew(links, ttl=TTL))
    await asyncio.sleep(0)  # it has called
    await asyncio.sleep(0)  # and this is the end of that turn, before any answer
    assert [len(commands) for commands in counting.sent] == [200, 200, 100]
    assert list(await renewing) == [False] * 500
    await store.aclose()


class CountingCluster(Cluster):
    """A cluster that remembers what its nodes were sent."""

    def __init__(self, client: redis.asyncio.RedisCluster) -> None:
        super().__init__(client, is_owned=True)
        self.sent: list[Sequence[Command]] = []

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        self.sent.append(commands)
        return super().send(commands, on_replies)


async def test_the_links_of_a_chain_travel_together_to_each_node_of_a_cluster(
    cluster: ClusterOfThree, prefix: str
) -> None:
    servers = CountingCluster(redis.asyncio.RedisCluster("127.0.0.1", cluster.nodes[0].port))
    store = RedisStore(servers, key_prefix=prefix)
    await store.open()
    for n in range(0, 60, 2):
        await close(store, await create(store, f"r{n}"))
    links = [Link(f"r{n}", "first") for n in range(60)]
    assert list(await store.renew(links, ttl=TTL)) == [True, False] * 30
    servers.sent.clear()
    assert list(await store.renew(links, ttl=2 * TTL)) == [True, False] * 30
    by_node = [{servers.node_of(str(key)) for _, _, _, key, *_ in sent} for sent in servers.sent]
    assert [len(nodes) for nodes in by_node] == [1, 1, 1]
    assert len(set.union(*by_node)) == 3
    await store.aclose()


class Clumsy(SingleServer):
    """A server that nothing can be sent to."""

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        raise RuntimeError(f"{len(commands)} commands dropped")


async def test_whatever_goes_wrong_in_sending_is_told_to_all_who_asked(server: Server) -> None:
    async with redis.asyncio.Redis(port=server.port) as client:
        store = RedisStore(Clumsy(client))
        asked = await asyncio.gather(*(store.read("r") for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in asked] == ["3 commands dropped"] * 3
        await store.aclose()


async def test_who_is_cancelled_takes_nobody_along(store: RedisStore) -> None:
    claims = await asyncio.gather(*(create(store, f"r{n}") for n in range(50)))
    writing = [asyncio.create_task(append(store, claim, b"0", token="b")) for claim in claims]
    await asyncio.sleep(0)  # they are in one pipeline now
    await asyncio.sleep(0)
    for task in writing[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*writing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[1::2]] == [Claim] * 25
    again = await asyncio.gather(*(append(store, claim, b"0", token="b") for claim in claims))
    assert [claim.tail for claim in again] == [1] * 50
    assert [await log_of(store, claim.id) for claim in claims] == [[b"0"]] * 50


async def test_scripts_that_the_server_forgot_are_taught_again(
    store: RedisStore, client: redis.Redis
) -> None:
    claims = list(await asyncio.gather(*(create(store, f"r{n}") for n in range(20))))
    for n in range(3):
        client.script_flush()
        calls = [append(store, claim, b"%d" % n) for claim in claims]
        reading = asyncio.gather(*(store.read(claim.id) for claim in claims))
        claims = list(await asyncio.gather(*calls))
        assert None not in await reading
    assert [await log_of(store, claim.id) for claim in claims] == [[b"0", b"1", b"2"]] * 20


async def test_a_thousand_who_wait_need_one_connection(
    server: Server, client: redis.Redis, prefix: str
) -> None:
    before = len(client.client_list())
    store = store_from_url(f"{server.url}?key_prefix={prefix}&socket_timeout={WAIT_TIMEOUT}")
    claims = await asyncio.gather(*(create(store, f"r{n}") for n in range(1000)))
    waits = [store.wait(c.id, after=-1, epoch=1, incarnation="first") for c in claims]
    waiting = [asyncio.create_task(wait) for wait in waits]
    await eventually(lambda: len(client.pubsub_channels(f"*{prefix}*")) == 1000)
    connections = client.client_list()
    assert len([c for c in connections if int(c["sub"])]) == 1
    assert len(connections) <= before + 8 + 1
    await asyncio.gather(*(append(store, claim, b"0") for claim in claims))
    async with asyncio.timeout(WAIT_TIMEOUT):
        await asyncio.gather(*waiting)
    await store.aclose()


async def test_only_what_somebody_waits_for_is_received(
    store: RedisStore, client: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("response_cache.stores.redis._subscriptions.UNSUBSCRIBE_DELAY", 0.0)
    claim = await create(store)
    recorder = asyncio.create_task(store.wait("r", after=NO_EVENTS, epoch=1, incarnation="first"))
    await eventually(lambda: client.pubsub_channels(f"*{prefix}*"))
    assert client.pubsub_channels(f"*{prefix}*") == [f"{{{prefix}r}}:claim".encode()]
    for n in range(5):
        claim = await append(store, claim, b"%d" % n)
    assert not recorder.done()
    reader = asyncio.create_task(store.wait("r", after=4, epoch=1, incarnation="first"))
    await eventually(lambda: len(client.pubsub_channels(f"*{prefix}*")) == 2)
    await append(store, claim, b"5")
    await reader
    await eventually(lambda: len(client.pubsub_channels(f"*{prefix}*")) == 1)
    await store.take("r", lease=LEASE)
    await recorder
    await eventually(lambda: not client.pubsub_channels(f"*{prefix}*"))


async def test_who_closed_a_record_knows_it_before_he_is_told(
    counting: Counting, prefix: str
) -> None:
    store = RedisStore(counting, key_prefix=prefix)
    for n in range(20):
        claim = await create(store, f"r{n}")
        counting.sent.clear()
        recorder = asyncio.create_task(
            store.wait(claim.id, after=NO_EVENTS, epoch=1, incarnation="first")
        )
        await eventually(lambda: counting.questions)
        await store.read(claim.id)
        counting.sent.clear()
        await close(store, claim)
        keeper = asyncio.create_task(
            store.wait(claim.id, after=NO_EVENTS, epoch=1, incarnation="first", closed=True)
        )
        await recorder
        await store.read(claim.id)
        assert not keeper.done()
        assert not counting.questions
        await store.delete(claim.id)
        async with asyncio.timeout(WAIT_TIMEOUT):
            await keeper
    await store.aclose()


async def test_who_comes_back_at_once_is_still_listening(counting: Counting, prefix: str) -> None:
    store = RedisStore(counting, key_prefix=prefix)
    claim = await create(store)
    for n in range(6):
        if n == 1:
            counting.sent.clear()
        waiting = asyncio.create_task(store.wait("r", after=n - 1, epoch=1, incarnation="first"))
        await asyncio.sleep(0)
        claim = await append(store, claim, b"%d" % n)
        await waiting
    assert not counting.questions
    await store.aclose()


async def test_a_channel_wanted_again_as_it_is_given_up_is_listened_to(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("response_cache.stores.redis._subscriptions.UNSUBSCRIBE_DELAY", 0.0)
    servers = SingleServer(redis.asyncio.Redis(port=server.port))
    subscriptions = Subscriptions(servers, timeout=WAIT_TIMEOUT)
    again: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    with ExitStack() as stack:

        def return_at_once() -> None:
            again.set_result(stack.enter_context(subscriptions.listening(f"{prefix}r")))

        with subscriptions.listening(f"{prefix}r") as channel:
            channel.enter()
            await channel.until_live(WAIT_TIMEOUT)
        asyncio.get_running_loop().call_later(0, return_at_once)  # right after it is given up
        returned = await again
        returned.enter()
        assert returned is not channel
        await returned.until_live(WAIT_TIMEOUT / 4)
        assert returned.is_live
    await subscriptions.aclose()


async def test_an_append_tells_whether_anybody_listens(store: RedisStore) -> None:
    outcome = await appended(store, await create(store), b"0")
    assert not outcome.is_watched
    waiting = asyncio.create_task(store.wait("r", after=0, epoch=1, incarnation="first"))
    while not outcome.is_watched:
        outcome = await appended(store, outcome.claim, b"more")
        await asyncio.sleep(0.01)
    await waiting


class Mute(SingleServer):
    """A server whose messages are all lost."""

    publish = "EXISTS"


async def test_a_lost_message_costs_one_look(
    server: Server, store: RedisStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("response_cache.stores.redis._store.CHECK_INTERVAL", 0.05)
    claim = await create(store)
    waiting = asyncio.create_task(store.wait("r", after=-1, epoch=1, incarnation="first"))
    async with redis.asyncio.Redis(port=server.port) as client:
        await append(RedisStore(Mute(client), key_prefix=prefix), claim, b"0")
        async with asyncio.timeout(WAIT_TIMEOUT):
            await waiting


async def test_news_that_a_reader_does_not_find_are_asked_for_anew(
    counting: Counting, client: redis.Redis, prefix: str
) -> None:
    """The server forgot the last events, and told nobody."""
    store = RedisStore(counting, key_prefix=prefix)
    claim = await create(store, "r", b"0")
    waiting = asyncio.create_task(store.wait("r", after=0, epoch=1, incarnation="first"))
    await eventually(lambda: client.pubsub_channels(f"*{prefix}*"))
    await append(store, claim, b"1", b"2")
    await waiting
    client.delete(f"{prefix}r")
    await create(store, "r", b"0")
    await store.wait("r", after=0, epoch=1, incarnation="first")  # as was heard
    waiting = asyncio.create_task(store.wait("r", after=0, epoch=1, incarnation="first"))
    await append(store, claim, b"1")
    async with asyncio.timeout(WAIT_TIMEOUT):
        await waiting
    assert counting.questions >= 2
    await store.aclose()


async def test_two_stores_see_each_others_changes(deployment: Deployment, prefix: str) -> None:
    """As two processes would: create and append here, wait and take there."""
    here, there = deployment.store(prefix), deployment.store(prefix)
    claim = await create(here)
    for n in range(20):
        waiting = asyncio.create_task(there.wait("r", after=n - 1, epoch=1, incarnation="first"))
        await asyncio.sleep(0)
        claim = await append(here, claim, b"%d" % n)
        async with asyncio.timeout(WAIT_TIMEOUT):
            await waiting
    waiting = asyncio.create_task(here.wait("r", after=NO_EVENTS, epoch=1, incarnation="first"))
    await there.take("r", lease=LEASE)
    async with asyncio.timeout(WAIT_TIMEOUT):
        await waiting
    with pytest.raises(Fenced):
        await append(here, claim, b"late")
    await here.aclose()
    await there.aclose()


async def test_nothing_is_left_running_or_connected(server: Server, client: redis.Redis) -> None:
    async def used() -> None:
        store, id = store_from_url(server.url), uuid4().hex
        await store.open()
        claim = await create(store, id)
        waiting = asyncio.create_task(store.wait(id, after=0, epoch=1, incarnation="first"))
        for _ in range(10):
            claim = await append(store, claim, b"x")
        await close(store, claim)
        await waiting
        await store.delete(id)
        await store.aclose()

    tasks, connections = len(asyncio.all_tasks()), len(client.client_list())
    for _ in range(3):
        await used()
    await eventually(lambda: len(client.client_list()) == connections)
    assert len(asyncio.all_tasks()) == tasks


async def test_the_server_sees_who_is_connected(
    server: Server, client: redis.Redis, prefix: str
) -> None:
    version = client.info("server")["redis_version"]  # what Valkey is compatible with, too
    if tuple(map(int, version.split(".")[:2])) < (7, 2):
        pytest.skip("servers before Redis 7.2 cannot be told (CLIENT SETINFO)")
    store = at(server.url)(prefix)
    await store.open()
    names = {connected.get("lib-name") for connected in client.client_list()}
    await store.aclose()
    assert f"redis-py(response-cache_v{__version__})" in names


async def test_it_can_be_opened_again(server: Server, prefix: str) -> None:
    store = at(server.url)(prefix)
    for n in range(3):
        await store.open()
        await create(store, f"r{n}")
        await store.aclose()
    await store.open()
    assert await store.read("r0") is not None
    await store.aclose()


# URLs.

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://[::1]:6380/3",
        f"rediss://me:{SECRET}@host:6390/0?ssl_ca_certs=ca.pem",
        f"redis+sentinel://:{SECRET}@a,b:26380/service/2",
        "redis+cluster://127.0.0.1:7000,127.0.0.1:7001",
        "rediss+cluster://127.0.0.1",
        "redis://h?key_prefix=&tombstone_ttl=5&socket_timeout=0.5&max_connections=3",
    ],
)
def test_a_url_names_a_store(url: str) -> None:
    assert isinstance(store_from_url(url), RedisStore)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://a,b", "several need"),
        ("redis://h/x", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis://h:port", "a name or address"),
        ("redis://h:123456", "a name or address"),
        ("redis://h#x", "no fragment"),
        ("redis+sentinel://h", "service's name"),
        ("redis+sentinel://h/s/x", "number of a database"),
        ("redis+cluster://h/1", "no path"),
        ("redis://h?ssl_ca_certs=x", "only with rediss"),
        ("redis://h?retry=3", "known are key_prefix, max_connections, socket_timeout"),
        ("redis://h?max_connections=none", "a whole number above 0"),
    ],
)
def test_a_url_that_is_wrong_is_refused_by_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        store_from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{SECRET}@h:{SECRET}",
        f"redis://me:{SECRET}@h/{SECRET}",
        f"redis://me:{SECRET}@h?{SECRET}=1",
        f"redis+cluster://me:{SECRET}@h/{SECRET}",
        f"redis+sentinel://me:{SECRET}@h",
    ],
)
def test_no_message_repeats_a_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        store_from_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("missing", ["redis", "hiredis"])
def test_without_the_extra_the_error_says_how_to_get_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from response_cache.stores import store_from_url\n"
        "try: store_from_url('redis://localhost')\n"
        "except ImportError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    ).stdout
    assert said == "RedisStore needs redis and hiredis: pip install 'response-cache[redis]'\n"


async def test_sentinel_names_the_primary(prefix: str) -> None:
    with running_server() as primary, running_sentinel(primary.port) as sentinel:
        store = at(f"redis+sentinel://127.0.0.1:{sentinel.port}/service")(prefix)
        await store.open()
        claim = await create(store)
        waiting = asyncio.create_task(store.wait("r", after=-1, epoch=1, incarnation="first"))
        await append(store, claim, b"0")
        await waiting
        with primary.client() as client:
            assert client.exists(f"{prefix}r")
        await store.aclose()
