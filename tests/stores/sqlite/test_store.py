"""The SQLite store: the contract, the model, and what only it promises."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from response_cache._log.batches import Batch
from response_cache._log.delta_runs import DeltaRun, Shape
from response_cache.store import Append, Claim, Store
from response_cache.stores import store_from_url
from response_cache.stores.sqlite import _watch as sqlite_watch
from response_cache.stores.sqlite._store import SQLiteStore
from response_cache.testing import StoreConformance, machine_for
from tests.stores.sqlite.subject import (
    LEASE,
    TTL,
    WAIT_TIMEOUT,
    HandClock,
    append,
    create,
    open_store,
    view_of,
    wait_for_more,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


@pytest.fixture
async def store(path: Path, clock: HandClock) -> AsyncIterator[SQLiteStore]:
    async with open_store(path, clock=clock) as store:
        yield store


class TestSQLiteStore(StoreConformance):
    @pytest.fixture
    async def store(self, path: Path, clock: HandClock) -> AsyncIterator[Store]:
        async with open_store(path, clock=clock) as store:
            yield store


class PassingStore(SQLiteStore):
    """A store whose file goes with it."""

    def __init__(self, clock: HandClock) -> None:
        self.directory = TemporaryDirectory()
        super().__init__(Path(self.directory.name, "responses.db"), tombstone_ttl=20.0, clock=clock)

    async def aclose(self) -> None:
        await super().aclose()
        self.directory.cleanup()


def passing_store() -> tuple[SQLiteStore, HandClock]:
    clock = HandClock()
    return PassingStore(clock), clock


TestSQLiteStoreAgainstTheModel = machine_for(passing_store, max_examples=30, steps=30)


# What it says of itself.


def store_of(option: str, value: Any) -> SQLiteStore:
    return SQLiteStore("x.db", **{option: value})


def test_it_forgets_nothing_and_needs_no_tag() -> None:
    store = SQLiteStore("x.db", tombstone_ttl=5.0)
    assert (store.may_lose_writes, store.id_tag, store.tombstone_ttl) == (False, "", 5.0)
    assert 0 < store.flush_interval < 0.05


@pytest.mark.parametrize("name", ["tombstone_ttl", "poll_interval", "busy_timeout", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_options_must_be_positive(name: str, value: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        store_of(name, value)


def test_an_unknown_way_to_synchronise_is_refused() -> None:
    with pytest.raises(ValueError, match="NORMAL, FULL"):
        store_of("synchronous", "OFF")


# What a URL names.


async def test_a_url_names_a_file_of_this_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_from_url("sqlite:///my%20file.db?tombstone_ttl=7")
    monkeypatch.undo()
    await store.open()
    await store.aclose()
    assert (tmp_path / "my file.db").exists()
    assert store.tombstone_ttl == 7


async def test_a_url_names_a_file_anywhere(path: Path) -> None:
    store = store_from_url(f"sqlite:///{path}?synchronous=full&poll_interval=0.02&busy_timeout=2")
    await store.open()
    await store.aclose()
    assert await anyio.Path(path).exists()


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite://file.db"])
def test_a_url_without_a_file_is_answered_with_the_right_forms(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///relative\.db or sqlite:////absolute\.db"):
        store_from_url(url)


def test_a_url_with_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="busy_timeout, max_bytes, poll_interval"):
        store_from_url("sqlite:///x.db?timeout=1")


@pytest.mark.parametrize("option", ["synchronous=OFF", "max_bytes=1.5", "busy_timeout=no"])
def test_a_url_with_a_wrong_value_is_refused_by_its_name(option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option.partition('=')[0]} .* must be "):
        store_from_url(f"sqlite:///x.db?{option}")


# The file.


async def test_what_is_stored_outlives_the_store(path: Path) -> None:
    for n in range(3):
        store = SQLiteStore(path)
        await store.open()
        claim = await create(store, f"resp_{n}", b"0")
        await append(store, claim, b"1")
        assert [(await view_of(store, f"resp_{m}")).tail for m in range(n + 1)] == [2] * (n + 1)
        await store.aclose()


async def test_a_store_can_be_opened_again(path: Path) -> None:
    store = SQLiteStore(path)
    for n in range(2):
        await store.open()
        await create(store, f"resp_{n}")
        await store.aclose()
    await store.open()
    assert (await view_of(store, "resp_0")).tail == 0
    await store.aclose()


async def test_a_closed_store_is_one_file_and_no_thread(store: SQLiteStore, path: Path) -> None:
    await create(store, "a")
    assert any(thread.name.startswith("response-cache") for thread in threading.enumerate())
    await store.aclose()
    assert list(path.parent.iterdir()) == [path]
    assert not any(thread.name.startswith("response-cache") for thread in threading.enumerate())


async def test_only_the_owner_of_the_file_can_read_it(store: SQLiteStore, path: Path) -> None:
    await create(store, "a")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


async def test_pending_work_is_done_before_the_store_closes(store: SQLiteStore, path: Path) -> None:
    async with create_task_group() as group:
        for n in range(20):
            group.start_soon(create, store, f"resp_{n}")
        await anyio.wait_all_tasks_blocked()
        await store.aclose()
    await store.open()
    assert all([await store.read(f"resp_{n}") for n in range(20)])


async def test_a_store_that_is_not_open_says_so(store: SQLiteStore) -> None:
    await store.aclose()
    with pytest.raises(RuntimeError, match="not open"):
        await store.read("a")


async def test_who_waits_is_woken_when_the_store_closes(store: SQLiteStore) -> None:
    await create(store, "a")
    view = await view_of(store, "a")
    async with create_task_group() as group:
        group.start_soon(wait_for_more, store, view)
        await anyio.wait_all_tasks_blocked()
        await store.aclose()


async def test_a_child_process_is_told_to_open_a_store_of_its_own(store: SQLiteStore) -> None:
    await create(store, "a")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what we test
        child = os.fork()
    if child == 0:
        try:
            store.read("a").send(None)
        except RuntimeError as error:
            os._exit(0 if "fork" in str(error) else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - it has ended
    assert (await view_of(store, "a")).tail == 0


async def test_events_need_a_token(store: SQLiteStore) -> None:
    claim = await create(store, "a")
    with pytest.raises(ValueError, match="token"):
        await store.append(claim, Append(events=[b"0"], ttl=TTL), LEASE)
    assert (await view_of(store, "a")).tail == 0


# Groups.


async def test_a_cancelled_caller_breaks_nobody(store: SQLiteStore, path: Path) -> None:
    claims = [await create(store, f"resp_{n}") for n in range(10)]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with create_task_group() as kept, create_task_group() as cancelled:
            for claim in claims[:5]:
                kept.start_soon(append, store, claim, b"0")
            for claim in claims[5:]:
                cancelled.start_soon(append, store, claim, b"0")
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
            other.execute("ROLLBACK")
    assert [(await view_of(store, f"resp_{n}")).tail for n in range(5)] == [1] * 5
    repeated = [await append(store, claim, b"0") for claim in claims]
    assert [claim.tail for claim in repeated] == [1] * 10


async def test_the_mistake_of_one_caller_fails_nobody_else(store: SQLiteStore, path: Path) -> None:
    claims = [await create(store, f"resp_{n}") for n in range(5)]
    failed: list[str] = []

    async def write(claim: Claim, notes: object) -> None:
        append = Append(
            events=[b"0"],
            token="t",
            notes=notes,  # type: ignore[arg-type]  # the mistake
            ttl=TTL,
        )
        try:
            await store.append(claim, append, LEASE)
        except sqlite3.Error:
            failed.append(claim.id)

    async with create_task_group() as group:
        for claim in claims:
            group.start_soon(write, claim, object() if claim.id == "resp_2" else b"notes")
    assert failed == ["resp_2"]
    pages = [await view_of(store, claim.id) for claim in claims]
    assert [view.tail for view in pages] == [1, 1, 0, 1, 1]


async def test_a_large_batch_is_packed_beside_the_event_loop(store: SQLiteStore) -> None:
    event = bytes(range(256)) * 1024
    claim = await append(store, await create(store, "a"), event, b"small")
    assert claim.tail == 2
    assert list((await view_of(store, "a")).events) == [event, b"small"]


async def test_a_run_of_deltas_is_stored_as_the_events_that_it_stands_for(
    store: SQLiteStore,
) -> None:
    shape = Shape(b'{"sequence_number":', b',"delta":"', b'"}', is_number_first=True)
    batch = Batch()
    batch.append(b"first")
    batch.extend(DeltaRun(shape, 1, 2000, b"\n".join([b"text"] * 2000)))
    assert (await append(store, await create(store, "a"), *batch)).tail == 2001
    append_of_runs = Append(events=batch, token="t", ttl=TTL)
    claim = await create(store, "b")
    assert (await store.append(claim, append_of_runs, LEASE)).claim.tail == 2001
    events = (await view_of(store, "b")).events
    assert events == (await view_of(store, "a")).events
    assert (events[0], len(events)) == (b"first", 2001)


# Waiting.


async def test_who_waits_for_no_event_sleeps_through_appends(store: SQLiteStore) -> None:
    claim = await create(store, "a")
    view = await view_of(store, "a")
    woken = anyio.Event()

    async def record() -> None:
        await store.wait("a", after=10**9, epoch=1, incarnation="first")
        woken.set()

    async with create_task_group() as group:
        group.start_soon(record)
        for _ in range(10):
            async with create_task_group() as readers:
                readers.start_soon(wait_for_more, store, view)
                claim = await append(store, claim, b"x")
            view = await view_of(store, "a")
        assert not woken.is_set()
        await store.take("a", lease=LEASE)
        with anyio.fail_after(WAIT_TIMEOUT):
            await woken.wait()


async def test_who_waits_for_a_response_that_expires_is_woken(
    store: SQLiteStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_watch, "FULL_POLL_INTERVAL", 0.02)
    await create(store, "a")
    view = await view_of(store, "a")
    async with create_task_group() as group:
        group.start_soon(wait_for_more, store, view)
        await anyio.wait_all_tasks_blocked()
        await clock.advance(TTL + 1)
    assert await store.read("a") is None


async def test_waits_that_were_given_up_leave_nothing_behind(store: SQLiteStore) -> None:
    await create(store, "a")
    view = await view_of(store, "a")
    async with create_task_group() as group:
        for _ in range(20):
            group.start_soon(wait_for_more, store, view)
        await anyio.wait_all_tasks_blocked()
        assert not store._waiters.is_empty()
        group.cancel_scope.cancel()
    assert store._waiters.is_empty()
