"""One test for each promise of ``response_cache.store``, for every store there is.

A subclass gives two fixtures: ``store``, opened, and ``clock``, which moves the store's time on.
Where the time is a server's, ``clock`` may really wait; ``unit`` then says how short a while the
tests may take for long. Only the promises about time depend on it: all other tests use lifetimes
that they do not outlive. Each test uses an id of its own, so a shared database will do.

The promises are grouped by operation, in the order of the contract, into classes that
``StoreConformance`` brings together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final, Protocol
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
)
from response_cache.store import Claim, Page, Store

__all__ = ("Clock", "StoreConformance")

LEASE: Final = 600.0  # outlived by no test that is not about time
TTL: Final = 3600.0
PATIENCE: Final = 30.0  # what must happen has happened by then
CROWD: Final = 100
ALL_BYTES: Final = bytes(range(256))


class Clock(Protocol):
    """What moves a store's time on."""

    async def advance(self, seconds: float) -> None:
        """Return when *seconds* have passed for the store."""
        ...


@dataclass(frozen=True)
class Subject:
    """A store under test, with what every call needs filled in."""

    store: Store
    id: str

    async def create(
        self,
        *events: bytes,
        incarnation: str = "first",
        lease: float = LEASE,
        ttl: float = TTL,
    ) -> Claim:
        """Create the record, with *events* as its log."""
        return await self.store.create(
            self.id,
            incarnation=incarnation,
            header=b"header",
            request=b"request",
            snapshot=b"snapshot",
            events=events,
            status="queued",
            lease=lease,
            ttl=ttl,
        )

    async def append(
        self,
        claim: Claim,
        *events: bytes,
        batch: str | None = None,
        close: bool = False,
        snapshot: bytes | None = None,
        status: str | None = None,
        notes: bytes | None = None,
        lease: float = LEASE,
        ttl: float = TTL,
        stream_ttl: float | None = None,
    ) -> Claim:
        """Append *events*; the batch has a token of its own unless one is given."""
        token = uuid4().hex if events and batch is None else batch or ""
        return await self.store.append(
            claim,
            events,
            batch=token,
            close=close,
            snapshot=snapshot,
            status=status,
            notes=notes,
            lease=lease,
            ttl=ttl,
            stream_ttl=stream_ttl,
        )

    async def close(
        self,
        claim: Claim,
        *events: bytes,
        batch: str | None = None,
        ttl: float = TTL,
        stream_ttl: float | None = None,
    ) -> Claim:
        """Append the end."""
        return await self.append(
            claim,
            *events,
            batch=batch,
            close=True,
            snapshot=b"final",
            status="completed",
            ttl=ttl,
            stream_ttl=stream_ttl,
        )

    async def take(self, *, only_orphaned: bool = False, lease: float = LEASE) -> Claim | None:
        """Take the record; the claim, or None when that was refused."""
        taken = await self.store.take(self.id, only_orphaned=only_orphaned, lease=lease)
        return taken.claim

    async def take_over(self, *, lease: float = LEASE) -> Claim:
        """Take the record, which must not be refused."""
        claim = await self.take(lease=lease)
        assert claim is not None
        return claim

    async def find(self, *, after: int | None = None, limit: int | None = None) -> Page | None:
        """The record with its events as a tuple, so that pages can be compared."""
        page = await self.store.read(self.id, after=after, limit=limit)
        return page and _comparable(page)

    async def page(self, *, after: int | None = None, limit: int | None = None) -> Page:
        """The record, which must be there."""
        page = await self.find(after=after, limit=limit)
        assert page is not None
        return page

    async def log(self) -> Sequence[bytes]:
        """All events."""
        return (await self.page(after=-1)).events

    async def is_gone(self) -> bool:
        """Whether nothing is there to be read."""
        return await self.find() is None

    async def wait(self, page: Page, *, after: int | None = None) -> None:
        """Wait for more than *page* shows; fail when it does not come."""
        after = page.tail - 1 if after is None else after
        with anyio.fail_after(PATIENCE):
            await self.store.wait(
                self.id, after=after, epoch=page.epoch, incarnation=page.incarnation
            )

    async def delete(self, *, claim: Claim | None = None) -> bool:
        """Delete the record."""
        return await self.store.delete(self.id, claim=claim)


