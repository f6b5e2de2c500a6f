"""The promises of ``create`` and of ``request``, and the store's own properties."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import anyio
import pytest

from response_cache.errors import AlreadyExists, Deleted, Fenced
from response_cache.store import Claim, RecordView, Store
from response_cache.testing._store_promises.subject import (
    CROWD,
    LEASE,
    Promises,
    Subject,
    all_at_once,
)

__all__ = ("CreatePromises", "PropertyPromises", "RequestPromises")


class PropertyPromises(Promises):
    """The properties of a store."""

    async def test_the_properties_have_values_that_suit_their_meaning(self, store: Store) -> None:
        assert store.flush_interval >= 0
        assert isinstance(store.may_lose_writes, bool)
        assert re.fullmatch("[0-9a-f]*", store.id_tag)
        assert store.tombstone_ttl > 0


class CreatePromises(Promises):
    """``create``: one incarnation gets the id, and may repeat its create."""

    async def test_a_create_gives_the_claim_at_epoch_1(self, subject: Subject) -> None:
        assert await subject.create(b"0", b"1") == Claim(subject.id, "first", 1, tail=2)

    async def test_what_was_created_can_be_read(self, subject: Subject) -> None:
        await subject.create(b"0", b"1")
        assert await subject.view() == RecordView(
            id=subject.id,
            incarnation="first",
            epoch=1,
            status="queued",
            header=b"header",
            notes=b"",
            snapshot=b"snapshot",
            snapshot_through=1,
            first=2,
            events=(),
            tail=2,
            closed=False,
            orphaned=False,
            log_expired=False,
        )
        assert await subject.log() == (b"0", b"1")

    async def test_a_record_may_begin_without_events(self, subject: Subject) -> None:
        claim = await subject.create()
        view = await subject.view()
        assert (claim.tail, view.tail, view.snapshot_through, view.first) == (0, 0, -1, 0)

    async def test_a_repeated_create_gives_the_same_claim(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        assert await subject.create(b"0") == claim

    async def test_a_repeated_create_gives_the_present_tail(self, subject: Subject) -> None:
        grown = await subject.append(await subject.create(b"0"), b"1", b"2")
        assert await subject.create(b"0") == grown

    async def test_a_repeated_create_changes_nothing_that_was_written(
        self, subject: Subject
    ) -> None:
        claim = await subject.create(b"0")
        await subject.append(claim, b"1", snapshot=b"later", status="in_progress", notes=b"n")
        before = await subject.view()
        await subject.create(b"other")
        assert await subject.view() == before

    async def test_a_repeated_create_of_a_closed_record_leaves_it_closed(
        self, subject: Subject
    ) -> None:
        closed = await subject.close(await subject.create(b"0"), b"end")
        assert await subject.create(b"0") == closed
        assert (await subject.view()).closed

    async def test_an_id_of_another_incarnation_is_refused(self, subject: Subject) -> None:
        await subject.create()
        with pytest.raises(AlreadyExists):
            await subject.create(incarnation="second")

    async def test_an_id_of_another_incarnation_that_was_taken_is_refused(
        self, subject: Subject
    ) -> None:
        await subject.create()
        await subject.take_over()
        with pytest.raises(AlreadyExists):
            await subject.create(incarnation="second")

    async def test_an_id_of_another_incarnation_that_is_closed_is_refused(
        self, subject: Subject
    ) -> None:
        await subject.close(await subject.create())
        with pytest.raises(AlreadyExists):
            await subject.create(incarnation="second")

    async def test_a_create_repeated_after_a_take_is_fenced(self, subject: Subject) -> None:
        await subject.create()
        await subject.take_over()
        with pytest.raises(Fenced):
            await subject.create()

    async def test_a_record_can_be_created_at_an_epoch(self, subject: Subject) -> None:
        claim = await subject.create(b"0", epoch=7)
        assert claim == Claim(subject.id, "first", 7, tail=1)
        assert (await subject.append(claim, b"1")).epoch == 7
        assert (await subject.view()).epoch == 7

    async def test_an_epoch_may_be_large(self, subject: Subject) -> None:
        claim = await subject.create(epoch=2**50 + 1)
        assert (await subject.append(claim, b"0")).epoch == 2**50 + 1
        assert (await subject.take_over()).epoch == 2**50 + 2

    async def test_a_create_at_a_higher_epoch_raises_that_of_the_record(
        self, subject: Subject
    ) -> None:
        old = await subject.append(await subject.create(b"0", private=b"p"), b"1", notes=b"n")
        before = await subject.view()
        claim = await subject.create(b"other", epoch=5, private=b"q")
        assert claim == replace(old, epoch=5)
        assert await subject.view() == replace(before, epoch=5)
        with pytest.raises(Fenced):
            await subject.append(old, b"2")
        assert (await subject.append(claim, b"2")).tail == 3
        assert (await subject.store.take(subject.id, lease=LEASE)).private == b"p"

    async def test_a_create_at_a_higher_epoch_wakes_the_holder(self, subject: Subject) -> None:
        await subject.create(b"0")
        view = await subject.view()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(subject.wait, view, after=10**9))
            await anyio.wait_all_tasks_blocked()
            await subject.create(b"0", epoch=2)

    async def test_a_create_at_a_lower_epoch_is_fenced(self, subject: Subject) -> None:
        await subject.create(epoch=3)
        with pytest.raises(Fenced):
            await subject.create(epoch=2)
        assert (await subject.create(epoch=3)).epoch == 3

    @pytest.mark.parametrize("epoch", [3, 9], ids=["same", "higher"])
    async def test_a_create_of_what_is_closed_changes_nothing(
        self, subject: Subject, epoch: int
    ) -> None:
        closed = await subject.close(await subject.create(b"0", epoch=3), b"end")
        before = await subject.view()
        assert await subject.create(b"0", epoch=epoch) == closed
        assert await subject.view() == before
        with pytest.raises(Fenced):
            await subject.create(epoch=2)

    async def test_a_holder_restores_a_record_that_was_lost(self, subject: Subject) -> None:
        await subject.create(b"0")
        claim = await subject.take_over()
        await subject.store.delete(subject.id, claim=claim)  # as lost: without a tombstone
        assert await subject.create(b"0", epoch=claim.epoch) == claim
        assert (await subject.append(claim, b"1")).tail == 2

    async def test_a_refused_create_changes_nothing(self, subject: Subject) -> None:
        await subject.create(b"0")
        before = await subject.view()
        with pytest.raises(AlreadyExists):
            await subject.create(b"other", b"events", incarnation="second")
        assert await subject.view() == before

    @pytest.mark.parametrize("incarnation", ["first", "second"])
    async def test_a_deleted_id_is_refused_to_every_incarnation(
        self, subject: Subject, incarnation: str
    ) -> None:
        await subject.create()
        await subject.delete()
        with pytest.raises(Deleted):
            await subject.create(incarnation=incarnation)

    async def test_ids_do_not_touch_each_other(self, subject: Subject) -> None:
        other = replace(subject, id=subject.id + "0")
        claim = await subject.create(b"0")
        await other.create(b"other")
        await subject.append(claim, b"1")
        await other.delete()
        assert await subject.log() == (b"0", b"1")

    async def test_a_crowd_creates_one_id_once(self, subject: Subject) -> None:
        incarnations = [f"incarnation {n}" for n in range(CROWD)]
        outcomes = await all_at_once(
            [partial(subject.create, incarnation=mark) for mark in incarnations]
        )
        winners = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
        losers = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists)]
        assert (len(winners), len(losers)) == (1, CROWD - 1)
        assert (await subject.view()).incarnation == winners[0].incarnation


class RequestPromises(Promises):
    """``request``: as it was given to ``create``."""

    async def test_the_request_comes_back_as_it_was_given(self, subject: Subject) -> None:
        await subject.create()
        assert await subject.store.request(subject.id) == b"request"

    async def test_the_request_is_there_after_the_close(self, subject: Subject) -> None:
        await subject.close(await subject.create())
        assert await subject.store.request(subject.id) == b"request"

    async def test_an_unknown_id_has_no_request(self, subject: Subject) -> None:
        assert await subject.store.request(subject.id) is None

    async def test_a_deleted_id_has_no_request(self, subject: Subject) -> None:
        await subject.create()
        await subject.delete()
        assert await subject.store.request(subject.id) is None
