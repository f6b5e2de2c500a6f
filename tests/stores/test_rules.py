"""What the memory store and the SQLite store decide alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from response_cache.errors import AlreadyExists, Closed, Deleted, Fenced, Missing, SequenceGap
from response_cache.store import Append, Claim, Link, NewRecord
from response_cache.stores import _rules as rules

NOW = 1000.0
HELD = Claim("a", "first", 3, tail=2)
APPEND = Append(events=[b"2"], token="new", ttl=10.0)


@dataclass(frozen=True)
class Kept:
    """A record as a store might keep it."""

    id: str = "a"
    incarnation: str = "first"
    epoch: int = 3
    tail: int = 2
    closed: bool = False
    token: str = "last"
    lease: float = 10.0
    lease_ends: float = NOW + 5
    expires: float = NOW + 100


KEPT = Kept()
CLOSED = Kept(closed=True)


def new(epoch: int = 3, incarnation: str = "first") -> NewRecord:
    return NewRecord(
        id="a",
        incarnation=incarnation,
        header=b"",
        request=b"",
        snapshot=b"",
        events=[],
        status="",
        ttl=10.0,
        epoch=epoch,
    )


@pytest.mark.parametrize(
    ("kept", "epoch", "after"),
    [(KEPT, 3, 3), (KEPT, 4, 4), (CLOSED, 3, 3), (CLOSED, 4, 3)],
    ids=["same", "raised", "closed", "closed is not raised"],
)
def test_a_repeated_create_may_raise_the_epoch(kept: Kept, epoch: int, after: int) -> None:
    assert rules.epoch_of_repeated(new(epoch), kept) == after


@pytest.mark.parametrize("kept", [KEPT, CLOSED], ids=["open", "closed"])
def test_a_create_of_another_incarnation_or_of_an_old_epoch_is_refused(kept: Kept) -> None:
    with pytest.raises(AlreadyExists):
        rules.epoch_of_repeated(new(2, "second"), kept)
    with pytest.raises(Fenced):
        rules.epoch_of_repeated(new(2), kept)


def test_an_append_that_is_the_next_one_is_no_repeat() -> None:
    assert not rules.is_repeated(HELD, APPEND, KEPT)
    assert not rules.is_repeated(HELD, Append(ttl=10.0), replace(KEPT, token=""))


@pytest.mark.parametrize("kept", [KEPT, CLOSED], ids=["open", "closed"])
def test_the_last_append_again_is_a_repeat_whatever_its_tail(kept: Kept) -> None:
    repeated = replace(APPEND, token="last")
    assert rules.is_repeated(replace(HELD, tail=1), repeated, kept)


def test_refusals_of_an_append_come_in_their_order() -> None:
    wrong = replace(HELD, tail=9)
    with pytest.raises(Fenced):
        rules.is_repeated(replace(wrong, epoch=2), replace(APPEND, token="last"), CLOSED)
    with pytest.raises(Fenced):
        rules.is_repeated(replace(wrong, incarnation="second"), APPEND, CLOSED)
    with pytest.raises(Closed):
        rules.is_repeated(wrong, APPEND, CLOSED)
    with pytest.raises(SequenceGap) as caught:
        rules.is_repeated(wrong, APPEND, KEPT)
    assert caught.value.tail == 2


def test_what_is_not_there_was_deleted_or_is_missing() -> None:
    assert isinstance(rules.absence("a", "take", is_deleted=True), Deleted)
    assert isinstance(rules.absence("a", "take", is_deleted=False), Missing)


def test_events_need_a_token_and_heartbeats_none() -> None:
    rules.require_token(Append(ttl=1.0))
    rules.require_token(APPEND)
    with pytest.raises(ValueError, match="token"):
        rules.require_token(replace(APPEND, token=""))


def test_only_events_before_the_end_need_room() -> None:
    assert rules.needs_room(APPEND)
    assert not rules.needs_room(Append(snapshot=b"long", notes=b"n", ttl=1.0))
    assert not rules.needs_room(replace(APPEND, close=True))


@pytest.mark.parametrize(
    ("lease", "lease_ends", "is_leased"),
    [
        (10.0, NOW + 5, True),
        (10.0, NOW, False),
        (10.0, NOW - 1, False),
        (10.0, NOW + 20, True),
        (10.0, NOW + 20.1, False),
        (0.0, NOW, False),
        (0.0, NOW + 3, False),
    ],
    ids=[
        "held",
        "at its end",
        "over",
        "twice",
        "older than the clock",
        "given back",
        "and set back",
    ],
)
def test_a_lease_holds_until_its_end_and_no_longer_than_it_could(
    lease: float, lease_ends: float, is_leased: bool
) -> None:
    kept = Kept(lease=lease, lease_ends=lease_ends)
    assert rules.is_leased(kept, NOW) is is_leased
    assert rules.is_orphaned(kept, NOW) is not is_leased
    assert not rules.is_orphaned(replace(kept, closed=True), NOW)


def test_an_orphan_can_be_taken_by_all_and_a_held_record_by_those_who_insist() -> None:
    orphan = Kept(lease_ends=NOW)
    for only_orphaned in (True, False):
        assert rules.may_take(orphan, NOW, only_orphaned=only_orphaned)
        assert rules.may_take(KEPT, NOW, only_orphaned=only_orphaned) is not only_orphaned
        assert not rules.may_take(CLOSED, NOW, only_orphaned=only_orphaned)


def test_a_claim_withdraws_its_own_open_record_alone() -> None:
    assert rules.may_withdraw("a", replace(HELD, tail=0), KEPT)
    assert not rules.may_withdraw("b", HELD, KEPT)
    assert not rules.may_withdraw("a", replace(HELD, epoch=4), KEPT)
    assert not rules.may_withdraw("a", HELD, CLOSED)
    assert not rules.may_withdraw("a", HELD, None)


def test_a_link_is_a_closed_record_of_its_incarnation() -> None:
    assert rules.is_linked(Link("a", "first"), CLOSED)
    assert not rules.is_linked(Link("a", "second"), CLOSED)
    assert not rules.is_linked(Link("a", "first"), KEPT)


@pytest.mark.parametrize(
    ("lease", "ttl", "expires", "end"),
    [(1, 10, 0, 1010), (10, 10, 0, 1040), (0, 10, 0, 1010), (0, 10, 1030, 1030)],
    ids=["ttl", "four leases", "given back", "never earlier"],
)
def test_the_end_of_an_open_record(lease: float, ttl: float, expires: float, end: float) -> None:
    assert rules.end_of_open(NOW, lease=lease, ttl=ttl, expires=expires) == end


@pytest.mark.parametrize(("stream_ttl", "end"), [(None, 1010), (5, 1005), (50, 1010)])
def test_the_end_of_a_log(stream_ttl: float | None, end: float) -> None:
    assert rules.end_of_log(NOW, ttl=10, stream_ttl=stream_ttl) == end


@pytest.mark.parametrize(
    ("ttl", "expires", "end"),
    [(10, 1009, 1015), (10, 1010, 1010), (10, 1020, 1020), (0, 1001, 1001)],
)
def test_the_end_of_a_renewed_record(ttl: float, expires: float, end: float) -> None:
    assert rules.end_of_renewed(NOW, ttl=ttl, expires=expires) == end


def test_news_is_what_a_waiting_process_does_not_know() -> None:
    known = {"after": 1, "epoch": 3, "incarnation": "first", "closed": False}
    assert not rules.has_news(KEPT, **known)  # type: ignore[arg-type]  # values of four types
    for change in ({"after": 0}, {"epoch": 2}, {"incarnation": "second"}, {"closed": True}):
        assert rules.has_news(KEPT, **known | change)  # type: ignore[arg-type]
