"""The tasks of this process that wait for a change of a record, and how they are woken.

What this process writes wakes them at once. What other processes write is found by ``ChangePoll``,
on the writer's connection: there ``PRAGMA data_version`` changes when another connection has
committed. A process that is alone on its file therefore asks for nothing but that number, and not
even for that while nobody waits. After a commit of another process one query reads the state of all
records that are waited for.

No change is missed. A waiter is registered here before it reads the record. A commit after that
read changes the number after the registration, so the next poll finds the waiter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from response_cache.errors import StoreUnavailable
from response_cache.stores._rules import has_news
from response_cache.stores.sqlite._rows import State
from response_cache.stores.sqlite._session import Session

__all__ = ("ChangePoll", "Waiter", "Waiters")

logger = logging.getLogger("response_cache.stores.sqlite")

FULL_POLL_INTERVAL: Final = 1.0  # seconds; the expiry of a record does not change the number
MAX_TIME_SHARE: Final = 0.25  # of the writer's time that polls may take


@dataclass(slots=True, eq=False)
class Waiter:
    """A task that waits for an event numbered above *after*, or for another change.

    *epoch*, *incarnation* and *closed* are what the task knows of the record.
    """

    after: int
    epoch: int
    incarnation: str
    closed: bool
    woken: anyio.Event = field(default_factory=anyio.Event)

    def has_news(self, state: State | None) -> bool:
        """Whether *state* is new to the task; None: the record is gone."""
        return state is None or has_news(
            state,
            after=self.after,
            epoch=self.epoch,
            incarnation=self.incarnation,
            closed=self.closed,
        )


class Waiters:
    """All waiters of one store, by id.

    Belongs to the event loop. Other threads may call ``is_empty`` and ``ids`` only.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def registered(self, id: str, waiter: Waiter) -> Iterator[bool]:
        """Have *waiter* woken by changes of *id* while the context lasts.

        The value is True when there was no other waiter before.
        """
        with self._lock:
            is_first = not self._by_id
            self._by_id.setdefault(id, set()).add(waiter)
        try:
            yield is_first
        finally:
            with self._lock:
                self._by_id[id].discard(waiter)
                if not self._by_id[id]:
                    del self._by_id[id]

    def is_empty(self) -> bool:
        """Whether no task waits."""
        return not self._by_id

    def ids(self) -> list[str]:
        """The ids that are waited for."""
        with self._lock:
            return list(self._by_id)

    def wake_readers(self, id: str, tail: int) -> None:
        """Wake the tasks that wait for an event of *id* numbered below *tail*.

        Recorders wait for no event, and are not woken.
        """
        for waiter in self._by_id.get(id, ()):
            if tail > waiter.after + 1:
                waiter.woken.set()

    def wake(self, id: str) -> None:
        """Wake all tasks that wait for *id*: more than its events has changed."""
        for waiter in self._by_id.get(id, ()):
            waiter.woken.set()

    def wake_for_news(self, ids: Sequence[str], states: Mapping[str, State]) -> None:
        """Wake the tasks to which *states* are new; an id without a state has no record."""
        for id in ids:
            for waiter in self._by_id.get(id, ()):
                if waiter.has_news(states.get(id)):
                    waiter.woken.set()

    def wake_all(self) -> None:
        """Wake all tasks, which then read again: what has changed is not known."""
        for id in self._by_id:
            self.wake(id)


class ChangePoll:
    """The periodic task that notices what other processes have committed."""

    def __init__(self, waiters: Waiters, interval: float) -> None:
        """Poll every *interval* seconds while a task waits."""
        self._waiters = waiters
        self._interval = interval
        self._version = (0, 0)
        self._due = 0.0
        self._full_poll_due = 0.0

    def seconds_until_due(self) -> float | None:
        """See ``PeriodicTask.seconds_until_due``; not needed while no task waits."""
        return None if self._waiters.is_empty() else self._due - time.monotonic()

    def run(self, session: Session) -> Callable[[], None] | None:
        """Poll once; the result wakes the tasks that have to know.

        When the file does not work, it wakes all of them, so that they meet the error.
        """
        started = time.monotonic()
        try:
            is_due = self._is_changed(session) or started >= self._full_poll_due
            callback = self._full_poll(session, started) if is_due else None
        except StoreUnavailable as error:
            logger.warning("cannot look for changes: %s", error)
            self._due = time.monotonic() + FULL_POLL_INTERVAL
            return self._waiters.wake_all
        ended = time.monotonic()
        self._due = ended + max(self._interval, (ended - started) * (1 / MAX_TIME_SHARE - 1))
        return callback

    def _is_changed(self, session: Session) -> bool:
        before, self._version = self._version, session.data_version()
        return before != self._version

    def _full_poll(self, session: Session, now: float) -> Callable[[], None]:
        """Read the states of all records that are waited for."""
        self._full_poll_due = now + FULL_POLL_INTERVAL
        ids = self._waiters.ids()
        with session.transaction("BEGIN") as records:
            states = records.states(ids)
        return partial(self._waiters.wake_for_news, ids, states)
