"""The subject of the tests: a store, one id in it, and its clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint

from response_cache.errors import AlreadyExists, Fenced, SequenceGap
from response_cache.store import Append, Claim, Link, NewRecord, RecordView, Store

__all__ = (
    "CROWD",
    "LEASE",
    "TTL",
    "WAIT_TIMEOUT",
    "Clock",
    "Promises",
    "Subject",
    "all_at_once",
    "comparable",
)


LEASE: Final = 600.0  # seconds; longer than any test that is not about time
TTL: Final = 3600.0
WAIT_TIMEOUT: Final = 30.0  # seconds for what must happen
CROWD: Final = 100


class Clock(Protocol):
    """Moves a store's time forward."""

    async def advance(self, seconds: float) -> None:
        """Return when *seconds* have passed for the store."""
        ...


@dataclass(frozen=True)
class Subject:
    """A store under test. Its methods fill in the arguments that a test does not care about."""

    store: Store
    id: str

    def new(
        self,
        *events: bytes,
        incarnation: str = "first",
        ttl: float = TTL,
        epoch: int = 1,
        private: bytes = b"",
    ) -> NewRecord:
        """What a record is made from, with *events* as its log."""
        return NewRecord(
            id=self.id,
            incarnation=incarnation,
            header=b"header",
            request=b"request",
            snapshot=b"snapshot",
            events=events,
            status="queued",
            ttl=ttl,
            private=private,
            owner="owner",
            label="label",
            epoch=epoch,
        )

    async def create(
        self,
        *events: bytes,
        incarnation: str = "first",
        lease: float = LEASE,
        ttl: float = TTL,
        epoch: int = 1,
        private: bytes = b"",
    ) -> Claim:
        """Create the record, with *events* as its log."""
        new = self.new(*events, incarnation=incarnation, ttl=ttl, epoch=epoch, private=private)
        return await self.store.create(new, lease)

    async def append(
        self,
        claim: Claim,
        *events: bytes,
        token: str | None = None,
        close: bool = False,
        snapshot: bytes | None = None,
        status: str | None = None,
        notes: bytes | None = None,
        private: bytes | None = None,
        lease: float = LEASE,
        ttl: float = TTL,
        stream_ttl: float | None = None,
    ) -> Claim:
        """Append *events*; the append has a token of its own unless one is given."""
        append = Append(
            events=events,
            token=uuid4().hex if events and token is None else token or "",
            snapshot=snapshot,
            status=status,
            notes=notes,
            private=private,
            close=close,
            ttl=ttl,
            stream_ttl=stream_ttl,
        )
        return (await self.store.append(claim, append, lease)).claim

    async def close(
        self,
        claim: Claim,
        *events: bytes,
        token: str | None = None,
        ttl: float = TTL,
        stream_ttl: float | None = None,
    ) -> Claim:
        """Append the end of the log."""
        return await self.append(
            claim,
            *events,
            token=token,
            close=True,
            snapshot=b"final",
            status="completed",
            ttl=ttl,
            stream_ttl=stream_ttl,
        )

    async def take(
        self, *, only_orphaned: bool = False, lease: float = LEASE, raise_by: int = 1
    ) -> Claim | None:
        """Take the record; the claim, or None when that was refused."""
        taken = await self.store.take(
            self.id, lease=lease, only_orphaned=only_orphaned, raise_by=raise_by
        )
        return taken.claim

    async def renew(self, *, ttl: float, incarnation: str = "first") -> bool:
        """Renew the record as the one link of a chain."""
        (is_there,) = await self.store.renew([Link(self.id, incarnation)], ttl=ttl)
        return is_there

    async def take_over(self, *, lease: float = LEASE) -> Claim:
        """Take the record, which must not be refused."""
        claim = await self.take(lease=lease)
        assert claim is not None
        return claim

    async def find(
        self, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """The record with its events as a tuple, so that pages can be compared."""
        view = await self.store.read(self.id, after=after, limit=limit)
        return view and comparable(view)

    async def view(self, *, after: int | None = None, limit: int | None = None) -> RecordView:
        """The record, which must be there."""
        view = await self.find(after=after, limit=limit)
        assert view is not None
        return view

    async def log(self) -> Sequence[bytes]:
        """All events."""
        return (await self.view(after=-1)).events

    async def is_gone(self) -> bool:
        """Whether nothing is there to be read."""
        return await self.find() is None

    async def wait(self, view: RecordView, *, after: int | None = None) -> None:
        """Wait for more than *view* shows; fail when it does not come."""
        after = view.tail - 1 if after is None else after
        with anyio.fail_after(WAIT_TIMEOUT):
            await self.store.wait(
                self.id,
                after=after,
                epoch=view.epoch,
                incarnation=view.incarnation,
                closed=view.closed,
            )

    async def delete(self, *, claim: Claim | None = None) -> bool:
        """Delete the record."""
        return await self.store.delete(self.id, claim=claim)


class Promises:
    """The fixtures of every test. A subclass has the fixture ``store``."""

    @pytest.fixture
    def id(self) -> str:
        """An id that no other test uses."""
        return f"resp_{uuid4().hex}"

    @pytest.fixture
    def subject(self, store: Store, id: str) -> Subject:
        """The subclass's store as a ``Subject``."""
        return Subject(store, id)


def comparable(view: RecordView) -> RecordView:
    return replace(view, events=tuple(view.events))


async def all_at_once(calls: Sequence[Callable[[], Awaitable[object]]]) -> list[object]:
    """The outcomes of *calls*, started together: what each returned, or the error it raised."""
    outcomes: list[object] = [None] * len(calls)

    async def run(n: int, call: Callable[[], Awaitable[object]]) -> None:
        await checkpoint()
        try:
            outcomes[n] = await call()
        except (AlreadyExists, Fenced, SequenceGap) as error:
            outcomes[n] = error

    async with anyio.create_task_group() as group:
        for n, call in enumerate(calls):
            group.start_soon(run, n, call)
    return outcomes
