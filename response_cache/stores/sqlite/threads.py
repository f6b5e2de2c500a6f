"""The threads that use the file: one that writes for the whole process, and two that read.

A connection is used by its thread alone. After a fork there are no threads in the child, so a store
belongs to the process that opened it, and says so; the child can open one of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import current_token

from response_cache.stores.sqlite.file import DatabaseFile
from response_cache.stores.sqlite.records import Records
from response_cache.stores.sqlite.session import Session
from response_cache.stores.sqlite.worker import Chore, Inbox, Job, Worker

__all__ = ("Threads",)

T = TypeVar("T")

READERS: Final = 2  # so that one long log does not hold up all other reads
WRITES: Final = 200  # most in one transaction, so that other processes get their turn
READS: Final = 20


class Threads:
    """All threads of one store in one process, seen from the event loop that started them."""

    def __init__(
        self, file: DatabaseFile, clock: Callable[[], float], chores: Sequence[Chore]
    ) -> None:
        """The *chores* are the writer's. Must be made in the event loop that will use it."""
        self._process = os.getpid()
        self._call_soon = _call_soon_in_this_loop()
        self._writes = Inbox()
        self._reads = Inbox()
        self._writer = Worker(
            "writer",
            self._writes,
            Session(file, clock, "BEGIN IMMEDIATE"),
            most=WRITES,
            soon=self._soon,
            chores=chores,
        )
        self._readers = [
            Worker(
                f"reader-{n}",
                self._reads,
                Session(file, clock, "BEGIN"),
                most=READS,
                soon=self._soon,
            )
            for n in range(READERS)
        ]

    def start(self) -> None:
        """Begin to work."""
        for worker in (self._writer, *self._readers):
            worker.start()

    async def stop(self) -> None:
        """Return when all that is pending was done and the connections are closed."""
        self._reads.close()
        self._writes.close()
        with anyio.CancelScope(shield=True):
            # The writer is the last one to close, so that its close can empty the log of writes.
            for worker in (*self._readers, self._writer):
                await anyio.to_thread.run_sync(worker.join)

    async def write(
        self, work: Callable[[Records], T], announce: Callable[[T], None] | None = None
    ) -> T:
        """The result of *work*, committed; *announce* gets it first, also if the caller is gone."""
        result: T = await self._result(self._writes, Job(work, announce))
        return result

    async def read(self, work: Callable[[Records], T]) -> T:
        """The result of *work*, which sees everything that was committed before the call."""
        result: T = await self._result(self._reads, Job(work, None))
        return result

    def nudge(self) -> None:
        """Let the writer look at its chores again; from any thread."""
        self._writes.nudge()

    async def _result(self, inbox: Inbox, job: Job) -> Any:
        if os.getpid() != self._process:
            raise RuntimeError(
                "this SQLite store was opened before a fork: open one in each process"
            )
        inbox.put(job)
        try:
            await job.settled.wait()
        finally:
            job.is_wanted = False
        if job.error is not None:
            raise job.error
        return job.outcome

    def _soon(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody is left to be told
            self._call_soon(act)


class _TrioToken(Protocol):
    def run_sync_soon(self, act: Callable[[], None]) -> None: ...


def _call_soon_in_this_loop() -> Callable[[Callable[[], None]], object]:
    """How other threads have something called in this event loop, without waiting for it."""
    loop = current_token().native_token
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.call_soon_threadsafe
    return cast(_TrioToken, loop).run_sync_soon
