"""The SQLite store: the contract, the model, and what only it promises."""

from __future__ import annotations

import os
import sqlite3
import stat
import statistics
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from response_cache.errors import Fenced, Missing
from response_cache.store import Claim, Page, Store
from response_cache.stores import sqlite_watch, store_from_url
from response_cache.stores.sqlite import SQLiteStore
from response_cache.stores.sqlite_file import Synchronous
from response_cache.testing import StoreConformance, machine_for
from tests.stores.sqlite_peer import peer_on

LEASE = 60.0
TTL = 600.0
PATIENCE = 30.0


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


@pytest.fixture
async def store(path: Path, clock: HandClock) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(path, clock=clock)
    await store.open()
    yield store
    await store.aclose()


class TestSQLiteStore(StoreConformance):
    @pytest.fixture
    async def store(self, path: Path, clock: HandClock) -> AsyncIterator[Store]:
        store = SQLiteStore(path, clock=clock)
        await store.open()
        yield store
        await store.aclose()


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


@asynccontextmanager
async def open_store(
    path: Path, *, clock: Callable[[], float] = time.time, sweep_interval: float = 10.0
) -> AsyncIterator[SQLiteStore]:
    """A store while the context lasts."""
    store = SQLiteStore(path, clock=clock, sweep_interval=sweep_interval)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def create(store: Store, id: str, *events: bytes) -> Claim:
    return await store.create(
        id,
        incarnation="first",
        header=b"header",
        request=b"request",
        snapshot=b"snapshot",
        events=events,
        status="queued",
        lease=LEASE,
        ttl=TTL,
    )


async def append(store: Store, claim: Claim, *events: bytes) -> Claim:
    return await store.append(claim, events, batch=f"at {claim.tail}", lease=LEASE, ttl=TTL)


async def close(store: Store, claim: Claim, *, stream_ttl: float | None = None) -> Claim:
    return await store.append(
        claim, [], close=True, snapshot=b"end", lease=LEASE, ttl=TTL, stream_ttl=stream_ttl
    )


async def page_of(store: Store, id: str, *, after: int | None = None) -> Page:
    page = await store.read(id, after=after)
    assert page is not None
    return page


async def wait_for_more(store: Store, page: Page) -> None:
    with anyio.fail_after(PATIENCE):
        await store.wait(
            page.id, after=page.tail - 1, epoch=page.epoch, incarnation=page.incarnation
        )


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
        with anyio.fail_after(PATIENCE):
            while not wanted(self.one(query)):  # noqa: ASYNC110 - a file tells nobody
                await anyio.sleep(0.005)


@pytest.fixture
def looker(path: Path) -> Looker:
    return Looker(path)


# What it says of itself.


def store_of(option: str, value: Any) -> SQLiteStore:
    return SQLiteStore("x.db", **{option: value})


def test_it_forgets_nothing_and_needs_no_tag() -> None:
    store = SQLiteStore("x.db", tombstone_ttl=5.0)
    assert (store.can_forget, store.id_tag, store.tombstone_ttl) == (False, "", 5.0)
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
        assert [(await page_of(store, f"resp_{m}")).tail for m in range(n + 1)] == [2] * (n + 1)
        await store.aclose()


async def test_a_store_can_be_opened_again(path: Path) -> None:
    store = SQLiteStore(path)
    for n in range(2):
        await store.open()
        await create(store, f"resp_{n}")
        await store.aclose()
    await store.open()
    assert (await page_of(store, "resp_0")).tail == 0
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
    page = await page_of(store, "a")
    async with create_task_group() as group:
        group.start_soon(wait_for_more, store, page)
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
    assert (await page_of(store, "a")).tail == 0


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
async def test_each_commit_waits_for_the_disk_if_that_is_wanted(
    path: Path, synchronous: Synchronous, level: int
) -> None:
    store = SQLiteStore(path, synchronous=synchronous)
    await store.open()
    with closing(store._file.connect()) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    await store.aclose()