def _comparable(page: Page) -> Page:
    return replace(page, events=tuple(page.events))


class _Promises:
    @pytest.fixture
    def id(self) -> str:
        """An id that no other test uses."""
        return f"resp_{uuid4().hex}"

    @pytest.fixture
    def subject(self, store: Store, id: str) -> Subject:
        """The store of the subclass, for calls that name only what matters."""
        return Subject(store, id)


class _Properties(_Promises):
    def test_the_properties_have_values_that_suit_their_meaning(self, store: Store) -> None:
        assert store.flush_interval >= 0
        assert isinstance(store.can_forget, bool)
        assert re.fullmatch("[0-9a-f]*", store.id_tag)
        assert store.tombstone_ttl > 0


class _Create(_Promises):
    async def test_a_create_gives_the_claim_at_epoch_1(self, subject: Subject) -> None:
        assert await subject.create(b"0", b"1") == Claim(subject.id, "first", 1, tail=2)

    async def test_what_was_created_can_be_read(self, subject: Subject) -> None:
        await subject.create(b"0", b"1")
        assert await subject.page() == Page(
            id=subject.id,
            incarnation="first",
            epoch=1,
            status="queued",
            header=b"header",
            notes=b"",
            snapshot=b"snapshot",
            through=1,
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
        page = await subject.page()
        assert (claim.tail, page.tail, page.through, page.first) == (0, 0, -1, 0)

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
        before = await subject.page()
        await subject.create(b"other")
        assert await subject.page() == before

    async def test_a_repeated_create_of_a_closed_record_leaves_it_closed(
        self, subject: Subject
    ) -> None:
        closed = await subject.close(await subject.create(b"0"), b"end")
        assert await subject.create(b"0") == closed
        assert (await subject.page()).closed

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

    async def test_a_refused_create_changes_nothing(self, subject: Subject) -> None:
        await subject.create(b"0")
        before = await subject.page()
        with pytest.raises(AlreadyExists):
            await subject.create(b"other", b"events", incarnation="second")
        assert await subject.page() == before

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
        outcomes = await _all_at_once(
            [partial(subject.create, incarnation=mark) for mark in incarnations]
        )
        winners = [outcome for outcome in outcomes if isinstance(outcome, Claim)]
        losers = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists)]
        assert (len(winners), len(losers)) == (1, CROWD - 1)
        assert (await subject.page()).incarnation == winners[0].incarnation


class _Request(_Promises):
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


