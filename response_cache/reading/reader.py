"""Reads of the store on behalf of clients: what looks orphaned is watched from then on."""

from __future__ import annotations

from response_cache.errors import StoreUnavailable
from response_cache.recording.orphans import Orphans
from response_cache.store import RecordView, Store

__all__ = ("Reader",)


class Reader:
    """The one door through which replies and tails read."""

    def __init__(self, store: Store, orphans: Orphans) -> None:
        self._store = store
        self._orphans = orphans

    @property
    def may_be_restored(self) -> bool:
        """Whether a record that is not there may be one that the store lost, and come back."""
        return self._store.may_lose_writes

    async def view(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """``Store.read``; what is orphaned is ended in the background, when it is proven dead.

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
        """Return when the response has moved on from *view* (or from *after*), or for no reason."""
        await self._store.wait(
            view.id,
            after=view.tail - 1 if after is None else after,
            epoch=view.epoch,
            incarnation=view.incarnation,
        )