async def test_events_need_a_batch_token(store: SQLiteStore) -> None:
    claim = await create(store, "a")
    with pytest.raises(ValueError, match="batch"):
        await store.append(claim, [b"0"], lease=LEASE, ttl=TTL)
    assert (await page_of(store, "a")).tail == 0


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
    assert [(await page_of(store, f"resp_{n}")).tail for n in range(5)] == [1] * 5
    repeated = [await append(store, claim, b"0") for claim in claims]
    assert [claim.tail for claim in repeated] == [1] * 10


async def test_the_mistake_of_one_caller_fails_nobody_else(store: SQLiteStore, path: Path) -> None:
    claims = [await create(store, f"resp_{n}") for n in range(5)]
    failed: list[str] = []

    async def write(claim: Claim, notes: object) -> None:
        try:
            await store.append(
                claim,
                [b"0"],
                batch="b",
                notes=notes,  # type: ignore[arg-type]  # the mistake
                lease=LEASE,
                ttl=TTL,
            )
        except sqlite3.Error:
            failed.append(claim.id)

    async with create_task_group() as group:
        for claim in claims:
            group.start_soon(write, claim, object() if claim.id == "resp_2" else b"notes")
    assert failed == ["resp_2"]
    pages = [await page_of(store, claim.id) for claim in claims]
    assert [page.tail for page in pages] == [1, 1, 0, 1, 1]


async def test_a_large_batch_is_packed_beside_the_event_loop(store: SQLiteStore) -> None:
    event = bytes(range(256)) * 1024
    claim = await append(store, await create(store, "a"), event, b"small")
    assert claim.tail == 2
    assert list((await page_of(store, "a", after=-1)).events) == [event, b"small"]


# Waiting.


async def test_who_waits_for_no_event_sleeps_through_appends(store: SQLiteStore) -> None:
    claim = await create(store, "a")
    page = await page_of(store, "a")
    woken = anyio.Event()

    async def record() -> None:
        await store.wait("a", after=10**9, epoch=1, incarnation="first")
        woken.set()

    async with create_task_group() as group:
        group.start_soon(record)
        for _ in range(10):
            async with create_task_group() as readers:
                readers.start_soon(wait_for_more, store, page)
                claim = await append(store, claim, b"x")
            page = await page_of(store, "a")
        assert not woken.is_set()
        await store.take("a", lease=LEASE)
        with anyio.fail_after(PATIENCE):
            await woken.wait()


async def test_who_waits_for_a_response_that_expires_is_woken(
    store: SQLiteStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_watch, "FULL_LOOK", 0.02)
    await create(store, "a")
    page = await page_of(store, "a")
    async with create_task_group() as group:
        group.start_soon(wait_for_more, store, page)
        await anyio.wait_all_tasks_blocked()
        await clock.advance(TTL + 1)
    assert await store.read("a") is None


async def test_waits_that_were_given_up_leave_nothing_behind(store: SQLiteStore) -> None:
    await create(store, "a")
    page = await page_of(store, "a")
    async with create_task_group() as group:
        for _ in range(20):
            group.start_soon(wait_for_more, store, page)
        await anyio.wait_all_tasks_blocked()
        assert store._watch.is_needed()
        group.cancel_scope.cancel()
    assert not store._watch.is_needed()


# Several processes.


async def test_a_response_of_another_process_is_followed_within_50_ms(path: Path) -> None:
    lags: list[float] = []
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        page = await page_of(store, "a")

        async def follow(page: Page) -> None:
            await wait_for_more(store, page)
            lags.append(time.time())

        for n in range(30):
            async with create_task_group() as group:
                group.start_soon(follow, page)
                await anyio.wait_all_tasks_blocked()
                before = await peer.ask("append", id="a", events=[str(n)])
            page = await page_of(store, "a", after=n - 1)
            assert list(page.events) == [str(n).encode()]
            lags[-1] -= before
    assert statistics.median(lags) < 0.05


