"""The promises of ``take``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from anyio.lowlevel import checkpoint

from response_cache.errors import Fenced, Missing
from response_cache.store import Claim
from response_cache.testing._store_promises.subject import (
    CROWD,
    LEASE,
    Promises,
    Subject,
    all_at_once,
    comparable,
)

__all__ = ("TakePromises",)


class TakePromises(Promises):
    """``take``: the next epoch, and one holder at a time."""

    async def test_a_take_raises_the_epoch_and_changes_nothing_else(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", notes=b"n")
        before = await subject.view()
        assert await subject.take_over() == replace(claim, epoch=2)
        assert await subject.view() == replace(before, epoch=2)

    async def test_each_take_raises_the_epoch(self, subject: Subject) -> None:
        await subject.create()
        assert [(await subject.take_over()).epoch for _ in range(3)] == [2, 3, 4]

    async def test_the_page_of_a_take_is_what_a_read_then_gives(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", snapshot=b"s")
        await subject.append(claim, b"2")
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert comparable(taken.view) == await subject.view()
        assert tuple(taken.view.events) == (b"2",)

    async def test_a_take_raises_the_epoch_by_as_much_as_it_is_told(self, subject: Subject) -> None:
        await subject.create()
        rises = (3, 2**32 - 1)
        claims = [await subject.take(raise_by=rise) for rise in rises]
        assert [claim and claim.epoch for claim in claims] == [4, 3 + 2**32]
        assert (await subject.view()).epoch == 3 + 2**32

    async def test_two_who_took_apart_do_not_hold_one_claim(self, subject: Subject) -> None:
        claim = await subject.create()
        lost = replace(claim, epoch=claim.epoch + 17)  # as if a fail-over had lost that take
        assert await subject.take(raise_by=4) == replace(claim, epoch=5)
        with pytest.raises(Fenced):
            await subject.append(lost, b"lost")

    async def test_a_take_gives_the_private_part_and_no_view_does(self, subject: Subject) -> None:
        claim = await subject.create(private=b"sealed")
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert taken.private == b"sealed"
        assert taken.claim is not None
        assert b"sealed" not in [taken.view.header, taken.view.notes, taken.view.snapshot]
        await subject.append(taken.claim, b"0", private=b"again")
        assert (await subject.store.take(subject.id, lease=LEASE)).private == b"again"
        assert claim.epoch == 1

    async def test_an_append_that_brings_no_private_part_leaves_it(self, subject: Subject) -> None:
        await subject.append(await subject.create(private=b"p"), b"0", notes=b"n")
        assert (await subject.store.take(subject.id, lease=LEASE)).private == b"p"

    async def test_a_refused_take_gives_no_private_part(self, subject: Subject) -> None:
        await subject.create(private=b"p")
        taken = await subject.store.take(subject.id, lease=LEASE, only_orphaned=True)
        assert (taken.claim, taken.private) == (None, b"")

    async def test_the_new_holder_may_write_and_the_old_one_not(self, subject: Subject) -> None:
        old = await subject.create()
        new = await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(old, b"old")
        await subject.append(new, b"new")
        assert await subject.log() == (b"new",)

    async def test_a_closed_record_cannot_be_taken(self, subject: Subject) -> None:
        await subject.close(await subject.create(), b"end")
        before = await subject.view()
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert taken.claim is None
        assert comparable(taken.view) == before == await subject.view()

    async def test_who_wants_an_orphan_does_not_get_a_held_record(self, subject: Subject) -> None:
        claim = await subject.create()
        before = await subject.view()
        taken = await subject.store.take(subject.id, only_orphaned=True, lease=LEASE)
        assert taken.claim is None
        assert comparable(taken.view) == before == await subject.view()
        assert await subject.append(claim) == claim

    async def test_nothing_cannot_be_taken(self, subject: Subject) -> None:
        with pytest.raises(Missing):
            await subject.take()

    async def test_a_deleted_record_cannot_be_taken(self, subject: Subject) -> None:
        await subject.create()
        await subject.delete()
        with pytest.raises(Missing):
            await subject.take()

    async def test_a_crowd_takes_each_epoch_once_and_the_last_one_holds(
        self, subject: Subject
    ) -> None:
        await subject.create()
        claims = await all_at_once([subject.take_over] * CROWD)
        held = sorted(
            [claim for claim in claims if isinstance(claim, Claim)], key=lambda claim: claim.epoch
        )
        assert [claim.epoch for claim in held] == list(range(2, CROWD + 2))
        outcomes = await all_at_once([partial(subject.append, claim, b"0") for claim in held])
        assert [isinstance(outcome, Fenced) for outcome in outcomes] == [True] * (CROWD - 1) + [
            False
        ]

    async def test_in_a_crowd_of_takers_and_appenders_epochs_never_go_back(
        self, subject: Subject
    ) -> None:
        async def take_and_append() -> bytes:
            claim = await subject.take_over()
            await checkpoint()
            event = str(claim.epoch).encode()
            await subject.append(claim, event)
            return event

        await subject.create()
        outcomes = await all_at_once([take_and_append] * CROWD)
        written = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
        fenced = [outcome for outcome in outcomes if isinstance(outcome, Fenced)]
        assert len(written) + len(fenced) == CROWD
        assert written
        assert await subject.log() == tuple(sorted(written, key=int))
