"""A SQLite store under test, its clock, and calls with what does not matter filled in."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from response_cache.errors import StoreFull
from response_cache.store import Append, Claim, NewRecord, RecordView, Store
from response_cache.stores.sqlite._store import SQLiteStore
from tests import deadlines

LEASE: Final = 60.0
TTL: Final = 600.0
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds


@asynccontextmanager
async def open_store(
    path: Path, *, clock: Callable[[], float] = time.time, **options: Any
) -> AsyncIterator[SQLiteStore]:
    """A store while the context lasts."""
    store = SQLiteStore(path, clock=clock, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


async def create(store: Store, id: str, *events: bytes, request: bytes = b"request") -> Claim:
    return await store.create(new_record(id, *events, request=request), LEASE)


def new_record(id: str, *events: bytes, request: bytes = b"request", epoch: int = 1) -> NewRecord:
    return NewRecord(
        id=id,
        incarnation="first",
        header=b"header",
        request=request,
        snapshot=b"snapshot",
        events=events,
        status="queued",
        ttl=TTL,
        private=b"private",
        owner="owner",
        label="model",
        epoch=epoch,
    )


async def append(store: Store, claim: Claim, *events: bytes) -> Claim:
    append = Append(events=events, token=f"at {claim.tail}", ttl=TTL)
    return (await store.append(claim, append, LEASE)).claim


async def close(
    store: Store, claim: Claim, *events: bytes, stream_ttl: float | None = None
) -> Claim:
    end = Append(
        events=events,
        token=f"at {claim.tail}",
        snapshot=b"end",
        close=True,
        ttl=TTL,
        stream_ttl=stream_ttl,
    )
    return (await store.append(claim, end, LEASE)).claim


async def grown_until_full(store: SQLiteStore, claim: Claim) -> Claim:
    """The last claim before there was no room."""
    while True:
        try:
            claim = await append(store, claim, os.urandom(2**14))
        except StoreFull:
            return claim


async def view_of(store: Store, id: str, *, after: int | None = -1) -> RecordView:
    view = await store.read(id, after=after)
    assert view is not None
    return view


async def wait_for_more(store: Store, view: RecordView) -> None:
    with anyio.fail_after(WAIT_TIMEOUT):
        await store.wait(
            view.id, after=view.tail - 1, epoch=view.epoch, incarnation=view.incarnation
        )
