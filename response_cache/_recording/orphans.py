"""Closes the responses that a dead worker left behind, and never one that is alive.

An *orphan* is an open response whose lease is over. A process that reads one closes it as failed,
but not at once, since a recorder may be alive without a lease: the store was away, or the wall
clock by which the store judges leases was set forward. That lasts until the recorder renews the
lease. A renewal is due a third of a lease after the last one, and arrives within
``orphan_confirmation``.

So a process *watches* an orphan for that long by its own monotonic clock. It closes the orphan only
when each look was answered and found the same claim and the same tail, still orphaned. It never
closes a response that it records itself. A renewal ends the watch, and the next watch begins anew,
however often the clock is set. So does a long gap between two looks: this process did not run
then, and perhaps the recorder did not either (a container that was paused).

The watch looks by itself, so the end does not wait for the next client to ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
from cachetools import LRUCache

from response_cache._protocol.lifecycle import Trigger
from response_cache._record import header_of
from response_cache._recording.takeover import end_as
from response_cache._recording.writer import RENEWALS
from response_cache.errors import Missing, StoreUnavailable
from response_cache.options import Options
from response_cache.store import NO_EVENTS, RecordView, Store

__all__ = ("Orphans", "watch_time")

Spawn: TypeAlias = Callable[[Callable[[], Awaitable[Any]], str], None]
"""Runs a coroutine function in the background, for the response of that id."""

_REMEMBERED: Final = 10_000
_LOOKS: Final = 4  # in the time of ``orphan_confirmation``


def watch_time(options: Options) -> float:
    """Seconds in which a living recorder is heard from, if the store answers."""
    return options.lease / RENEWALS + options.orphan_confirmation


@dataclass(slots=True, eq=False)
class _Watch:
    """One orphan, as it was when it was first seen."""

    incarnation: str
    epoch: int
    tail: int
    began: float
    looked: float  # when the last look was answered

    def is_of(self, view: RecordView) -> bool:
        return (self.incarnation, self.epoch, self.tail) == (
            view.incarnation,
            view.epoch,
            view.tail,
        )


class Orphans:
    """The orphans that this process has seen, and their end."""

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        now: Callable[[], float],
        is_ours: Callable[[RecordView], bool],
        spawn: Spawn,
    ) -> None:
        """*is_ours* tells whether this process runs the recorder of a view."""
        self._store = store
        self._options = options
        self._now = now
        self._is_ours = is_ours
        self._spawn = spawn
        self._watches: LRUCache[str, _Watch] = LRUCache(_REMEMBERED)

    @property
    def observed(self) -> int:
        """How many responses are being watched."""
        return len(self._watches)

    def forget_all(self) -> None:
        """End all watches: the store did not answer, so what was seen before proves nothing."""
        self._watches.clear()

    def note(self, view: RecordView) -> None:
        """Begin to watch *view*, if it is orphaned; end the watch, if it is not.

        *view* must have been read just now. Records of kinds that are not known here are left to
        processes that know them.
        """
        if not view.orphaned or self._is_ours(view) or header_of(view.header) is None:
            if self._watches:
                self._watches.pop(view.id, None)
            return
        watch = self._watches.get(view.id)
        if watch is None or not watch.is_of(view):
            now = anyio.current_time()
            watch = _Watch(view.incarnation, view.epoch, view.tail, now, now)
            self._watches[view.id] = watch
            self._spawn(partial(self._keep_watch, view.id, watch), view.id)

    async def _keep_watch(self, id: str, watch: _Watch) -> None:
        """Look again and again until *watch* has proved its orphan dead, or is over."""
        try:
            while self._watches.get(id) is watch:
                await anyio.sleep(self._options.orphan_confirmation / _LOOKS)
                if await self._is_proven(id, watch):
                    del self._watches[id]
                    await self._close(id)
        except StoreUnavailable:
            self.forget_all()

    async def _is_proven(self, id: str, watch: _Watch) -> bool:
        asked = anyio.current_time()
        view = await self._store.read(id, after=NO_EVENTS)
        answered = anyio.current_time()
        if view is None:
            self._watches.pop(id, None)
            return False
        self.note(view)
        if answered - watch.looked > self._options.orphan_confirmation:
            watch.began = answered
        watch.looked = answered
        is_over = asked - watch.began >= watch_time(self._options)
        return is_over and self._watches.get(id) is watch

    async def _close(self, id: str) -> None:
        try:
            await end_as(
                Trigger.EXPIRE,
                id,
                store=self._store,
                options=self._options,
                now=self._now,
                only_orphaned=True,
            )
        except Missing:
            return  # it was deleted meanwhile
