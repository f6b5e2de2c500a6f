"""The promises about time. Each test moves the store's clock."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest

from response_cache.errors import Deleted, Fenced, Missing
from response_cache.store import Claim
from response_cache.testing._store_promises.subject import (
    CROWD,
    LEASE,
    Clock,
    Promises,
    Subject,
    all_at_once,
)

__all__ = ("TimePromises",)


class TimePromises(Promises):
    """Leases and lifetimes, by the store's own clock."""

    unit: ClassVar[float] = 10.0
    """A while, in seconds: long to the store and short to the tests."""

    async def test_a_record_is_orphaned_when_its_lease_has_run_out(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        assert not (await subject.view()).orphaned
        await clock.advance(1.5 * self.unit)
        assert (await subject.view()).orphaned

    async def test_a_heartbeat_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.view()).orphaned

    async def test_an_append_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, b"0", lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.view()).orphaned

    async def test_a_repeated_batch_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await subject.append(claim, b"0", token="b", lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, b"0", token="b", lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.view()).orphaned

    async def test_a_repeated_create_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.create(lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.view()).orphaned

    async def test_the_holder_of_an_orphan_may_go_on_until_it_is_taken(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        await subject.append(claim, b"0")
        assert not (await subject.view()).orphaned
        assert await subject.take(only_orphaned=True) is None

    async def test_an_orphan_can_be_taken_and_is_held_then(
        self, subject: Subject, clock: Clock
    ) -> None:
        old = await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        new = await subject.take(only_orphaned=True)
        assert new == replace(old, epoch=2)
        assert not (await subject.view()).orphaned
        with pytest.raises(Fenced):
            await subject.append(old)

    async def test_a_take_holds_its_own_lease(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=LEASE)
        taken = await subject.store.take(subject.id, lease=self.unit)
        assert not taken.view.orphaned
        await clock.advance(1.5 * self.unit)
        assert (await subject.view()).orphaned

    async def test_of_a_crowd_one_takes_the_orphan(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        claims = await all_at_once([partial(subject.take, only_orphaned=True)] * CROWD)
        assert [claim for claim in claims if claim] == [Claim(subject.id, "first", 2, tail=0)]

    async def test_an_open_record_outlives_its_ttl_by_its_lease(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(b"0", lease=self.unit, ttl=self.unit)
        await clock.advance(3 * self.unit)
        assert await subject.log() == (b"0",)
        assert await subject.store.request(subject.id) == b"request"
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_an_open_record_outlives_its_lease_by_its_ttl(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(b"0", lease=self.unit / 2, ttl=4 * self.unit)
        await clock.advance(3 * self.unit)
        assert await subject.log() == (b"0",)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_record_that_is_renewed_never_expires(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0", lease=self.unit, ttl=self.unit)
        for n in range(3):
            await clock.advance(2.5 * self.unit)
            claim = await subject.append(claim, *[b"x"] * n, lease=self.unit, ttl=self.unit)
        assert await subject.log() == (b"0", b"x", b"x", b"x")
        assert await subject.store.request(subject.id) == b"request"

    async def test_a_lease_of_0_gives_the_claim_back(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(b"0", lease=2 * self.unit)
        assert await subject.append(claim, lease=0) == claim
        view = await subject.view()
        assert (view.orphaned, view.epoch) == (True, 1)
        await clock.advance(self.unit / 2)
        assert await subject.take(only_orphaned=True) == replace(claim, epoch=2)

    async def test_a_claim_that_was_given_back_holds_until_somebody_takes_it(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(await subject.create(), b"0", lease=0)
        assert (await subject.append(claim, b"1")).tail == 2
        assert not (await subject.view()).orphaned

    async def test_a_lease_of_0_moves_the_end_of_an_open_record_to_no_earlier(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0", lease=self.unit, ttl=self.unit)
        await subject.append(claim, lease=0, ttl=self.unit)
        await clock.advance(3 * self.unit)
        assert await subject.log() == (b"0",)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_shorter_ttl_moves_the_end_of_an_open_record_to_no_earlier(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0", lease=self.unit / 4, ttl=4 * self.unit)
        claim = await subject.append(claim, b"1", lease=self.unit / 4, ttl=self.unit)
        await subject.take_over(lease=self.unit / 4)
        await clock.advance(3 * self.unit)
        assert await subject.log() == (b"0", b"1")
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_an_end_may_come_earlier_than_that_of_the_open_record(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0", ttl=9 * self.unit)
        await subject.close(claim, b"end", ttl=self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_take_is_a_renewal(self, subject: Subject, clock: Clock) -> None:
        await subject.create(b"0", lease=self.unit / 4, ttl=2 * self.unit)
        await clock.advance(self.unit)
        await subject.take_over(lease=self.unit / 4)
        await clock.advance(1.5 * self.unit)
        assert await subject.log() == (b"0",)
        await clock.advance(self.unit)
        assert await subject.is_gone()

    async def test_an_expired_record_is_as_if_it_had_never_been(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0", lease=self.unit / 4, ttl=self.unit)
        await clock.advance(1.5 * self.unit)
        with pytest.raises(Missing):
            await subject.append(claim)
        with pytest.raises(Missing):
            await subject.take()
        assert await subject.store.request(subject.id) is None
        assert await subject.delete(claim=claim) is False
        await subject.create(b"new", incarnation="second")
        assert await subject.log() == (b"new",)

    async def test_an_expired_record_is_not_there_to_erase(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(lease=self.unit / 4, ttl=self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.delete() is False

    async def test_waiting_for_an_expired_record_ends_at_once(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(lease=self.unit / 4, ttl=self.unit)
        view = await subject.view()
        await clock.advance(1.5 * self.unit)
        await subject.wait(view)

    async def test_a_closed_record_lives_for_its_ttl(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(), b"end", ttl=2 * self.unit)
        await clock.advance(self.unit)
        view = await subject.view()
        assert (view.closed, view.orphaned) == (True, False)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()
        assert await subject.store.request(subject.id) is None

    async def test_a_closed_record_is_never_orphaned(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=self.unit)
        await subject.append(claim, b"end", close=True, lease=self.unit)
        await clock.advance(1.5 * self.unit)
        assert not (await subject.view()).orphaned
        assert await subject.take(only_orphaned=True) is None

    async def test_a_repeated_closing_batch_does_not_lengthen_the_life(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create()
        await subject.close(claim, b"end", token="b", ttl=2 * self.unit)
        await clock.advance(self.unit)
        await subject.close(claim, b"end", token="b", ttl=2 * self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_log_is_gone_before_its_record(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(b"0")
        await subject.close(claim, b"end", ttl=4 * self.unit, stream_ttl=2 * self.unit)
        await clock.advance(self.unit)
        view = await subject.view(after=-1)
        assert (view.log_expired, view.events) == (False, (b"0", b"end"))
        await clock.advance(1.5 * self.unit)
        view = await subject.view(after=-1)
        assert (view.log_expired, view.events, view.tail) == (True, (), 2)

    async def test_the_snapshot_outlives_the_log(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(b"0")
        await subject.close(claim, b"end", stream_ttl=self.unit)
        before = await subject.view()
        await clock.advance(1.5 * self.unit)
        assert await subject.view() == replace(before, log_expired=True)
        assert await subject.store.request(subject.id) == b"request"

    async def test_a_log_without_a_lifetime_lives_as_long_as_its_record(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.view()).log_expired
        assert await subject.log() == (b"0", b"end")

    async def test_a_log_does_not_outlive_its_record(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(b"0"), ttl=self.unit, stream_ttl=9 * self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_closing_batch_can_be_repeated_when_the_log_is_gone(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0")
        closed = await subject.close(claim, b"end", token="b", stream_ttl=self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.close(claim, b"end", token="b", stream_ttl=self.unit) == closed
        assert (await subject.view(after=-1)).events == ()

    async def test_a_tombstone_does_not_last_for_ever(self, subject: Subject, clock: Clock) -> None:
        await subject.create()
        await subject.delete()
        await clock.advance(subject.store.tombstone_ttl + self.unit)
        with pytest.raises(Missing):
            await subject.append(Claim(subject.id, "first", 1, tail=0))
        assert (await subject.create(incarnation="second")).epoch == 1

    async def test_a_second_delete_renews_the_tombstone(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create()
        await subject.delete()
        await clock.advance(subject.store.tombstone_ttl * 0.75)
        await subject.delete()
        await clock.advance(subject.store.tombstone_ttl * 0.75)
        with pytest.raises(Deleted):
            await subject.create()
