"""Reads of the store for clients. A record that looks orphaned is watched from then on."""

from __future__ import annotations

from response_cache._recording.orphans import Orphans
from response_cache.errors import StoreUnavailable
from response_cache.store import RecordView, Store

__all__ = ("Reader",)


class Reader:
    """Reads for replies and for tails: nothing else in the process reads for clients."""

    def __init__(self, store: Store, orphans: Orphans) -> None:
        self._store = store
        self._orphans = orphans

    @property
    def may_be_restored(self) -> bool:
        """Whether a missing record may be one that the store lost: its recorder may restore it."""
        return self._store.may_lose_writes

    async def view(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """``Store.read``. An orphaned record is watched, and ended when its recorder is dead.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        try:
            view = await self._store.read(id, after=after, limit=limit)
        except StoreUnavailable:
            self._orphans.forget_all()
            raise
        if view is not None:
            self._orphans.note(view)
        return view

    async def change(self, view: RecordView, *, after: int | None = None) -> None:
        """Return when the record is not as in *view*, or has events above *after*; may be early."""
        await self._store.wait(
            view.id,
            after=view.tail - 1 if after is None else after,
            epoch=view.epoch,
            incarnation=view.incarnation,
        )
