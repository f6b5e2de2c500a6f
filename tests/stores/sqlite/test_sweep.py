"""What has expired leaves the file, and the file shrinks."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from response_cache.errors import Missing
from tests.stores.sqlite.subject import (
    TTL,
    WAIT_TIMEOUT,
    HandClock,
    append,
    close,
    create,
    grown_until_full,
    open_store,
    view_of,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@dataclass(frozen=True)
class Looker:
    """Looks at the file past the store."""

    path: Path

    def one(self, query: str) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            (value,) = connection.execute(query).fetchone()
        return int(value)

    async def until(self, query: str, wanted: Callable[[int], bool]) -> None:
        """Return when what *query* gives is as *wanted*."""
        with anyio.fail_after(WAIT_TIMEOUT):
            while not wanted(self.one(query)):  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(0.005)


@pytest.fixture
def looker(path: Path) -> Looker:
    return Looker(path)


async def test_what_has_expired_is_swept(path: Path, clock: HandClock, looker: Looker) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        for n in range(120):
            claim = await create(store, f"resp_{n}", b"0")
            if n % 2:
                await close(store, claim)
        await store.delete("deleted")
        tables = ("record", "log", "snapshot", "request", "tombstone")
        everything = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        assert looker.one(f"SELECT {everything}") == 4 * 120 + 1
        await clock.advance(max(TTL, store.tombstone_ttl) + 1)
        await looker.until(f"SELECT {everything}", lambda rows: rows == 0)


async def test_what_has_not_expired_stays(path: Path, clock: HandClock, looker: Looker) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        await close(store, await create(store, "old", b"0"))
        await clock.advance(TTL - 1)
        await create(store, "open", b"0")
        await close(store, await create(store, "closed", b"0"))
        await clock.advance(2)
        await looker.until("SELECT count(*) FROM record", lambda rows: rows == 2)
        assert list((await view_of(store, "open")).events) == [b"0"]
        assert list((await view_of(store, "closed")).events) == [b"0"]
        assert await store.request("closed") == b"request"


async def test_an_expired_log_is_swept_before_its_record(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        await close(store, await create(store, "a", b"0"), stream_ttl=5.0)
        await clock.advance(6.0)
        await looker.until("SELECT count(*) FROM log", lambda rows: rows == 0)
        view = await view_of(store, "a", after=None)
        assert (view.log_expired, view.snapshot, view.tail) == (True, b"end", 1)


async def test_the_file_shrinks_when_much_has_expired(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        for n in range(20):
            await append(store, await create(store, f"resp_{n}"), os.urandom(2**18))
        assert looker.one("PRAGMA page_count") > 20 * 2**18 // 4096
        await clock.advance(TTL + 1)
        await looker.until("PRAGMA page_count", lambda pages: pages < 100)


async def test_a_file_that_grew_past_its_bound_is_bounded_again_once_it_has_shrunk(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(
        path, clock=clock, sweep_interval=0.01, tombstone_ttl=1.0, max_bytes=2**20
    ) as store:
        ended = await create(store, "ended")
        await grown_until_full(store, await create(store, "a"))
        await close(store, ended, os.urandom(2**21))
        assert looker.one("PRAGMA page_count") > 2**21 // 4096
        await clock.advance(TTL + 1)
        await looker.until("PRAGMA page_count", lambda pages: pages <= 2**20 // 4096)
        await store.delete("b")
        await clock.advance(1)
        await looker.until("SELECT count(*) FROM tombstone", lambda rows: rows == 0)  # swept again
        assert (await grown_until_full(store, await create(store, "b"))).tail > 10
        assert looker.one("PRAGMA page_count") <= 2**20 // 4096


async def test_an_expired_response_that_was_not_swept_makes_room_for_a_new_one(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(path, clock=clock) as store:
        old = await create(store, "a", b"old")
        await clock.advance(TTL + 1)
        with pytest.raises(Missing):
            await append(store, old, b"1")
        await create(store, "a", b"new")
        assert list((await view_of(store, "a")).events) == [b"new"]
        assert looker.one("SELECT count(*) FROM log") == 1
