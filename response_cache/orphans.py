"""Closing what a dead worker left behind, without ever killing what is alive.

Whoever reads an orphan closes it as failed. But a store that was away makes live responses look
orphaned for a moment, until their recorders renew. So a process closes an orphan only after it has
itself seen it orphaned, under the same incarnation and epoch, at two reads at least
``observation`` apart, with every read in between answered; and never one that it records itself.

After the first sighting the process goes on looking by itself. So the store is known to have
answered all the time, and the end does not wait for the next client to ask.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
from cachetools import LRUCache

from response_cache.closing import close_as
from response_cache.errors import Missing, StoreUnavailable
from response_cache.lifecycle import Trigger
from response_cache.options import Options
from response_cache.store import FAR, Page, Store

__all__ = ("Orphans",)

Spawn: TypeAlias = Callable[[Callable[[], Awaitable[Any]], str], None]
"""Runs something in the background for the response of an id."""

_REMEMBERED: Final = 10_000
_LOOKS: Final = 4  # in one observation time


@dataclass(frozen=True, slots=True, eq=False)
class _Sighting:
    incarnation: str
    epoch: int
    at: float


class Orphans:
    """The orphans that this process has seen, and their end."""

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        now: Callable[[], float],
        is_ours: Callable[[Page], bool],
        spawn: Spawn,
    ) -> None:
        """*is_ours* tells a page of which this process runs the recorder."""
        self._store = store
        self._options = options
        self._now = now
        self._is_ours = is_ours
        self._spawn = spawn
        self._seen: LRUCache[str, _Sighting] = LRUCache(_REMEMBERED)

    @property
    def observed(self) -> int:
        """How many responses have been seen orphaned and not settled since."""
        return len(self._seen)

    def forget_all(self) -> None:
        """The store did not answer: what was seen before proves nothing any more."""
        self._seen.clear()

    def has_nothing_on(self, page: Page) -> bool:
        """Whether *page* is not orphaned and nothing else is suspected, so need not be settled."""
        return not page.orphaned and not self._seen

    async def settle(self, page: Page) -> Page | None:
        """*page*, or what it became when its response had to be closed; None when it is gone.

        *page* must have been read just now. Raises ``StoreUnavailable``.
        """
        if not page.orphaned or self._is_ours(page):
            if self._seen:
                self._seen.pop(page.id, None)
            return page
        if not self._is_proven(page):
            return page
        self._seen.pop(page.id, None)
        try:
            return await close_as(
                Trigger.EXPIRE,
                page.id,
                store=self._store,
                options=self._options,
                now=self._now,
                only_orphaned=True,
            )
        except Missing:
            return None

    def _is_proven(self, page: Page) -> bool:
        now = anyio.current_time()
        seen = self._seen.get(page.id)
        if seen is None or (seen.incarnation, seen.epoch) != (page.incarnation, page.epoch):
            seen = self._seen[page.id] = _Sighting(page.incarnation, page.epoch, now)
            self._spawn(partial(self._watch, page.id, seen), page.id)
            return False
        return now - seen.at >= self._options.observation

    async def _watch(self, id: str, seen: _Sighting) -> None:
        """Look again and again until what was *seen* is settled, or is no longer what was seen."""
        while self._seen.get(id) is seen:
            await anyio.sleep(self._options.observation / _LOOKS)
            try:
                page = await self._store.read(id, after=FAR)
                if page is None:
                    self._seen.pop(id, None)
                else:
                    await self.settle(page)
            except StoreUnavailable:
                self.forget_all()
