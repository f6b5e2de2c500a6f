"""The threads of an open SQLite store: one writer for the whole process, and two readers.

Each thread has a connection of its own. After a fork the child has no such threads, so an open
store works only in the process that opened it, and raises ``RuntimeError`` in a child. The child
can open a store of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import anyio

from response_cache._eventloop import call_soon, run_in_thread
from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._session import Session
from response_cache.stores.sqlite._worker import Job, PeriodicTask, Worker, WorkQueue

__all__ = ("Threads",)

T = TypeVar("T")

READERS: Final = 2  # so that one long log does not delay all reads
WRITES_TOGETHER: Final = 200  # jobs in one transaction, so that other processes get their turn
READS_TOGETHER: Final = 20


class Threads:
    """All threads of one open store, for the event loop that started them."""

    def __init__(
        self, file: DatabaseFile, clock: Callable[[], float], tasks: Sequence[PeriodicTask]
    ) -> None:
        """The writer runs *tasks*. To be made in the event loop that will use it."""
        self._process = os.getpid()
        self._loop_call_soon = call_soon()
        self._writes = WorkQueue()
        self._reads = WorkQueue()
        self._writer = Worker(
            "writer",
            self._writes,
            Session(file, clock, "BEGIN IMMEDIATE"),
            group_size=WRITES_TOGETHER,
            call_soon=self._call_soon,
            tasks=tasks,
        )
        self._readers = [
            Worker(
                f"reader-{n}",
                self._reads,
                Session(file, clock, "BEGIN"),
                group_size=READS_TOGETHER,
                call_soon=self._call_soon,
            )
            for n in range(READERS)
        ]

    def start(self) -> None:
        """Start all threads."""
        for worker in (self._writer, *self._readers):
            worker.start()

    async def stop(self) -> None:
        """Return when all queued jobs are done and the connections are closed."""
        self._reads.close()
        self._writes.close()
        with anyio.CancelScope(shield=True):
            # The writer's connection is closed last: SQLite then empties the write-ahead log.
            for worker in (*self._readers, self._writer):
                await run_in_thread(worker.join)

    async def write(
        self, work: Callable[[Records], T], on_commit: Callable[[T], None] | None = None
    ) -> T:
        """The committed result of *work*.

        *on_commit* is called with it first, also when the caller of this was cancelled meanwhile.
        """
        result: T = await self._result(self._writes, Job(work, on_commit))
        return result

    async def read(self, work: Callable[[Records], T]) -> T:
        """The result of *work*, which sees all that was committed before the call."""
        result: T = await self._result(self._reads, Job(work, None))
        return result

    def wake_writer(self) -> None:
        """Have the writer ask its periodic tasks again when they are due; from any thread."""
        self._writes.wake()

    async def _result(self, queue: WorkQueue, job: Job) -> Any:
        if os.getpid() != self._process:
            raise RuntimeError(
                "this SQLite store was opened before a fork: open one in each process"
            )
        queue.put(job)
        try:
            await job.done.wait()
        finally:
            job.is_wanted = False
        if job.error is not None:
            raise job.error
        return job.result

    def _call_soon(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so no caller is left to be told
            self._loop_call_soon(callback)
