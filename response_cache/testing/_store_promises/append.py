"""The promises of ``append``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from response_cache.errors import Closed, Deleted, Fenced, Missing, SequenceGap
from response_cache.store import Claim
from response_cache.testing._store_promises.subject import (
    CROWD,
    LEASE,
    Promises,
    Subject,
    all_at_once,
)

__all__ = ("AppendPromises",)


class AppendPromises(Promises):
    """``append``: in order, once, by the holder of the claim, until the record is closed."""

    async def test_events_go_to_the_end_of_the_log(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        claim = await subject.append(claim, b"1", b"2")
        claim = await subject.append(claim, b"3")
        assert claim == Claim(subject.id, "first", 1, tail=4)
        assert await subject.log() == (b"0", b"1", b"2", b"3")

    async def test_a_snapshot_is_through_the_last_event_given(self, subject: Subject) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", snapshot=b"later")
        view = await subject.view()
        assert (view.snapshot, view.snapshot_through, view.first, view.events) == (
            b"later",
            2,
            3,
            (),
        )

    async def test_a_snapshot_without_events_is_through_the_end_of_the_log(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", b"2")
        await subject.append(claim, snapshot=b"later")
        view = await subject.view()
        assert (view.snapshot, view.snapshot_through, view.tail) == (b"later", 2, 3)

    async def test_none_leaves_snapshot_status_and_notes(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        claim = await subject.append(claim, snapshot=b"s", status="in_progress", notes=b"n")
        await subject.append(claim, b"1")
        view = await subject.view()
        assert (view.snapshot, view.snapshot_through) == (b"s", 0)
        assert (view.status, view.notes) == ("in_progress", b"n")

    async def test_empty_values_are_values(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), notes=b"n")
        await subject.append(claim, b"", snapshot=b"", notes=b"")
        view = await subject.view()
        assert (view.snapshot, view.notes) == (b"", b"")
        assert await subject.log() == (b"0", b"")

    async def test_a_heartbeat_changes_nothing_that_can_be_read(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        before = await subject.view()
        assert await subject.append(claim) == claim
        assert await subject.view() == before

    @pytest.mark.parametrize("events", [(), (b"1",)], ids=["heartbeat", "events"])
    async def test_an_append_to_a_deleted_id_says_so(
        self, subject: Subject, events: Sequence[bytes]
    ) -> None:
        claim = await subject.create()
        await subject.delete()
        with pytest.raises(Deleted):
            await subject.append(claim, *events)

    @pytest.mark.parametrize("events", [(), (b"1",)], ids=["heartbeat", "events"])
    async def test_an_append_to_nothing_says_so(
        self, subject: Subject, events: Sequence[bytes]
    ) -> None:
        with pytest.raises(Missing):
            await subject.append(Claim(subject.id, "first", 1, tail=0), *events)

    @pytest.mark.parametrize("events", [(), (b"1",)], ids=["heartbeat", "events"])
    async def test_a_claim_of_another_incarnation_is_fenced(
        self, subject: Subject, events: Sequence[bytes]
    ) -> None:
        claim = await subject.create()
        with pytest.raises(Fenced):
            await subject.append(replace(claim, incarnation="second"), *events)

    @pytest.mark.parametrize("epoch", [0, 1, 3], ids=["older", "old", "future"])
    async def test_a_claim_at_another_epoch_is_fenced(self, subject: Subject, epoch: int) -> None:
        claim = await subject.create()
        await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(replace(claim, epoch=epoch), b"1")

    async def test_a_fenced_claim_is_fenced_before_its_tail_is_looked_at(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(replace(claim, tail=7), b"1")

    async def test_a_fenced_claim_is_fenced_also_when_the_record_is_closed(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        await subject.close(await subject.take_over(), b"end")
        with pytest.raises(Fenced):
            await subject.append(claim, b"1")

    async def test_a_fenced_claim_cannot_repeat_its_last_batch(self, subject: Subject) -> None:
        claim = await subject.create()
        await subject.append(claim, b"0", token="b")
        await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(claim, b"0", token="b")

    async def test_a_new_holder_has_no_last_batch_of_the_old_one_to_repeat_by_chance(
        self, subject: Subject
    ) -> None:
        await subject.append(await subject.create(), b"0", token="old")
        claim = await subject.append(await subject.take_over(), b"1", token="new")
        assert claim.tail == 2
        assert await subject.log() == (b"0", b"1")

    @pytest.mark.parametrize("events", [(), (b"1",)], ids=["heartbeat", "events"])
    async def test_nothing_is_appended_to_a_closed_record(
        self, subject: Subject, events: Sequence[bytes]
    ) -> None:
        claim = await subject.close(await subject.create(), b"end")
        with pytest.raises(Closed):
            await subject.append(claim, *events)

    async def test_closed_is_said_before_a_gap(self, subject: Subject) -> None:
        claim = await subject.close(await subject.create(), b"end")
        with pytest.raises(Closed):
            await subject.append(replace(claim, tail=7), b"1")

    @pytest.mark.parametrize("events", [(), (b"x",)], ids=["heartbeat", "events"])
    @pytest.mark.parametrize("tail", [0, 1, 3], ids=["far below", "below", "above"])
    async def test_a_claim_with_another_tail_is_told_the_right_one(
        self, subject: Subject, events: Sequence[bytes], tail: int
    ) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", token="last")
        with pytest.raises(SequenceGap) as caught:
            await subject.append(replace(claim, tail=tail), *events)
        assert caught.value.tail == 2

    async def test_a_refused_append_changes_nothing(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        before = await subject.view()
        with pytest.raises(SequenceGap):
            await subject.append(
                replace(claim, tail=5), b"1", close=True, snapshot=b"s", status="x", notes=b"n"
            )
        assert await subject.view() == before
        assert await subject.log() == (b"0",)

    async def test_a_repeated_batch_is_written_once(self, subject: Subject) -> None:
        claim = await subject.create()
        first = await subject.append(claim, b"0", b"1", token="b")
        assert await subject.append(claim, b"0", b"1", token="b") == first
        assert await subject.log() == (b"0", b"1")

    async def test_a_batch_repeated_after_a_heartbeat_is_still_known(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        first = await subject.append(claim, b"0", token="b")
        await subject.append(first)
        assert await subject.append(claim, b"0", token="b") == first

    async def test_a_batch_that_closed_can_be_repeated(self, subject: Subject) -> None:
        claim = await subject.create()
        closed = await subject.close(claim, b"end", token="b")
        before = await subject.view()
        assert await subject.close(claim, b"end", token="b") == closed
        assert await subject.view() == before

    async def test_the_last_batch_can_be_repeated_after_a_close_without_events(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        last = await subject.append(claim, b"0", token="b")
        await subject.close(last)
        assert await subject.append(claim, b"0", token="b") == last

    async def test_only_the_last_batch_is_known(self, subject: Subject) -> None:
        claim = await subject.create()
        await subject.append(await subject.append(claim, b"0", token="a"), b"1", token="b")
        with pytest.raises(SequenceGap) as caught:
            await subject.append(claim, b"0", token="a")
        assert caught.value.tail == 2

    async def test_the_same_events_in_a_new_batch_are_new_events(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(), b"same", token="a")
        await subject.append(claim, b"same", token="b")
        assert await subject.log() == (b"same", b"same")

    async def test_the_end_becomes_visible_in_one_step(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", notes=b"n")
        assert (await subject.close(claim, b"end")).tail == 3
        view = await subject.view()
        assert (view.closed, view.orphaned, view.status) == (True, False, "completed")
        assert (view.snapshot, view.snapshot_through, view.notes) == (b"final", 2, b"n")
        assert await subject.log() == (b"0", b"1", b"end")

    async def test_a_record_can_be_closed_without_events(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"))
        view = await subject.view()
        assert (view.closed, view.snapshot, view.snapshot_through) == (True, b"final", 0)

    async def test_an_end_erases_the_private_part_and_takes_no_new_one(
        self, subject: Subject
    ) -> None:
        claim = await subject.create(private=b"p")
        await subject.append(claim, b"end", close=True, private=b"q")
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert (taken.claim, taken.private) == (None, b"")

    async def test_of_a_crowd_with_one_claim_one_appends(self, subject: Subject) -> None:
        claim = await subject.create()
        outcomes = await all_at_once(
            [partial(subject.append, claim, str(n).encode()) for n in range(CROWD)]
        )
        winners = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Claim)]
        gaps = [outcome.tail for outcome in outcomes if isinstance(outcome, SequenceGap)]
        assert gaps == [1] * (CROWD - 1)
        assert await subject.log() == (str(winners[0]).encode(),)

    async def test_of_a_crowd_that_repeats_one_batch_all_succeed_and_one_writes(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        outcomes = await all_at_once([partial(subject.append, claim, b"0", token="b")] * CROWD)
        assert outcomes == [replace(claim, tail=1)] * CROWD
        assert await subject.log() == (b"0",)
