"""Several processes on one file."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path

import anyio
import pytest
from anyio import create_task_group

from response_cache.errors import Fenced
from response_cache.store import Claim, RecordView
from tests.stores.sqlite.peer import peer_on
from tests.stores.sqlite.subject import (
    LEASE,
    WAIT_TIMEOUT,
    append,
    create,
    open_store,
    view_of,
    wait_for_more,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


async def test_a_response_of_another_process_is_followed_within_50_ms(path: Path) -> None:
    lags: list[float] = []
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        view = await view_of(store, "a")

        async def follow(view: RecordView) -> None:
            await wait_for_more(store, view)
            lags.append(time.time())

        for n in range(30):
            async with create_task_group() as group:
                group.start_soon(follow, view)
                await anyio.wait_all_tasks_blocked()
                before = await peer.ask("append", id="a", events=[str(n)])
            view = await view_of(store, "a", after=n - 1)
            assert list(view.events) == [str(n).encode()]
            lags[-1] -= before
    assert statistics.median(lags) < 0.05


async def test_the_end_of_a_response_in_another_process_is_seen(path: Path) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await peer.ask("create", id="a")
        view = await view_of(store, "a")
        async with create_task_group() as group:
            group.start_soon(wait_for_more, store, view)
            await peer.ask("append", id="a", events=["end"], close=True)
        assert (await view_of(store, "a")).closed


@pytest.mark.parametrize("order", ["take", "delete"])
async def test_a_recorder_learns_what_another_process_does_to_its_response(
    path: Path, order: str
) -> None:
    async with open_store(path) as store, peer_on(path) as peer:
        await peer.ask("open")
        await create(store, "a")

        async def record() -> None:
            with anyio.fail_after(WAIT_TIMEOUT):
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
        assert list((await view_of(store, "a")).events) == [b"0", b"mine"]


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
        view = await view_of(store, "a", after=-1)
        assert view.tail >= acknowledged
        assert list(view.events) == [str(n).encode() for n in range(view.tail)]
        taken = await store.take("a", lease=LEASE)
        assert taken.claim is not None
        await append(store, taken.claim, b"end")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
