"""A thread of the store: which jobs share a transaction, and what an error does to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from response_cache.errors import Missing, StoreFull, StoreUnavailable
from response_cache.store import Claim, NewRecord
from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._session import Session
from response_cache.stores.sqlite._worker import Job, Worker, WorkQueue
from tests import deadlines
from tests.stores.sqlite.subject import new_record

NOW = 1000.0
WAIT_TIMEOUT = deadlines.WAIT_TIMEOUT

Callback = Callable[[], None]


@pytest.fixture
def anyio_backend() -> str:
    """A job's event belongs to a loop, and this module plays the loop; one kind of it will do."""
    return "asyncio"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    file = DatabaseFile(tmp_path / "responses.db", "NORMAL", busy_timeout=0.02, max_bytes=None)
    file.prepare()
    return Session(file, lambda: NOW, "BEGIN IMMEDIATE")


def job_of(work: Callable[[Records], Any], on_commit: Callable[[Any], None] | None = None) -> Job:
    return Job(work, on_commit)


def queue_of(*jobs: Job) -> WorkQueue:
    queue = WorkQueue()
    for job in jobs:
        queue.put(job)
    return queue


@contextmanager
def working(session: Session, queue: WorkQueue, **options: Any) -> Iterator[SimpleQueue[Callback]]:
    """A worker of *queue*; what it has called in the loop, in order."""
    callbacks: SimpleQueue[Callback] = SimpleQueue()
    worker = Worker(
        "test", queue, session, call_soon=callbacks.put, **{"group_size": 200, **options}
    )
    worker.start()
    try:
        yield callbacks
    finally:
        queue.close()
        worker.join(WAIT_TIMEOUT)
        assert not worker.is_alive()


def work_off(session: Session, *jobs: Job, **options: Any) -> int:
    """Have all *jobs* done; in how many groups."""
    groups = 0
    with working(session, queue_of(*jobs), **options) as callbacks:
        while not all(job.done.is_set() for job in jobs):
            callbacks.get(timeout=WAIT_TIMEOUT)()
            groups += 1
    return groups


def bury(id: str) -> Callable[[Records], str]:
    """Work that writes a row."""

    def work(records: Records) -> str:
        records.connection.execute(
            "INSERT OR REPLACE INTO tombstone (id, expires) VALUES (?, ?)", (id, NOW + 1)
        )
        return id

    return work


def fail(error: Exception) -> Callable[[Records], None]:
    def work(records: Records) -> None:
        bury("undone")(records)
        raise error

    return work


def buried(session: Session) -> set[str]:
    with session.transaction() as records:
        found = {id for (id,) in records.connection.execute("SELECT id FROM tombstone")}
    session.close()
    return found


# The queue.


async def test_a_group_is_what_is_there_in_order_and_at_most_so_many() -> None:
    jobs = [job_of(bury(str(n))) for n in range(5)]
    queue = queue_of(*jobs)
    assert queue.next_group(2, None) == jobs[:2]
    assert queue.next_group(200, None) == jobs[2:]
    assert queue.next_group(200, 0.0) == []


async def test_a_closed_queue_gives_what_it_has_and_takes_no_more() -> None:
    queue = queue_of(job := job_of(bury("a")))
    queue.close()
    with pytest.raises(RuntimeError, match="closed"):
        queue.put(job_of(bury("b")))
    assert queue.next_group(200, None) == [job]
    assert queue.next_group(200, None) is None


# Groups.


async def test_jobs_share_a_transaction_up_to_the_size_of_a_group(session: Session) -> None:
    jobs = [job_of(bury(str(n))) for n in range(5)]
    assert work_off(session, *jobs, group_size=2) == 3
    assert [job.result for job in jobs] == [*"01234"]
    assert buried(session) == {*"01234"}


async def test_what_was_committed_is_announced_before_the_caller_is_woken(
    session: Session,
) -> None:
    seen: list[tuple[str, bool]] = []
    job = job_of(bury("a"), lambda name: seen.append((name, job.done.is_set())))
    work_off(session, job)
    assert seen == [("a", False)]


async def test_a_refusal_is_that_of_its_own_job(session: Session) -> None:
    def refuse(_: Records) -> None:
        raise Missing("there is no such record")

    announced: list[object] = []
    jobs = [job_of(bury("a")), job_of(refuse, announced.append), job_of(bury("b"))]
    assert work_off(session, *jobs) == 1
    assert [type(job.error) for job in jobs] == [type(None), Missing, type(None)]
    assert announced == []
    assert buried(session) == {"a", "b"}


