"""The threads of an open store, seen from its event loop."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from response_cache.errors import Missing
from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._threads import Threads
from tests import deadlines

NOW = 1000.0


@pytest.fixture
async def threads(tmp_path: Path) -> AsyncIterator[Threads]:
    file = DatabaseFile(tmp_path / "responses.db", "NORMAL", busy_timeout=1.0, max_bytes=None)
    file.prepare()
    threads = Threads(file, lambda: NOW, [])
    threads.start()
    yield threads
    await threads.stop()


def bury(records: Records) -> str:
    records.connection.execute("INSERT INTO tombstone (id, expires) VALUES ('a', 1)")
    return threading.current_thread().name


def count(records: Records) -> int:
    (rows,) = records.connection.execute("SELECT count(*) FROM tombstone").fetchone()
    return int(rows)


async def test_a_read_sees_what_was_written_before_it(threads: Threads) -> None:
    assert await threads.read(count) == 0
    assert await threads.write(bury) == "response-cache-sqlite-writer"
    assert await threads.read(count) == 1


async def test_what_is_written_is_announced_in_the_loop_first(threads: Threads) -> None:
    announced: list[tuple[str, int]] = []
    await threads.write(bury, lambda name: announced.append((name, threading.get_ident())))
    assert announced == [("response-cache-sqlite-writer", threading.get_ident())]


async def test_it_is_announced_also_when_the_caller_is_gone(threads: Threads) -> None:
    started, go_on = threading.Event(), threading.Event()
    announced = anyio.Event()

    def work(records: Records) -> str:
        started.set()
        go_on.wait()
        return bury(records)

    async with anyio.create_task_group() as group:
        group.start_soon(threads.write, work, lambda _: announced.set())
        await anyio.to_thread.run_sync(started.wait)
        group.cancel_scope.cancel()
    go_on.set()
    await announced.wait()
    assert await threads.read(count) == 1


async def test_an_error_is_raised_by_the_caller(threads: Threads) -> None:
    def work(_: Records) -> None:
        raise Missing("there is no such record")

    with pytest.raises(Missing, match="no such record"):
        await threads.write(work)


async def test_one_long_read_does_not_hold_up_the_next(threads: Threads) -> None:
    started, go_on = threading.Event(), threading.Event()

    def work(_: Records) -> None:
        started.set()
        go_on.wait(deadlines.WAIT_TIMEOUT)

    async with anyio.create_task_group() as group:
        group.start_soon(threads.read, work)
        await anyio.to_thread.run_sync(started.wait)
        with anyio.fail_after(deadlines.WAIT_TIMEOUT):
            assert await threads.read(count) == 0
        go_on.set()


async def test_all_that_is_queued_is_done_at_the_end_and_nothing_after_it(
    threads: Threads,
) -> None:
    written: list[str] = []

    async def write(id: str) -> None:
        def work(records: Records) -> None:
            records.connection.execute("INSERT INTO tombstone VALUES (?, 1)", (id,))

        await threads.write(work)
        written.append(id)

    async with anyio.create_task_group() as group:
        for n in range(20):
            group.start_soon(write, str(n))
        await anyio.wait_all_tasks_blocked()
        await threads.stop()
    assert sorted(written, key=int) == [str(n) for n in range(20)]
    with pytest.raises(RuntimeError, match="closed"):
        await threads.read(count)
