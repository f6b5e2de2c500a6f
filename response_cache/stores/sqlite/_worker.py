"""A thread of the SQLite store: runs queued jobs in groups, and periodic tasks between groups.

**Group commit.** A worker takes all queued jobs and runs them in one transaction, so a hundred
appends that arrive together cost one commit. No caller gets a result before the commit. A refusal
(``Fenced``, ``SequenceGap``) is raised before the job writes anything, so it changes nothing for
the rest of the group. An error that rolls back the transaction may be caused by one job alone: each
job of the group is then run again in a transaction of its own.

**A full store.** When a transaction finds no room, it is run again without the bound of the file,
and every job that needs room is refused then. So heartbeats, ends of responses and deletes succeed,
and other refusals (``Fenced``) still come before ``StoreFull``. A refused job of a group is then
run again alone, within the bound: it may be smaller than the job that found no room.

A job whose caller was cancelled is dropped if it has not started, and finished otherwise.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import anyio

from response_cache.errors import StoreError, StoreFull
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._session import Session

__all__ = ("Job", "PeriodicTask", "WorkQueue", "Worker")

logger = logging.getLogger("response_cache.stores.sqlite")


class PeriodicTask(Protocol):
    """What the writing thread does from time to time, beside its jobs."""

    def seconds_until_due(self) -> float | None:
        """Seconds until the next run, at most 0 when it is due; None while it is not needed."""
        ...

    def run(self, session: Session) -> Callable[[], None] | None:
        """Run once, in transactions of its own; the worker calls the result in the event loop."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work, and its outcome. Made in the event loop, run by a worker."""

    work: Callable[[Records], Any]
    on_commit: Callable[[Any], None] | None  # called in the event loop with the committed result
    done: anyio.Event = field(default_factory=anyio.Event)
    is_wanted: bool = True  # False: the caller was cancelled
    result: Any = None
    error: Exception | None = None

    def run(self, records: Records) -> None:
        """Do the work, and keep its result or refusal until the transaction has ended."""
        self.result = self.error = None
        try:
            self.result = self.work(records)
        except StoreError as error:
            self.error = error

    def finish(self) -> None:
        """In the event loop: announce what the job has changed, and wake its caller."""
        if self.error is None and self.on_commit is not None:
            self.on_commit(self.result)
        self.done.set()


class WorkQueue:
    """Jobs on their way from the event loop to the threads."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, job: Job) -> None:
        """Add *job*.

        Raises:
            RuntimeError: the queue is closed.
        """
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the SQLite store is closed")
            self._jobs.append(job)
            self._changed.notify()

    def wake(self) -> None:
        """End the wait of one thread, which then asks its periodic tasks again."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Accept no more jobs; what is queued is still handed out."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def next_group(self, size: int, timeout: float | None) -> list[Job] | None:
        """The first jobs, at most *size*; None at the end, when the queue is closed and empty.

        Waits for the first job at most *timeout* seconds (None: without a limit); the list is empty
        when there was none by then.
        """
        with self._changed:
            if not self._jobs and not self._is_closed:
                self._changed.wait(timeout)
            if not self._jobs and self._is_closed:
                return None
            return [self._jobs.popleft() for _ in range(min(size, len(self._jobs)))]


class Worker(threading.Thread):
    """Runs the jobs of a queue in groups, and periodic tasks between groups."""

    def __init__(
        self,
        name: str,
        queue: WorkQueue,
        session: Session,
        *,
        group_size: int,
        call_soon: Callable[[Callable[[], None]], None],
        tasks: Sequence[PeriodicTask] = (),
    ) -> None:
        """At most *group_size* jobs share a transaction.

        *call_soon* has a function called in the event loop, without waiting for it.
        """
        super().__init__(name=f"response-cache-sqlite-{name}", daemon=True)
        self._queue = queue
        self._session = session
        self._group_size = group_size
        self._call_soon = call_soon
        self._tasks = tasks

    def run(self) -> None:
        """Work until the queue is closed and empty; then close the connection."""
        while (jobs := self._queue.next_group(self._group_size, self._timeout())) is not None:
            if wanted := [job for job in jobs if job.is_wanted]:
                self._run_together(wanted)
                self._call_soon(partial(_finish, wanted))
            self._run_due_tasks()
        self._session.close()

    def _run_together(self, jobs: Sequence[Job]) -> None:
        try:
            self._run_in_one_transaction(jobs)
        except StoreFull as error:
            self._run_without_room(jobs, error)
        except Exception as error:  # noqa: BLE001 - raised again by the callers of the jobs
            self._handle(error, jobs)

    def _run_without_room(self, jobs: Sequence[Job], full: StoreFull) -> None:
        try:
            self._run_in_one_transaction(jobs, is_full=True)
        except Exception as error:  # noqa: BLE001 - raised again by the callers of the jobs
            self._handle(error, jobs)
        else:
            refused = [job for job in jobs if isinstance(job.error, StoreFull)]
            if len(jobs) > 1:
                self._run_each(refused)
            elif refused:
                jobs[0].error = full  # SQLite's own words, and the name of the file

    def _run_in_one_transaction(self, jobs: Sequence[Job], *, is_full: bool = False) -> None:
        with self._session.transaction(is_full=is_full) as records:
            for job in jobs:
                job.run(records)

    def _run_each(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._run_together([job])

    def _handle(self, error: Exception, jobs: Sequence[Job]) -> None:
        """Deal with an error that has rolled back the transaction of *jobs*."""
        if len(jobs) == 1:
            jobs[0].error = error
        elif _may_be_of_one_job(error):
            self._run_each(jobs)
        else:
            for job in jobs:
                job.error = copy(error)  # each one is raised in a task of its own

    def _timeout(self) -> float | None:
        """Seconds until the first periodic task is due."""
        pauses = [pause for task in self._tasks if (pause := task.seconds_until_due()) is not None]
        return max(0.0, min(pauses)) if pauses else None

    def _run_due_tasks(self) -> None:
        for task in self._tasks:
            pause = task.seconds_until_due()
            if pause is not None and pause <= 0:
                self._run_task(task)

    def _run_task(self, task: PeriodicTask) -> None:
        try:
            callback = task.run(self._session)
        except Exception:
            logger.exception("%s has failed", type(task).__name__)
        else:
            if callback is not None:
                self._call_soon(callback)


def _finish(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.finish()


def _may_be_of_one_job(error: Exception) -> bool:
    """Whether one job of the group may have caused *error*, so that the rest could succeed."""
    return isinstance(error, StoreFull) or not isinstance(error, StoreError)