async def test_a_mistake_in_one_job_undoes_that_job_alone(session: Session) -> None:
    jobs = [job_of(bury("a")), job_of(fail(ZeroDivisionError())), job_of(bury("b"))]
    work_off(session, *jobs)
    assert isinstance(jobs[1].error, ZeroDivisionError)
    assert [job.error for job in (jobs[0], jobs[2])] == [None, None]
    assert buried(session) == {"a", "b"}


async def test_a_file_that_does_not_answer_is_an_error_of_each_job(
    session: Session, tmp_path: Path
) -> None:
    jobs = [job_of(bury(str(n))) for n in range(3)]
    (tmp_path / "responses.db").unlink()
    work_off(session, *jobs)
    errors = [job.error for job in jobs]
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    assert len({id(error) for error in errors}) == 3


async def test_a_job_that_is_alone_is_not_tried_again(session: Session) -> None:
    tries: list[None] = []

    def work(_: Records) -> None:
        tries.append(None)
        raise ZeroDivisionError

    work_off(session, job_of(work))
    assert len(tries) == 1


async def test_a_job_that_is_not_wanted_any_more_is_dropped(session: Session) -> None:
    unwanted, wanted = job_of(bury("unwanted")), job_of(bury("wanted"))
    unwanted.is_wanted = False
    with working(session, queue_of(unwanted, wanted)) as callbacks:
        callbacks.get(timeout=WAIT_TIMEOUT)()
    assert (unwanted.done.is_set(), wanted.done.is_set()) == (False, True)
    assert buried(session) == {"wanted"}


async def test_all_that_is_queued_is_done_before_a_worker_ends(session: Session) -> None:
    jobs = [job_of(bury(str(n))) for n in range(5)]
    queue = queue_of(*jobs)
    queue.close()
    with working(session, queue, group_size=2):
        pass
    assert buried(session) == {*"01234"}


# Periodic tasks.


class Counting:
    """A task that is due at once, then when it is told so."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self.is_due = True
        self.runs: SimpleQueue[str] = SimpleQueue()
        self.outcome = outcome

    def seconds_until_due(self) -> float | None:
        return 0.0 if self.is_due else None

    def run(self, session: Session) -> Callback | None:
        self.is_due = False
        self.runs.put(threading.current_thread().name)
        if self.outcome is not None:
            raise self.outcome
        return self._told

    def _told(self) -> None:
        """What the loop is to call."""


async def test_a_task_runs_in_the_thread_when_it_is_due_and_its_result_in_the_loop(
    session: Session,
) -> None:
    task, queue = Counting(), WorkQueue()
    with working(session, queue, tasks=[task]) as callbacks:
        assert task.runs.get(timeout=WAIT_TIMEOUT) == "response-cache-sqlite-test"
        assert callbacks.get(timeout=WAIT_TIMEOUT) == task._told
        task.is_due = True
        queue.wake()
        task.runs.get(timeout=WAIT_TIMEOUT)


async def test_a_task_that_fails_is_logged_and_ends_nothing(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(bury("a"))
    task, queue = Counting(ZeroDivisionError()), WorkQueue()
    with working(session, queue, tasks=[task]) as callbacks:
        task.runs.get(timeout=WAIT_TIMEOUT)
        queue.put(job)
        callbacks.get(timeout=WAIT_TIMEOUT)()
    assert job.done.is_set()
    assert "Counting has failed" in caplog.text


async def test_a_full_store_fails_only_the_job_that_finds_no_room(session: Session) -> None:
    jobs = [job_of(bury("a")), job_of(fail_full), job_of(bury("b"))]
    work_off(session, *jobs)
    assert [type(job.error) for job in jobs] == [type(None), StoreFull, type(None)]
    assert buried(session) == {"a", "b"}


async def test_in_a_full_store_all_goes_that_needs_no_room_or_fits_alone(tmp_path: Path) -> None:
    file = DatabaseFile(tmp_path / "bounded.db", "NORMAL", busy_timeout=0.02, max_bytes=2**17)
    file.prepare()
    session = Session(file, lambda: NOW, "BEGIN IMMEDIATE")
    large, small = new_record("large", request=b"x" * 2**17), new_record("small")
    tombstone = "y" * 2**17
    jobs = [job_of(making(large)), job_of(bury(tombstone)), job_of(making(small))]
    work_off(session, *jobs)
    assert [type(job.error) for job in jobs] == [StoreFull, type(None), type(None)]
    assert buried(session) == {tombstone}


def making(new: NewRecord) -> Callable[[Records], Claim]:
    """Work that creates a record without events."""
    return lambda records: records.create(new, b"", lease=10.0)


def fail_full(records: Records) -> None:
    """Write more than the file may hold."""
    records.connection.execute("PRAGMA max_page_count = 1")  # as small as the file is now
    records.connection.execute("INSERT INTO tombstone (id, expires) VALUES (?, 1)", ("x" * 2**20,))
