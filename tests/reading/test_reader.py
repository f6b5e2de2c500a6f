"""Reads for clients: pages as the store has them, and orphans that are noted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from response_cache._reading.reader import Reader
from response_cache._recording.orphans import Orphans
from response_cache.errors import StoreUnavailable
from response_cache.options import Options
from response_cache.store import RecordView
from response_cache.testing._virtual_time import virtual_backend
from tests.reading.test_tails import Following, quiet

ID = "resp_rc1"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Reading:
    """A reader whose orphans are watched by nobody, so that they stay noted."""

    def __init__(self, following: Following) -> None:
        self.watched: list[str] = []
        self.orphans = Orphans(
            following.store, Options(), now=lambda: 0.0, is_ours=lambda _: False, spawn=self._spawn
        )
        self.reader = Reader(following.store, self.orphans)

    def _spawn(self, _run: Callable[[], Awaitable[Any]], id: str) -> None:
        self.watched.append(id)


async def test_a_page_is_that_of_the_store() -> None:
    async with Following().hosting() as following:
        await following.write(4)
        reader = Reading(following).reader
        for page in ({}, {"after": 1}, {"after": 1, "limit": 2}, {"after": 99}):
            assert await reader.view(ID, **page) == await following.store.read(ID, **page)


async def test_what_is_not_there_is_none() -> None:
    async with Following().hosting() as following:
        assert await Reading(following).reader.view("resp_rc2") is None


async def test_a_record_whose_lease_holds_is_not_watched() -> None:
    async with Following().hosting() as following:
        reading = Reading(following)
        await reading.reader.view(ID)
        assert (reading.watched, reading.orphans.observed) == ([], 0)


async def test_an_orphan_is_watched_from_its_first_read_on() -> None:
    async with Following().hosting() as following:
        reading = Reading(following)
        following.shared.step_clock(1e6 + 1)  # the lease ends; the record is kept longer
        for _ in range(3):
            view = await reading.reader.view(ID)
            assert view is not None
            assert view.orphaned
        assert (reading.watched, reading.orphans.observed) == ([ID], 1)


async def test_a_store_that_does_not_answer_is_told_and_proves_nothing_about_orphans() -> None:
    async with Following().hosting() as following:
        reading = Reading(following)
        following.shared.step_clock(1e6 + 1)
        await reading.reader.view(ID)
        assert reading.orphans.observed == 1
        following.store.cut()
        with pytest.raises(StoreUnavailable):
            await reading.reader.view(ID)
        assert reading.orphans.observed == 0


@pytest.mark.parametrize("may_lose", [True, False])
async def test_a_missing_record_may_come_back_where_the_store_loses_writes(may_lose: bool) -> None:
    async with Following().hosting() as following:
        following.store.may_lose_writes = may_lose
        assert Reading(following).reader.may_be_restored is may_lose


class Waiting:
    """A task that waits for a change."""

    def __init__(self, following: Following, view: RecordView, **since: int) -> None:
        self._reader, self._view, self._since = following.reader, view, since
        self.is_over = False
        following.tasks.start_soon(self._wait)

    async def _wait(self) -> None:
        await self._reader.change(self._view, **self._since)
        self.is_over = True


async def test_a_change_is_waited_for_until_there_is_one() -> None:
    async with Following().hosting() as following:
        waiting = Waiting(following, await following.view())
        await anyio.sleep(1000)
        assert not waiting.is_over
        await following.write()
        await quiet()
        assert waiting.is_over


async def test_what_the_page_has_is_no_change_and_what_it_lacks_is() -> None:
    async with Following().hosting() as following:
        await following.write(4)
        view = await following.view()
        last = Waiting(following, view)
        behind = Waiting(following, view, after=view.tail - 2)
        ahead = Waiting(following, view, after=view.tail)
        await anyio.sleep(1000)
        assert (last.is_over, behind.is_over, ahead.is_over) == (False, True, False)
        await following.write()
        await quiet()
        assert (last.is_over, ahead.is_over) == (True, False)
        await following.write()
        await quiet()
        assert ahead.is_over


@pytest.mark.parametrize("other", [{"incarnation": "second"}, {"epoch": 0}])
async def test_another_claim_than_that_of_the_page_is_a_change(other: dict[str, Any]) -> None:
    async with Following().hosting() as following:
        waiting = Waiting(following, replace(await following.view(), **other))
        await quiet()
        assert waiting.is_over
