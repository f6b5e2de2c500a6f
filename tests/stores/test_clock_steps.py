"""The clock by which a store judges leases is set: what lives is not closed, and what is dead is.

The rule itself is tested on virtual clocks (``tests/recording/test_orphans.py``,
``tests/test_promises.py``); here each store has its part in it, and two processes over one
store do it in real time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import anyio
import pytest

from response_cache._protocol.ids import ANYBODY
from response_cache._protocol.jsontext import JsonObject, dump, load
from response_cache._protocol.requests import create_request
from response_cache.cache import Created, ResponseCache, body_of
from response_cache.options import Options
from response_cache.store import Store
from response_cache.stores.memory import MemoryStore
from response_cache.stores.sqlite._store import SQLiteStore
from response_cache.testing import Clock
from response_cache.testing._simulator import ScriptedAnswer
from response_cache.testing._store_promises.subject import Subject
from tests import deadlines
from tests.stores.redis.test_store import Shifting, at
from tests.stores.servers import Server, running_server
from tests.stores.sqlite.subject import HandClock

pytestmark = pytest.mark.slow

LEASE: Final = 600.0
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
# A heartbeat is due each half second, and comes later than the confirmation after a step.
OPTIONS: Final = Options(lease=1.5, take_lease=1.0, orphan_confirmation=0.3, ttl=2.0)
AFTER_A_HEARTBEAT: Final = 0.6
BODY: Final = {"model": "m", "input": "hi", "background": True}


@pytest.fixture
def anyio_backend() -> str:
    """The driver of Redis is for asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@dataclass
class Place:
    """Where stores are made that share what they keep, and the clock that they go by."""

    make: Callable[[], Store]
    clock: Clock


class WallClock(HandClock):
    """The real time and what it was set by."""

    def __call__(self) -> float:
        return time.monotonic() + self.now


@contextmanager
def redis_at(server: Server) -> Iterator[Place]:
    prefix = f"{uuid4().hex}:"
    with server.client() as client:
        yield Place(partial(at(server.url), prefix), Shifting(client, prefix))


def sqlite_at(directory: Path, clock: HandClock) -> Place:
    return Place(partial(SQLiteStore, directory / "responses.db", clock=clock), clock)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place in which no time passes by itself, or (Redis) too little to matter."""
    match request.param:
        case "memory":
            clock = HandClock()
            yield Place(partial(MemoryStore, clock=clock), clock)
        case "sqlite":
            yield sqlite_at(tmp_path, HandClock())
        case "redis":
            with redis_at(request.getfixturevalue("server")) as place:
                yield place


@pytest.fixture
async def subject(place: Place) -> AsyncIterator[Subject]:
    store = place.make()
    await store.open()
    yield Subject(store, f"resp_{uuid4().hex}")
    await store.aclose()


@pytest.mark.parametrize(("back", "is_orphaned"), [(0.9, False), (1.1, True), (10_000, True)])
async def test_a_lease_from_before_the_clock_was_set_back_lasts_no_longer_than_twice_its_length(
    subject: Subject, place: Place, back: float, is_orphaned: bool
) -> None:
    await subject.create(lease=LEASE)
    await place.clock.advance(-back * LEASE)
    assert (await subject.view()).orphaned is is_orphaned
    claim = await subject.take(only_orphaned=True, lease=LEASE)
    assert (claim is not None) is is_orphaned
    assert not (await subject.view()).orphaned


async def test_whoever_renews_holds_the_lease_again_wherever_the_clock_is_now(
    subject: Subject, place: Place
) -> None:
    claim = await subject.create(lease=LEASE, ttl=100 * LEASE)
    for seconds in (10 * LEASE, -20 * LEASE, 10 * LEASE):
        await place.clock.advance(seconds)
        assert (await subject.view()).orphaned
        claim = await subject.append(claim, lease=LEASE, ttl=100 * LEASE)
        assert not (await subject.view()).orphaned


# Two processes, in real time.


@pytest.fixture(params=["sqlite", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place that processes share."""
    if request.param == "sqlite":
        yield sqlite_at(tmp_path, WallClock())
    else:
        with redis_at(request.getfixturevalue("server")) as place:
            yield place


async def response(cache: ResponseCache, id: str) -> JsonObject:
    """What a poll shows."""
    found: JsonObject = load(body_of(await cache.retrieve(id, ANYBODY)))
    return found


async def test_a_step_kills_no_silent_response_and_no_record_with_a_short_life(
    shared: Place,
) -> None:
    upstream = ScriptedAnswer()
    async with AsyncExitStack() as stack:
        recording, reading = [
            await stack.enter_async_context(ResponseCache(shared.make(), OPTIONS)) for _ in "ab"
        ]
        created = await recording.create(create_request(BODY), dump(BODY), upstream, owner=ANYBODY)
        assert isinstance(created, Created)
        for seconds in (30, -30):
            await anyio.sleep(AFTER_A_HEARTBEAT)
            await shared.clock.advance(seconds)
            with anyio.move_on_after(OPTIONS.lease):
                while True:
                    assert (await response(reading, created.id))["status"] == "queued"
                    await anyio.sleep(0.05)
        upstream.send({"type": "response.created", "response": {"id": "resp_up"}})
        upstream.send(
            {"type": "response.completed", "response": {"status": "completed", "output": []}}
        )
        upstream.finish()
        with anyio.fail_after(WAIT_TIMEOUT):
            while (await response(reading, created.id))["status"] != "completed":  # noqa: ASYNC110
                await anyio.sleep(0.05)
