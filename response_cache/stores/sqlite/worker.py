"""What a thread of the SQLite store does: pending work in groups, and chores in between.

**Group commit.** A worker takes everything that is pending and does it in one transaction, so under
load a hundred appends cost one commit. Nothing is reported before the commit. Refusals (``Fenced``,
``SequenceGap``) come before the first write and disturb nobody. An error that undoes the
transaction, such as a full disk, is nobody's refusal yet: each piece of work is then tried alone.

A caller that is cancelled leaves its work behind: it is dropped if it has not begun, else done.
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
from response_cache.stores.sqlite.records import Records
from response_cache.stores.sqlite.session import Session

__all__ = ("Chore", "Inbox", "Job", "Worker")

logger = logging.getLogger("response_cache.stores.sqlite")


class Chore(Protocol):
    """What the writing thread does beside its work."""

    def pause(self) -> float | None:
        """Seconds until it is due, or None for not before something else happens."""
        ...

    def do(self, session: Session) -> Callable[[], None] | None:
        """Do it in a transaction of its own; what is returned is called in the event loop."""
        ...


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work, and what became of it."""

    work: Callable[[Records], Any]
    announce: Callable[[Any], None] | None  # called in the event loop when the work was committed
    settled: anyio.Event = field(default_factory=anyio.Event)
    is_wanted: bool = True
    outcome: Any = None
    error: Exception | None = None

    def attempt(self, records: Records) -> None:
        """Do the work, and keep its result or refusal until the transaction has ended."""
        self.outcome = self.error = None
        try:
            self.outcome = self.work(records)
        except StoreError as error:
            self.error = error

    def settle(self) -> None:
        """In the event loop: tell those who wait for this job, and for what it changed."""
        if self.error is None and self.announce is not None:
            self.announce(self.outcome)
        self.settled.set()


class Inbox:
    """The jobs that wait for a thread."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, job: Job) -> None:
        """Add *job*. Raises ``RuntimeError`` when the inbox is closed."""
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the SQLite store is closed")
            self._jobs.append(job)
            self._changed.notify()

    def nudge(self) -> None:
        """Let a thread look at its chores again."""
        with self._changed:
            self._changed.notify()

    def close(self) -> None:
        """Take no more jobs; those that are there will still be done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self, most: int, patience: float | None) -> list[Job] | None:
        """What is there, after at most *patience* seconds; None when there will be no more."""
        with self._changed:
            if not self._jobs and not self._is_closed:
                self._changed.wait(patience)
            if not self._jobs and self._is_closed:
                return None
            return [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]


class Worker(threading.Thread):
    """Does what is pending in an inbox, in groups, and its chores in between."""

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        session: Session,
        *,
        most: int,
        soon: Callable[[Callable[[], None]], None],
        chores: Sequence[Chore] = (),
    ) -> None:
        """At most *most* jobs go together; *soon* has something called in the event loop."""
        super().__init__(name=f"response-cache-sqlite-{name}", daemon=True)
        self._inbox = inbox
        self._session = session
        self._most = most
        self._soon = soon
        self._chores = chores

    def run(self) -> None:
        """Until the inbox is closed and empty."""
        while (jobs := self._inbox.take(self._most, self._patience())) is not None:
            if wanted := [job for job in jobs if job.is_wanted]:
                self._do_together(wanted)
                self._soon(partial(_settle, wanted))
            self._do_chores()
        self._session.drop()

    def _do_together(self, jobs: Sequence[Job]) -> None:
        try:
            with self._session.transaction() as records:
                for job in jobs:
                    job.attempt(records)
        except Exception as error:  # noqa: BLE001 - raised again by the callers of the jobs
            if len(jobs) == 1:
                jobs[0].error = error
            elif _may_be_of_one(error):
                for job in jobs:
                    self._do_together([job])
            else:
                for job in jobs:
                    job.error = copy(error)  # each is raised in a task of its own

    def _patience(self) -> float | None:
        pauses = [pause for chore in self._chores if (pause := chore.pause()) is not None]
        return max(0.0, min(pauses)) if pauses else None

    def _do_chores(self) -> None:
        for chore in self._chores:
            pause = chore.pause()
            if pause is not None and pause <= 0:
                self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            act = chore.do(self._session)
        except Exception:
            logger.exception("%s has failed", type(chore).__name__)
        else:
            if act is not None:
                self._soon(act)


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.settle()


def _may_be_of_one(error: Exception) -> bool:
    """Whether *error* may come from one job of a group, so that the others deserve another try."""
    return isinstance(error, StoreFull) or not isinstance(error, StoreError)
