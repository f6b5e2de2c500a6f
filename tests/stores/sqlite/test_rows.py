"""Rows of the table ``record`` as values."""

from __future__ import annotations

import math

import pytest

from response_cache.store import Append, Claim
from response_cache.stores.sqlite._rows import Row
from tests.stores.sqlite.subject import TTL, new_record

NOW = 1000.0
NEW = Row.of(7, new_record("a", b"0", b"1", epoch=3))
OPEN = NEW.renewed(NOW, lease=10.0, ttl=TTL)


def test_a_new_row_counts_its_events_and_is_held_by_nobody_yet() -> None:
    assert (NEW.key, NEW.id, NEW.incarnation, NEW.epoch) == (7, "a", "first", 3)
    assert (NEW.tail, NEW.through, NEW.token, NEW.notes) == (2, 1, "", b"")
    assert (NEW.closed, NEW.lease_ends, NEW.expires) == (False, 0.0, -math.inf)


def test_a_row_without_events_begins_before_the_first_number() -> None:
    row = Row.of(7, new_record("a"))
    assert (row.tail, row.through) == (0, -1)


def test_the_claim_is_that_of_the_holder() -> None:
    assert NEW.claim() == Claim("a", "first", 3, 2)


def test_a_renewal_gives_a_lease_and_puts_off_the_end() -> None:
    assert (OPEN.lease, OPEN.lease_ends, OPEN.ttl) == (10.0, NOW + 10, TTL)
    assert (OPEN.expires, OPEN.log_expires) == (NOW + TTL, math.inf)


def test_a_renewal_never_brings_the_end_nearer() -> None:
    row = OPEN.renewed(NOW + 1, lease=0.0, ttl=5.0)
    assert (row.lease, row.lease_ends, row.ttl) == (0.0, NOW + 1, 5.0)
    assert row.expires == OPEN.expires


@pytest.mark.parametrize(("stream_ttl", "log_lives"), [(None, TTL), (5.0, 5.0), (TTL + 1, TTL)])
def test_the_end_of_an_ended_row_is_what_its_last_append_says(
    stream_ttl: float | None, log_lives: float
) -> None:
    row = OPEN.renewed(NOW, lease=10 * TTL, ttl=TTL).ended(NOW, ttl=TTL, stream_ttl=stream_ttl)
    assert row.closed
    assert (row.expires, row.log_expires) == (NOW + TTL, NOW + log_lives)


def test_an_append_that_brings_all_changes_all_that_is_in_the_row() -> None:
    append = Append(
        events=[b"2", b"3"],
        token="t",
        snapshot=b"through 3",
        status="in_progress",
        notes=b"notes",
        ttl=TTL,
    )
    row = OPEN.appended(append)
    assert (row.tail, row.through, row.token) == (4, 3, "t")
    assert (row.status, row.notes) == ("in_progress", b"notes")


def test_a_heartbeat_changes_nothing_but_times() -> None:
    assert OPEN.appended(Append(token="t", ttl=TTL)) == OPEN


def test_a_snapshot_without_events_is_through_the_last_event_there_is() -> None:
    row = OPEN.appended(Append(events=[b"2"], token="t", ttl=TTL))
    assert row.through == 1
    assert row.appended(Append(snapshot=b"", ttl=TTL)).through == 2


def test_notes_and_a_status_may_become_empty() -> None:
    row = OPEN.appended(Append(status="", notes=b"notes", ttl=TTL))
    assert (row.status, row.appended(Append(notes=b"", ttl=TTL)).notes) == ("", b"")
