"""What happens to a SQLite store in a bad place: one clear error, and nothing half done."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from response_cache._protocol.ids import ANYBODY
from response_cache._protocol.jsontext import dump
from response_cache._protocol.requests import create_request
from response_cache.cache import Created, ResponseCache
from response_cache.errors import StoreFull, StoreUnavailable
from response_cache.options import Options
from response_cache.store import Append, Claim
from response_cache.stores.sqlite._schema import FORMAT
from response_cache.stores.sqlite._store import SQLiteStore
from response_cache.testing._simulator import ScriptedAnswer
from tests.stores.sqlite.peer import peer_on
from tests.stores.sqlite.subject import (
    LEASE,
    TTL,
    WAIT_TIMEOUT,
    append,
    close,
    create,
    grown_until_full,
    open_store,
    view_of,
    wait_for_more,
)

pytestmark = pytest.mark.slow

IMPATIENT = 0.02
MAX_BYTES = 2**20
BODY = {"model": "m", "input": "hi", "background": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    async with open_store(path, busy_timeout=IMPATIENT) as store:
        yield store


async def refusal(path: Path) -> str:
    """Why the file cannot be opened as a store."""
    store = SQLiteStore(path, busy_timeout=IMPATIENT)
    with pytest.raises(StoreUnavailable, match=f"^cannot use {path}: ") as caught:
        await store.open()
    await store.aclose()
    return str(caught.value)


async def make_store(path: Path, *, size: int = 0) -> None:
    """A closed file with one response in it, of *size* bytes that cannot be compressed."""
    async with open_store(path) as store:
        await create(store, "a", b"0", request=os.urandom(size))


def make_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def size_of(path: Path) -> int:
    """The bytes of the file, of which a part may still be in the write-ahead log."""
    with closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(pages) * int(page_size)


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def locked(store: SQLiteStore, path: Path) -> Iterator[sqlite3.Connection]:
    """Another process has begun to write, and does not end; stands in for any long writer."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


# At start.


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "its directory does not exist" in await refusal(tmp_path / "missing" / "x.db")


async def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    assert "cannot be opened" in await refusal(tmp_path)


@pytest.mark.parametrize("content", [b"x" * 4096, b"not a database"], ids=["a page", "a line"])
async def test_something_that_is_no_database_is_refused_and_left_alone(
    path: Path, content: bytes
) -> None:
    make_file(path, content)
    assert "not a SQLite database" in await refusal(path)
    assert content_of(path) == content


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    make_file(path, b"")
    await make_store(path)
    assert content_of(path)


async def test_the_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    database(path, "CREATE TABLE theirs (x)", "PRAGMA user_version = 1")
    before = content_of(path)
    assert "the database of something else" in await refusal(path)
    assert content_of(path) == before


async def test_a_file_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    await make_store(path)
    database(path, f"PRAGMA user_version = {FORMAT + 1}", "PRAGMA wal_checkpoint(TRUNCATE)")
    before = content_of(path)
    assert f"newer release, in format {FORMAT + 1}" in await refusal(path)
    assert content_of(path) == before


async def test_a_locked_file_is_refused_after_a_while(path: Path) -> None:
    await make_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked by another process" in await refusal(path)


async def test_a_new_file_that_is_locked_is_refused_after_a_while(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "locked by another process" in await refusal(path)


@pytest.mark.parametrize("has_file", [True, False], ids=["file", "directory"])
async def test_what_is_read_only_is_refused(has_file: bool) -> None:
    # Not below the test's own directory, which only its owner may enter; root may write anywhere.
    with TemporaryDirectory() as directory:
        path = Path(directory, "responses.db")
        if has_file:
            await make_store(path)
            set_mode(path, 0o444)
        set_mode(path.parent, 0o555)
        async with peer_on(path) as peer:
            await peer.ask("give_up_rights")
            answer = await peer.ask("open")
        set_mode(path.parent, 0o755)
    assert answer.startswith(f"StoreUnavailable: cannot use {path}: ")
    assert ("it cannot be written" if has_file else "Permission denied") in answer


async def test_a_disk_without_room_is_told_at_start(path: Path) -> None:
    store = SQLiteStore(path, max_bytes=8192)
    with pytest.raises(StoreFull, match="there is no room left"):
        await store.open()


# Later.


async def test_a_damaged_file_gives_an_error_and_no_half_of_a_response(path: Path) -> None:
    await make_store(path, size=2**20)
    overwrite(path, 2**18, b"\xff" * 2**19)
    async with open_store(path) as store:
        with pytest.raises(StoreUnavailable, match="it is damaged"):
            await store.request("a")


async def test_a_file_that_is_locked_takes_no_writes_and_can_still_be_read(
    store: SQLiteStore, locked: sqlite3.Connection
) -> None:
    claim = await create(store, "a", b"0")
    locked.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="it is locked by another process"):
        await append(store, claim, b"1")
    assert list((await view_of(store, "a")).events) == [b"0"]
    locked.execute("ROLLBACK")
    assert (await append(store, claim, b"1")).tail == 2
    assert list((await view_of(store, "a")).events) == [b"0", b"1"]


async def test_all_that_waited_for_a_lock_get_an_error_of_their_own(
    store: SQLiteStore, locked: sqlite3.Connection
) -> None:
    claims = [await create(store, f"resp_{n}") for n in range(10)]
    errors: list[StoreUnavailable] = []

    async def write(claim: Claim) -> None:
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            await append(store, claim, b"0")
        errors.append(caught.value)

    locked.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as group:
        for claim in claims:
            group.start_soon(write, claim)
    assert len({id(error) for error in errors}) == len(claims)