async def test_the_end_of_a_response_in_another_process_is_seen(path: Path) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        page = await page_of(store, "a")
        async with create_task_group() as group:
            group.start_soon(wait_for_more, store, page)
            await peer.ask("append", id="a", events=["end"], close=True)
        assert (await page_of(store, "a")).closed


@pytest.mark.parametrize("order", ["take", "delete"])
async def test_a_recorder_learns_what_another_process_does_to_its_response(
    path: Path, order: str
) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await create(store, "a")

        async def record() -> None:
            with anyio.fail_after(PATIENCE):
                await store.wait("a", after=10**9, epoch=1, incarnation="first")

        async with create_task_group() as group:
            group.start_soon(record)
            await anyio.wait_all_tasks_blocked()
            await peer.ask(order, id="a")


async def test_a_take_fences_the_holder_in_another_process(path: Path) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        await peer.ask("append", id="a", events=["0"])
        taken = await store.take("a", lease=LEASE)
        assert taken.claim == Claim("a", "first", 2, tail=1)
        answer = await peer.ask("append", id="a", events=["1"])
        assert answer.startswith(Fenced.__name__)
        await append(store, taken.claim, b"mine")
        assert list((await page_of(store, "a", after=-1)).events) == [b"0", b"mine"]


async def test_workers_that_start_together_share_a_new_file(path: Path) -> None:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(peer_on(path)) for _ in range(4)]
        answers: list[object] = []

        async def start(n: int) -> None:
            answers.append(await peers[n].ask("open"))
            answers.append(await peers[n].ask("create", id=f"resp_{n}"))

        async with create_task_group() as group:
            for n in range(4):
                group.start_soon(start, n)
        assert answers == [None] * 8
        async with open_store(path) as store:
            assert all([await store.read(f"resp_{n}") for n in range(4)])


async def test_a_killed_process_leaves_all_that_was_acknowledged(path: Path) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        acknowledged = await peer.ask("flood", id="a")
        while acknowledged < 1000:
            acknowledged = await peer.answer()
        peer.process.kill()
        await peer.process.wait()
        page = await page_of(store, "a", after=-1)
        assert page.tail >= acknowledged
        assert list(page.events) == [str(n).encode() for n in range(page.tail)]
        taken = await store.take("a", lease=LEASE)
        assert taken.claim is not None
        await append(store, taken.claim, b"end")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# Sweeping.


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
        assert list((await page_of(store, "open", after=-1)).events) == [b"0"]
        assert list((await page_of(store, "closed", after=-1)).events) == [b"0"]
        assert await store.request("closed") == b"request"


async def test_an_expired_log_is_swept_before_its_record(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        await close(store, await create(store, "a", b"0"), stream_ttl=5.0)
        await clock.advance(6.0)
        await looker.until("SELECT count(*) FROM log", lambda rows: rows == 0)
        page = await page_of(store, "a")
        assert (page.log_expired, page.snapshot, page.tail) == (True, b"end", 1)


async def test_the_file_shrinks_when_much_has_expired(
    path: Path, clock: HandClock, looker: Looker
) -> None:
    async with open_store(path, clock=clock, sweep_interval=0.01) as store:
        for n in range(20):
            await append(store, await create(store, f"resp_{n}"), os.urandom(2**18))
        assert looker.one("PRAGMA page_count") > 20 * 2**18 // 4096
        await clock.advance(TTL + 1)
        await looker.until("PRAGMA page_count", lambda pages: pages < 100)


async def test_an_expired_response_that_was_not_swept_makes_room_for_a_new_one(
    store: SQLiteStore, clock: HandClock, looker: Looker
) -> None:
    old = await create(store, "a", b"old")
    await clock.advance(TTL + 1)
    with pytest.raises(Missing):
        await append(store, old, b"1")
    await create(store, "a", b"new")
    assert list((await page_of(store, "a", after=-1)).events) == [b"new"]
    assert looker.one("SELECT count(*) FROM log") == 1
