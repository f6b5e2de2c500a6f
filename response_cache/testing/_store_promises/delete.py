"""The promises of ``delete``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from response_cache.errors import Deleted, Missing
from response_cache.testing._store_promises.subject import (
    CROWD,
    LEASE,
    Promises,
    Subject,
    all_at_once,
)

__all__ = ("DeletePromises",)


class DeletePromises(Promises):
    """``delete``: the record is gone, and a tombstone is left."""

    @pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
    async def test_a_deleted_record_is_gone(self, subject: Subject, closed: bool) -> None:
        claim = await subject.create(b"0")
        if closed:
            await subject.close(claim, b"end")
        assert await subject.delete() is True
        assert await subject.find() is None
        assert await subject.find(after=-1) is None

    async def test_a_second_delete_finds_nothing_to_erase(self, subject: Subject) -> None:
        await subject.create()
        await subject.delete()
        assert await subject.delete() is False

    async def test_a_second_delete_leaves_the_tombstone(self, subject: Subject) -> None:
        await subject.create()
        await subject.delete()
        await subject.delete()
        with pytest.raises(Deleted):
            await subject.create()

    async def test_an_unknown_id_is_not_there_to_erase(self, subject: Subject) -> None:
        assert await subject.delete() is False

    async def test_an_id_that_is_deleted_before_its_create_arrives_stays_deleted(
        self, subject: Subject
    ) -> None:
        await subject.delete()
        with pytest.raises(Deleted):
            await subject.create()

    async def test_a_withdrawn_record_is_gone_without_a_tombstone(self, subject: Subject) -> None:
        claim = await subject.create(b"old")
        assert await subject.delete(claim=claim) is True
        assert await subject.is_gone()
        with pytest.raises(Missing):
            await subject.append(claim, b"1")
        await subject.create(b"new", incarnation="second")
        view = await subject.view(after=-1)
        assert (view.incarnation, view.events) == ("second", (b"new",))

    async def test_nothing_of_a_withdrawn_record_is_left_in_the_next_one(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(
            await subject.create(b"0", private=b"p"),
            b"1",
            token="b",
            snapshot=b"s",
            status="x",
            notes=b"n",
        )
        await subject.delete(claim=claim)
        fresh = await subject.create(incarnation="second")
        view = await subject.view()
        assert (view.status, view.notes, view.snapshot) == ("queued", b"", b"snapshot")
        await subject.append(fresh, b"new", token="b")
        assert await subject.log() == (b"new",)
        assert (await subject.store.take(subject.id, lease=LEASE)).private == b""

    async def test_a_record_is_withdrawn_whatever_the_tail_of_the_claim(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        await subject.append(claim, b"0")
        assert await subject.delete(claim=claim) is True

    async def test_a_claim_that_was_lost_withdraws_nothing(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        await subject.take_over()
        assert await subject.delete(claim=claim) is False
        assert await subject.log() == (b"0",)

    async def test_a_claim_of_another_incarnation_withdraws_nothing(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        assert await subject.delete(claim=replace(claim, incarnation="second")) is False
        assert await subject.log() == (b"0",)

    async def test_a_claim_on_another_id_withdraws_nothing(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        assert await subject.delete(claim=replace(claim, id=subject.id + "0")) is False
        assert await subject.log() == (b"0",)

    async def test_a_closed_record_is_not_withdrawn(self, subject: Subject) -> None:
        claim = await subject.close(await subject.create(), b"end")
        assert await subject.delete(claim=claim) is False
        assert await subject.log() == (b"end",)

    async def test_a_second_withdrawal_finds_nothing(self, subject: Subject) -> None:
        claim = await subject.create()
        await subject.delete(claim=claim)
        assert await subject.delete(claim=claim) is False

    async def test_of_a_crowd_one_erases(self, subject: Subject) -> None:
        await subject.create()
        outcomes = await all_at_once([subject.delete] * CROWD)
        assert sorted(outcomes, key=bool) == [False] * (CROWD - 1) + [True]