async def test_a_full_store_refuses_and_leaves_what_it_has(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        claim = await create(store, "a")
        claim = await grown_until_full(store, claim)
        view = await view_of(store, "a")
        assert view.tail == len(view.events) == claim.tail > 10
        with pytest.raises(StoreFull, match=f"cannot use {path}: there is no room left"):
            await create(store, "b", request=os.urandom(2**20))
        assert await store.read("b") is None


async def test_a_full_store_has_room_again_when_a_response_is_deleted(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        await create(store, "a", request=os.urandom(2**19))
        with pytest.raises(StoreFull):
            await create(store, "b", request=os.urandom(2**19))
        assert await store.delete("a")
        await create(store, "b", request=os.urandom(2**19))


async def test_heartbeats_and_ends_go_past_the_bound_of_a_full_store(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        ended = await create(store, "ended")
        claim = await grown_until_full(store, await create(store, "a"))
        heartbeat = Append(notes=os.urandom(2**16), snapshot=os.urandom(2**16), ttl=TTL)
        assert (await store.append(claim, heartbeat, LEASE)).claim == claim
        await close(store, ended, event := os.urandom(2**18))
        assert list((await view_of(store, "ended")).events) == [event]
        assert size_of(path) > MAX_BYTES + 2**18
        with pytest.raises(StoreFull):
            await append(store, claim, os.urandom(2**14))
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        with pytest.raises(StoreFull):
            await append(store, claim, os.urandom(2**14))


async def test_all_that_needs_no_room_goes_where_many_are_refused(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        claims = [await create(store, f"resp_{n}") for n in range(30)]
        await grown_until_full(store, await create(store, "a"))
        refused: list[int] = []

        async def write(n: int) -> None:
            try:
                await (append, close)[n % 2](store, claims[n], os.urandom(2**15))
            except StoreFull:
                refused.append(n)

        async with anyio.create_task_group() as group:
            for n in range(30):
                group.start_soon(write, n)
        assert sorted(refused) == [*range(0, 30, 2)]
        closed = [(await view_of(store, claim.id)).closed for claim in claims]
        assert closed == [False, True] * 15


async def test_a_full_store_can_always_be_deleted_from(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        ids = [f"resp_{n:0200}" for n in range(100)]  # their tombstones need pages
        for id in ids:
            await create(store, id)
        await grown_until_full(store, await create(store, "a"))
        assert all([await store.delete(id) for id in ids])


async def test_a_response_that_finds_no_room_ends_failed_with_what_it_has(path: Path) -> None:
    upstream = ScriptedAnswer()
    store = SQLiteStore(path, max_bytes=MAX_BYTES)
    async with ResponseCache(store, Options(full_timeout=0.2)) as cache:
        created = await cache.create(create_request(BODY), dump(BODY), upstream, owner=ANYBODY)
        assert isinstance(created, Created)
        upstream.send({"type": "response.created", "response": {"id": "resp_up"}})
        view = await view_of(store, created.id, after=None)
        with anyio.fail_after(WAIT_TIMEOUT):
            while not view.closed:
                upstream.send({"type": "response.custom", "text": os.urandom(2**14).hex()})
                await anyio.sleep(0.01)
                view = await view_of(store, created.id, after=None)
        upstream.finish()
        assert view.status == "failed"
        log = (await view_of(store, created.id)).events
        assert len(log) == view.tail > 10
        assert b"no room" in log[-1]


async def test_what_finds_no_room_fails_alone(path: Path) -> None:
    async with open_store(path, max_bytes=MAX_BYTES) as store:
        claims = [await create(store, f"resp_{n}") for n in range(5)]
        refused: list[str] = []

        async def write(claim: Claim, size: int) -> None:
            try:
                await append(store, claim, os.urandom(size))
            except StoreFull:
                refused.append(claim.id)

        async with anyio.create_task_group() as group:
            for claim in claims:
                group.start_soon(write, claim, 2**20 if claim.id == "resp_2" else 100)
        assert refused == ["resp_2"]
        assert [(await view_of(store, claim.id)).tail for claim in claims] == [1, 1, 0, 1, 1]


async def test_a_disk_that_fails_in_the_middle_of_a_write_leaves_a_whole_log(path: Path) -> None:
    async with peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        assert isinstance(await peer.ask("append", id="a", events=["0"]), float)
        await peer.ask("limit_files", spare=10_000)
        answer = None
        count = 1
        while isinstance(answer, float | None):
            answer = await peer.ask("append", id="a", events=[os.urandom(2000).hex()])
            count += isinstance(answer, float)
        assert answer.startswith("Store")
        await peer.ask("limit_files", spare=None)
        assert isinstance(await peer.ask("append", id="a", events=["end"]), float)
    async with open_store(path) as store:
        view = await view_of(store, "a")
        assert view.tail == len(view.events) == count + 1
        assert (view.events[0], view.events[-1]) == (b"0", b"end")


async def test_who_waits_is_woken_when_the_file_fails(store: SQLiteStore, path: Path) -> None:
    await create(store, "a")
    view = await view_of(store, "a")
    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_more, store, view)
        await anyio.wait_all_tasks_blocked()
        await view_of(store, "a")  # reads come one after the other: the waiter has had its own
        database(path, "DROP TABLE record")
    with pytest.raises(StoreUnavailable, match="no such table"):
        await store.read("a")