class _Append(_Promises):
    async def test_events_go_to_the_end_of_the_log(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        claim = await subject.append(claim, b"1", b"2")
        claim = await subject.append(claim, b"3")
        assert claim == Claim(subject.id, "first", 1, tail=4)
        assert await subject.log() == (b"0", b"1", b"2", b"3")

    async def test_a_snapshot_is_through_the_last_event_given(self, subject: Subject) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", snapshot=b"later")
        page = await subject.page()
        assert (page.snapshot, page.through, page.first, page.events) == (b"later", 2, 3, ())

    async def test_a_snapshot_without_events_is_through_the_end_of_the_log(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", b"2")
        await subject.append(claim, snapshot=b"later")
        page = await subject.page()
        assert (page.snapshot, page.through, page.tail) == (b"later", 2, 3)

    async def test_none_leaves_snapshot_status_and_notes(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        claim = await subject.append(claim, snapshot=b"s", status="in_progress", notes=b"n")
        await subject.append(claim, b"1")
        page = await subject.page()
        assert (page.snapshot, page.through) == (b"s", 0)
        assert (page.status, page.notes) == ("in_progress", b"n")

    async def test_empty_values_are_values(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), notes=b"n")
        await subject.append(claim, b"", snapshot=b"", notes=b"")
        page = await subject.page()
        assert (page.snapshot, page.notes) == (b"", b"")
        assert await subject.log() == (b"0", b"")

    async def test_a_heartbeat_changes_nothing_that_can_be_read(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        before = await subject.page()
        assert await subject.append(claim) == claim
        assert await subject.page() == before

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
        await subject.append(claim, b"0", batch="b")
        await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(claim, b"0", batch="b")

    async def test_a_new_holder_has_no_last_batch_of_the_old_one_to_repeat_by_chance(
        self, subject: Subject
    ) -> None:
        await subject.append(await subject.create(), b"0", batch="old")
        claim = await subject.append(await subject.take_over(), b"1", batch="new")
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
        claim = await subject.append(await subject.create(b"0"), b"1", batch="last")
        with pytest.raises(SequenceGap) as caught:
            await subject.append(replace(claim, tail=tail), *events)
        assert caught.value.tail == 2

    async def test_a_refused_append_changes_nothing(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        before = await subject.page()
        with pytest.raises(SequenceGap):
            await subject.append(
                replace(claim, tail=5), b"1", close=True, snapshot=b"s", status="x", notes=b"n"
            )
        assert await subject.page() == before
        assert await subject.log() == (b"0",)

    async def test_a_repeated_batch_is_written_once(self, subject: Subject) -> None:
        claim = await subject.create()
        first = await subject.append(claim, b"0", b"1", batch="b")
        assert await subject.append(claim, b"0", b"1", batch="b") == first
        assert await subject.log() == (b"0", b"1")

    async def test_a_batch_repeated_after_a_heartbeat_is_still_known(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        first = await subject.append(claim, b"0", batch="b")
        await subject.append(first)
        assert await subject.append(claim, b"0", batch="b") == first

    async def test_a_batch_that_closed_can_be_repeated(self, subject: Subject) -> None:
        claim = await subject.create()
        closed = await subject.close(claim, b"end", batch="b")
        before = await subject.page()
        assert await subject.close(claim, b"end", batch="b") == closed
        assert await subject.page() == before

    async def test_the_last_batch_can_be_repeated_after_a_close_without_events(
        self, subject: Subject
    ) -> None:
        claim = await subject.create()
        last = await subject.append(claim, b"0", batch="b")
        await subject.close(last)
        assert await subject.append(claim, b"0", batch="b") == last

    async def test_only_the_last_batch_is_known(self, subject: Subject) -> None:
        claim = await subject.create()
        await subject.append(await subject.append(claim, b"0", batch="a"), b"1", batch="b")
        with pytest.raises(SequenceGap) as caught:
            await subject.append(claim, b"0", batch="a")
        assert caught.value.tail == 2

    async def test_the_same_events_in_a_new_batch_are_new_events(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(), b"same", batch="a")
        await subject.append(claim, b"same", batch="b")
        assert await subject.log() == (b"same", b"same")

    async def test_the_end_becomes_visible_in_one_step(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", notes=b"n")
        assert (await subject.close(claim, b"end")).tail == 3
        page = await subject.page()
        assert (page.closed, page.orphaned, page.status) == (True, False, "completed")
        assert (page.snapshot, page.through, page.notes) == (b"final", 2, b"n")
        assert await subject.log() == (b"0", b"1", b"end")

    async def test_a_record_can_be_closed_without_events(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"))
        page = await subject.page()
        assert (page.closed, page.snapshot, page.through) == (True, b"final", 0)

    async def test_of_a_crowd_with_one_claim_one_appends(self, subject: Subject) -> None:
        claim = await subject.create()
        outcomes = await _all_at_once(
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
        outcomes = await _all_at_once([partial(subject.append, claim, b"0", batch="b")] * CROWD)
        assert outcomes == [replace(claim, tail=1)] * CROWD
        assert await subject.log() == (b"0",)


class _Take(_Promises):
    async def test_a_take_raises_the_epoch_and_changes_nothing_else(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", notes=b"n")
        before = await subject.page()
        assert await subject.take_over() == replace(claim, epoch=2)
        assert await subject.page() == replace(before, epoch=2)

    async def test_each_take_raises_the_epoch(self, subject: Subject) -> None:
        await subject.create()
        assert [(await subject.take_over()).epoch for _ in range(3)] == [2, 3, 4]

    async def test_the_page_of_a_take_is_what_a_read_then_gives(self, subject: Subject) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", snapshot=b"s")
        await subject.append(claim, b"2")
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert _comparable(taken.page) == await subject.page()
        assert tuple(taken.page.events) == (b"2",)

    async def test_the_new_holder_may_write_and_the_old_one_not(self, subject: Subject) -> None:
        old = await subject.create()
        new = await subject.take_over()
        with pytest.raises(Fenced):
            await subject.append(old, b"old")
        await subject.append(new, b"new")
        assert await subject.log() == (b"new",)

    async def test_a_closed_record_cannot_be_taken(self, subject: Subject) -> None:
        await subject.close(await subject.create(), b"end")
        before = await subject.page()
        taken = await subject.store.take(subject.id, lease=LEASE)
        assert taken.claim is None
        assert _comparable(taken.page) == before == await subject.page()

    async def test_who_wants_an_orphan_does_not_get_a_held_record(self, subject: Subject) -> None:
        claim = await subject.create()
        before = await subject.page()
        taken = await subject.store.take(subject.id, only_orphaned=True, lease=LEASE)
        assert taken.claim is None
        assert _comparable(taken.page) == before == await subject.page()
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
        claims = await _all_at_once([subject.take_over] * CROWD)
        held = sorted(
            [claim for claim in claims if isinstance(claim, Claim)], key=lambda claim: claim.epoch
        )
        assert [claim.epoch for claim in held] == list(range(2, CROWD + 2))
        outcomes = await _all_at_once([partial(subject.append, claim, b"0") for claim in held])
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
        outcomes = await _all_at_once([take_and_append] * CROWD)
        written = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
        fenced = [outcome for outcome in outcomes if isinstance(outcome, Fenced)]
        assert len(written) + len(fenced) == CROWD
        assert written
        assert await subject.log() == tuple(sorted(written, key=int))


class _Read(_Promises):
    async def test_an_unknown_id_reads_as_none(self, subject: Subject) -> None:
        assert await subject.find() is None
        assert await subject.find(after=-1) is None

    async def test_a_plain_read_gives_the_snapshot_and_what_it_does_not_cover(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", snapshot=b"s")
        await subject.append(claim, b"2", b"3")
        page = await subject.page()
        assert (page.snapshot, page.through) == (b"s", 1)
        assert (page.first, page.events, page.tail) == (2, (b"2", b"3"), 4)

    @pytest.mark.parametrize("after", [-1, 0, 1, 2, 3])
    async def test_a_read_after_a_number_gives_the_events_above_it_and_no_snapshot(
        self, subject: Subject, after: int
    ) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", b"3", snapshot=b"s")
        page = await subject.page(after=after)
        assert page.snapshot is None
        assert (page.first, page.events) == (after + 1, (b"0", b"1", b"2", b"3")[after + 1 :])
        assert (page.through, page.tail) == (3, 4)

    async def test_a_read_after_the_end_gives_no_events(self, subject: Subject) -> None:
        await subject.create(b"0")
        page = await subject.page(after=100)
        assert (page.events, page.tail) == ((), 1)

    @pytest.mark.parametrize("limit", [1, 2, 4, 5])
    async def test_a_limit_bounds_the_events_and_not_the_tail(
        self, subject: Subject, limit: int
    ) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", b"3", b"4")
        page = await subject.page(after=0, limit=limit)
        assert page.events == (b"1", b"2", b"3", b"4")[:limit]
        assert (page.first, page.tail) == (1, 5)

    async def test_a_limit_does_not_care_how_events_were_batched(self, subject: Subject) -> None:
        claim = await subject.create(b"0", b"1", b"2")
        claim = await subject.append(claim, b"3", b"4", b"5")
        await subject.append(claim, b"6", b"7", b"8")
        assert (await subject.page(after=1, limit=3)).events == (b"2", b"3", b"4")
        assert (await subject.page(after=4, limit=3)).events == (b"5", b"6", b"7")

    async def test_a_page_stays_as_it_was_read(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        page = await subject.store.read(subject.id, after=-1)
        await subject.append(claim, b"1", status="in_progress")
        assert page is not None
        assert (list(page.events), page.tail, page.status) == ([b"0"], 1, "queued")

    async def test_a_reader_never_sees_half_of_an_append(self, subject: Subject) -> None:
        claim = await subject.create(b"0")

        async def write(claim: Claim) -> None:
            for n in range(1, CROWD, 2):
                events = (str(n).encode(), str(n + 1).encode())
                snapshot = str(n + 1).encode() if n % 3 == 0 else None
                claim = await subject.append(claim, *events, snapshot=snapshot)
                await checkpoint()
            await subject.append(claim, close=True, snapshot=str(claim.tail - 1).encode())

        async def read() -> None:
            while not await _is_closed_and_whole(subject):
                await checkpoint()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(write, claim)


class _Wait(_Promises):
    async def test_waiting_for_an_unknown_id_ends_at_once(self, subject: Subject) -> None:
        with anyio.fail_after(PATIENCE):
            await subject.store.wait(subject.id, after=-1, epoch=1, incarnation="first")

    async def test_waiting_ends_at_once_when_an_event_above_is_there(
        self, subject: Subject
    ) -> None:
        await subject.create(b"0", b"1")
        await subject.wait(await subject.page(), after=0)

    async def test_waiting_ends_at_once_when_the_record_is_closed(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"))
        await subject.wait(await subject.page(), after=100)

    async def test_waiting_ends_at_once_for_another_epoch(self, subject: Subject) -> None:
        await subject.create()
        await subject.wait(replace(await subject.page(), epoch=2))

    async def test_waiting_ends_at_once_for_another_incarnation(self, subject: Subject) -> None:
        await subject.create()
        await subject.wait(replace(await subject.page(), incarnation="second"))

    @pytest.mark.parametrize("change", ["append", "close", "take", "delete", "withdraw"])
    async def test_a_change_between_read_and_wait_is_not_missed(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        page = await subject.page()
        await _change(subject, claim, change)
        await subject.wait(page)

    @pytest.mark.parametrize("change", ["append", "close", "take", "delete", "withdraw"])
    async def test_a_change_while_waiting_ends_the_wait(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        page = await subject.page()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(subject.wait, page)
            await anyio.wait_all_tasks_blocked()
            await _change(subject, claim, change)

    @pytest.mark.parametrize("change", ["close", "take", "delete", "withdraw"])
    async def test_who_waits_for_no_event_is_told_of_a_lost_claim(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        page = await subject.page()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(subject.wait, page, after=10**9))
            await anyio.wait_all_tasks_blocked()
            claim = await subject.append(claim, b"1")
            await _change(subject, claim, change)

    async def test_a_wait_can_be_given_up(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        page = await subject.page()
        async with anyio.create_task_group() as group:
            group.start_soon(subject.wait, page)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await subject.append(claim, b"1")
        await subject.wait(page)

    async def test_readers_that_wait_and_read_see_every_event(self, subject: Subject) -> None:
        claim = await subject.create()
        expected = tuple(str(n).encode() for n in range(CROWD))
        logs: list[Sequence[bytes]] = []

        async def follow() -> None:
            logs.append(await _followed(subject))

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(follow)
                for event in expected:
                    claim = await subject.append(claim, event)
                    await checkpoint()
                await subject.close(claim)
        assert logs == [expected] * 5


class _Delete(_Promises):
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

    async def test_a_withdrawn_record_is_gone_without_a_tombstone(self, subject: Subject) -> None:
        claim = await subject.create(b"old")
        assert await subject.delete(claim=claim) is True
        assert await subject.is_gone()
        with pytest.raises(Missing):
            await subject.append(claim, b"1")
        await subject.create(b"new", incarnation="second")
        page = await subject.page(after=-1)
        assert (page.incarnation, page.events) == ("second", (b"new",))

    async def test_nothing_of_a_withdrawn_record_is_left_in_the_next_one(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(
            await subject.create(b"0"), b"1", batch="b", snapshot=b"s", status="x", notes=b"n"
        )
        await subject.delete(claim=claim)
        fresh = await subject.create(incarnation="second")
        page = await subject.page()
        assert (page.status, page.notes, page.snapshot) == ("queued", b"", b"snapshot")
        await subject.append(fresh, b"new", batch="b")
        assert await subject.log() == (b"new",)

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
        outcomes = await _all_at_once([subject.delete] * CROWD)
        assert sorted(outcomes, key=bool) == [False] * (CROWD - 1) + [True]


class _Bytes(_Promises):
    async def test_every_byte_comes_back_as_it_was(self, subject: Subject) -> None:
        claim = await subject.store.create(
            subject.id,
            incarnation="first",
            header=ALL_BYTES,
            request=ALL_BYTES,
            snapshot=ALL_BYTES,
            events=[ALL_BYTES, ALL_BYTES[::-1]],
            status="queued",
            lease=LEASE,
            ttl=TTL,
        )
        await subject.append(claim, ALL_BYTES * 2, notes=ALL_BYTES)
        page = await subject.page()
        assert (page.header, page.notes, page.snapshot) == (ALL_BYTES,) * 3
        assert await subject.store.request(subject.id) == ALL_BYTES
        assert await subject.log() == (ALL_BYTES, ALL_BYTES[::-1], ALL_BYTES * 2)

    async def test_empty_bytes_come_back_empty(self, subject: Subject) -> None:
        await subject.store.create(
            subject.id,
            incarnation="first",
            header=b"",
            request=b"",
            snapshot=b"",
            events=[b"", b""],
            status="",
            lease=LEASE,
            ttl=TTL,
        )
        page = await subject.page()
        assert (page.header, page.snapshot, page.status) == (b"", b"", "")
        assert await subject.store.request(subject.id) == b""
        assert await subject.log() == (b"", b"")

    async def test_large_values_come_back_whole(self, subject: Subject) -> None:
        mebibyte = ALL_BYTES * 4096
        claim = await subject.create(mebibyte)
        await subject.append(claim, mebibyte[::-1], b"small", mebibyte, snapshot=mebibyte)
        assert (await subject.page()).snapshot == mebibyte
        assert await subject.log() == (mebibyte, mebibyte[::-1], b"small", mebibyte)

    async def test_a_batch_may_have_many_events(self, subject: Subject) -> None:
        events = tuple(str(n).encode() for n in range(5000))
        await subject.append(await subject.create(), *events)
        assert await subject.log() == events
        assert (await subject.page(after=2499, limit=2)).events == (b"2500", b"2501")

    # No braces: they are the hash tags of Redis Cluster, and no id of ours has them.
    @pytest.mark.parametrize(
        "tail",
        [" ", ":log", "/../", "%00", "'\";--", "*?[a-z]", "\n\t", "ü→🙂", "_" * 200],
    )
    async def test_an_id_may_have_odd_characters(self, subject: Subject, tail: str) -> None:
        odd = replace(subject, id=subject.id + tail)
        await subject.create(b"plain")
        claim = await odd.create(b"odd")
        await odd.append(claim, b"more", status="état\n", notes=b"n")
        page = await odd.page(after=-1)
        assert (page.id, page.status, page.events) == (odd.id, "état\n", (b"odd", b"more"))
        assert await odd.delete() is True
        assert await subject.log() == (b"plain",)


class _Time(_Promises):
    unit: ClassVar[float] = 10.0
    """A while, in seconds: long to the store and short to the tests."""

    async def test_a_record_is_orphaned_when_its_lease_has_run_out(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        assert not (await subject.page()).orphaned
        await clock.advance(1.5 * self.unit)
        assert (await subject.page()).orphaned

    async def test_a_heartbeat_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.page()).orphaned

    async def test_an_append_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, b"0", lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.page()).orphaned

    async def test_a_repeated_batch_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=2 * self.unit)
        await subject.append(claim, b"0", batch="b", lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.append(claim, b"0", batch="b", lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.page()).orphaned

    async def test_a_repeated_create_renews_the_lease(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=2 * self.unit)
        await clock.advance(self.unit)
        await subject.create(lease=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.page()).orphaned

    async def test_the_holder_of_an_orphan_may_go_on_until_it_is_taken(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        await subject.append(claim, b"0")
        assert not (await subject.page()).orphaned
        assert await subject.take(only_orphaned=True) is None

    async def test_an_orphan_can_be_taken_and_is_held_then(
        self, subject: Subject, clock: Clock
    ) -> None:
        old = await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        new = await subject.take(only_orphaned=True)
        assert new == replace(old, epoch=2)
        assert not (await subject.page()).orphaned
        with pytest.raises(Fenced):
            await subject.append(old)

    async def test_a_take_holds_its_own_lease(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=LEASE)
        taken = await subject.store.take(subject.id, lease=self.unit)
        assert not taken.page.orphaned
        await clock.advance(1.5 * self.unit)
        assert (await subject.page()).orphaned

    async def test_of_a_crowd_one_takes_the_orphan(self, subject: Subject, clock: Clock) -> None:
        await subject.create(lease=self.unit)
        await clock.advance(1.5 * self.unit)
        claims = await _all_at_once([partial(subject.take, only_orphaned=True)] * CROWD)
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
        page = await subject.page()
        await clock.advance(1.5 * self.unit)
        await subject.wait(page)

    async def test_a_closed_record_lives_for_its_ttl(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(), b"end", ttl=2 * self.unit)
        await clock.advance(self.unit)
        page = await subject.page()
        assert (page.closed, page.orphaned) == (True, False)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()
        assert await subject.store.request(subject.id) is None

    async def test_a_closed_record_is_never_orphaned(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(lease=self.unit)
        await subject.append(claim, b"end", close=True, lease=self.unit)
        await clock.advance(1.5 * self.unit)
        assert not (await subject.page()).orphaned
        assert await subject.take(only_orphaned=True) is None

    async def test_a_repeated_closing_batch_does_not_lengthen_the_life(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create()
        await subject.close(claim, b"end", batch="b", ttl=2 * self.unit)
        await clock.advance(self.unit)
        await subject.close(claim, b"end", batch="b", ttl=2 * self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_log_is_gone_before_its_record(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(b"0")
        await subject.close(claim, b"end", ttl=4 * self.unit, stream_ttl=2 * self.unit)
        await clock.advance(self.unit)
        page = await subject.page(after=-1)
        assert (page.log_expired, page.events) == (False, (b"0", b"end"))
        await clock.advance(1.5 * self.unit)
        page = await subject.page(after=-1)
        assert (page.log_expired, page.events, page.tail) == (True, (), 2)

    async def test_the_snapshot_outlives_the_log(self, subject: Subject, clock: Clock) -> None:
        claim = await subject.create(b"0")
        await subject.close(claim, b"end", stream_ttl=self.unit)
        before = await subject.page()
        await clock.advance(1.5 * self.unit)
        assert await subject.page() == replace(before, log_expired=True)
        assert await subject.store.request(subject.id) == b"request"

    async def test_a_log_without_a_lifetime_lives_as_long_as_its_record(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=3 * self.unit)
        await clock.advance(2 * self.unit)
        assert not (await subject.page()).log_expired
        assert await subject.log() == (b"0", b"end")

    async def test_a_log_does_not_outlive_its_record(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(b"0"), ttl=self.unit, stream_ttl=9 * self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_closing_batch_can_be_repeated_when_the_log_is_gone(
        self, subject: Subject, clock: Clock
    ) -> None:
        claim = await subject.create(b"0")
        closed = await subject.close(claim, b"end", batch="b", stream_ttl=self.unit)
        await clock.advance(1.5 * self.unit)
        assert await subject.close(claim, b"end", batch="b", stream_ttl=self.unit) == closed
        assert (await subject.page(after=-1)).events == ()

    async def test_a_tombstone_does_not_last_for_ever(self, subject: Subject, clock: Clock) -> None:
        await subject.create()
        await subject.delete()
        await clock.advance(subject.store.tombstone_ttl + self.unit)
        with pytest.raises(Missing):
            await subject.append(Claim(subject.id, "first", 1, tail=0))
        assert (await subject.create(incarnation="second")).epoch == 1


class StoreConformance(
    _Properties,
    _Create,
    _Request,
    _Append,
    _Take,
    _Read,
    _Wait,
    _Delete,
    _Bytes,
    _Time,
):
    """Every promise of the contract. A subclass gives the fixtures ``store`` and ``clock``."""


async def _all_at_once(calls: Sequence[Callable[[], Awaitable[object]]]) -> list[object]:
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


async def _change(subject: Subject, claim: Claim, change: str) -> None:
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "append": partial(subject.append, claim, b"more"),
        "close": partial(subject.close, claim),
        "take": subject.take_over,
        "delete": subject.delete,
        "withdraw": partial(subject.delete, claim=claim),
    }
    await changes[change]()


async def _is_closed_and_whole(subject: Subject) -> bool:
    """Read once, check that the page is one state of the record, tell whether it is the last."""
    page = await subject.page()
    assert page.first == page.through + 1
    assert page.events == tuple(str(n).encode() for n in range(page.first, page.tail))
    if page.through > 0:
        assert page.snapshot == str(page.through).encode()
    return page.closed


async def _followed(subject: Subject) -> tuple[bytes, ...]:
    """The log of a response, read as a live reader does: a page, then wait for more."""
    seen: list[bytes] = []
    while True:
        page = await subject.page(after=len(seen) - 1, limit=7)
        assert page.first == len(seen)
        seen += page.events
        if page.closed and len(seen) == page.tail:
            return tuple(seen)
        await subject.wait(page, after=len(seen) - 1)
        await checkpoint()
