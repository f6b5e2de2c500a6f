"""Those in this process who wait for a change, and how they learn of one.

What this process writes wakes them at once. What other processes write is noticed by ``Poll`` on
the writer's own connection: for it, ``PRAGMA data_version`` changes by the commits of others alone,
so one process by itself never looks at anything but that number, and nothing at all while nobody
waits. After a commit of others one query asks for the records that are waited for.

No change is missed: a waiter is entered here before it reads the record, so what is committed after
that read changes the number after it, and whoever looks then finds the waiter.
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
from response_cache.stores.sqlite.rows import State
from response_cache.stores.sqlite.session import Session

__all__ = ("Poll", "Waiter", "Watch")

logger = logging.getLogger("response_cache.stores.sqlite")

FULL_LOOK: Final = 1.0  # seconds; a record that expires changes no number
SHARE: Final = 0.25  # of a thread's time that looking may take


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for an event numbered above *after*, or for a greater change.

    The others are what is known to him.
    """

    after: int
    epoch: int
    incarnation: str
    closed: bool
    woken: anyio.Event = field(default_factory=anyio.Event)

    def has_news(self, state: State | None) -> bool:
        """Whether *state* is new to this waiter; None: the record is gone."""
        return (
            state is None
            or state.closed != self.closed
            or state.tail > self.after + 1
            or (state.incarnation, state.epoch) != (self.incarnation, self.epoch)
        )


class Watch:
    """All who wait. Belongs to the event loop; other threads may only ask what is waited for."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, id: str, waiter: Waiter) -> Iterator[bool]:
        """*waiter* waits for *id* while the context lasts; whether it is the first to wait."""
        with self._lock:
            is_first = not self._waiters
            self._waiters.setdefault(id, set()).add(waiter)
        try:
            yield is_first
        finally:
            with self._lock:
                self._waiters[id].discard(waiter)
                if not self._waiters[id]:
                    del self._waiters[id]

    def is_needed(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiters)

    def ids(self) -> list[str]:
        """What is waited for."""
        with self._lock:
            return list(self._waiters)

    def grew(self, id: str, tail: int) -> None:
        """The next event of *id* is *tail* now; recorders wait for no event, and sleep on."""
        for waiter in self._waiters.get(id, ()):
            if tail > waiter.after + 1:
                waiter.woken.set()

    def changed(self, id: str) -> None:
        """There is more to *id* than new events."""
        for waiter in self._waiters.get(id, ()):
            waiter.woken.set()

    def compare(self, ids: Sequence[str], states: Mapping[str, State]) -> None:
        """The records *ids* were just found in *states*; those that are not in it are gone."""
        for id in ids:
            for waiter in self._waiters.get(id, ()):
                if waiter.has_news(states.get(id)):
                    waiter.woken.set()

    def wake_all(self) -> None:
        """Nothing is known: let everybody read again."""
        for id in self._waiters:
            self.changed(id)


class Poll:
    """The chore of noticing what other processes have committed."""

    def __init__(self, watch: Watch, interval: float) -> None:
        """Look every *interval* seconds while somebody waits."""
        self._watch = watch
        self._interval = interval
        self._version = (0, 0)
        self._due = 0.0
        self._full_look_due = 0.0

    def pause(self) -> float | None:
        """See ``Chore.pause``."""
        return self._due - time.monotonic() if self._watch.is_needed() else None

    def do(self, session: Session) -> Callable[[], None] | None:
        """Look once; who is to be woken then. A file that does not answer is everybody's matter."""
        started = time.monotonic()
        try:
            is_due = self._is_changed(session) or started >= self._full_look_due
            act = self._look(session, started) if is_due else None
        except StoreUnavailable as error:
            logger.warning("cannot look for changes: %s", error)
            self._due = time.monotonic() + FULL_LOOK
            return self._watch.wake_all
        ended = time.monotonic()
        self._due = ended + max(self._interval, (ended - started) * (1 / SHARE - 1))
        return act

    def _is_changed(self, session: Session) -> bool:
        before, self._version = self._version, session.data_version()
        return before != self._version

    def _look(self, session: Session, now: float) -> Callable[[], None]:
        self._full_look_due = now + FULL_LOOK
        ids = self._watch.ids()
        with session.transaction("BEGIN") as records:
            states = records.states(ids)
        return partial(self._watch.compare, ids, states)
