"""The operations as SQL: how many statements each one takes, and what the tables hold after it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from response_cache._log.batches import pack
from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreError,
    StoreFull,
)
from response_cache.store import Append, Claim, Link, NewRecord
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._schema import MIGRATIONS
from tests.stores.sqlite.subject import LEASE, TTL, new_record

NOW = 1000.0
NEW = new_record("a", b"0", b"1")
HELD = Claim("a", "first", 1, 2)
MORE = Append(events=[b"2", b"3", b"4"], token="more", ttl=TTL)
END = Append(events=[b"end"], token="end", snapshot=b"end", close=True, ttl=TTL, stream_ttl=5.0)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty store in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in MIGRATIONS:
            for statement in step:
                connection.execute(statement)
        yield connection


@pytest.fixture
def records(connection: sqlite3.Connection) -> Records:
    return Records(connection, NOW)


At: TypeAlias = Callable[[float], Records]


@pytest.fixture
def at(connection: sqlite3.Connection) -> At:
    """The records at a time."""
    return lambda now: Records(connection, now)


def create(records: Records, new: NewRecord = NEW, lease: float = LEASE) -> Claim:
    return records.create(new, pack(new.events), lease)


def append(records: Records, claim: Claim, append: Append, lease: float = LEASE) -> Claim:
    return records.append(claim, append, pack(append.events), lease).claim


def value(records: Records, column: str, id: str = "a") -> Any:
    query = f"SELECT {column} FROM record WHERE id = ?"
    (found,) = records.connection.execute(query, (id,)).fetchone()
    return found


def counts(records: Records) -> tuple[int, ...]:
    """The rows of each table with parts of records."""
    tables = ("record", "snapshot", "request", "log")
    queries = [f"SELECT count(*) FROM {table}" for table in tables]
    return tuple(records.connection.execute(query).fetchone()[0] for query in queries)


# How many statements each operation takes.


def statements(records: Records, work: Callable[[], object]) -> int:
    seen: list[str] = []
    records.connection.set_trace_callback(seen.append)
    work()
    records.connection.set_trace_callback(None)
    return len([statement for statement in seen if not statement.startswith("--")])


def test_an_append_takes_three_statements_and_a_snapshot_one_more(records: Records) -> None:
    create(records)
    assert statements(records, lambda: append(records, HELD, MORE)) == 3
    more = replace(MORE, token="again", snapshot=b"s", notes=b"n", private=b"p", status="s")
    assert statements(records, lambda: append(records, replace(HELD, tail=5), more)) == 4


@pytest.mark.parametrize("lease", [LEASE, 0.0])
def test_a_heartbeat_takes_two_statements(records: Records, lease: float) -> None:
    create(records)
    heartbeat = Append(ttl=TTL)
    assert statements(records, lambda: append(records, HELD, heartbeat, lease)) == 2


def test_an_end_takes_four_statements_and_its_repeat_one(records: Records) -> None:
    create(records)
    assert statements(records, lambda: append(records, HELD, END)) == 4
    assert statements(records, lambda: append(records, HELD, END)) == 1


def test_a_take_takes_four_statements_and_one_more_for_events(records: Records) -> None:
    create(records)
    take = lambda: records.take("a", lease=LEASE, only_orphaned=False, raise_by=1)  # noqa: E731
    assert statements(records, take) == 4
    append(records, replace(HELD, epoch=2), MORE)
    assert statements(records, take) == 5


def test_a_poll_takes_two_statements_and_three_with_events(records: Records) -> None:
    create(records)
    assert statements(records, lambda: records.read("a", None, None)) == 2
    append(records, HELD, MORE)
    assert statements(records, lambda: records.read("a", None, None)) == 3


def test_a_chain_is_looked_at_in_one_statement(records: Records) -> None:
    links = [Link(f"resp_{n}", "first") for n in range(50)]
    for link in links:
        create(records, replace(NEW, id=link.id, events=[]))
        append(records, Claim(link.id, "first", 1, 0), replace(END, events=[]))
    assert statements(records, lambda: records.renew(links, 0.0)) == 1
    assert statements(records, lambda: records.renew(links, TTL)) == 1
    assert statements(records, lambda: records.renew(links, 2 * TTL)) == 1 + 50


# Creating.


def test_a_new_record_has_a_row_for_each_part(records: Records) -> None:
    assert create(records) == HELD
    assert counts(records) == (1, 1, 1, 1)
    assert (value(records, "owner"), value(records, "label")) == ("owner", "model")
    assert value(records, "private") == b"private"
    assert value(records, "log_expires") == math.inf


def test_a_record_without_events_has_no_row_in_the_log(records: Records) -> None:
    assert create(records, new_record("a")).tail == 0
    assert counts(records) == (1, 1, 1, 0)


def test_a_repeated_create_renews_and_changes_nothing_else(at: At) -> None:
    create(at(NOW))
    other = replace(NEW, header=b"x", private=b"x", owner="x", events=[b"x"])
    assert create(at(NOW + 5), other) == HELD
    assert value(at(NOW), "lease_ends") == NOW + 5 + LEASE
    assert value(at(NOW), "expires") == NOW + 5 + TTL
    assert (value(at(NOW), "header"), value(at(NOW), "private")) == (b"header", b"private")
    assert counts(at(NOW)) == (1, 1, 1, 1)


def test_a_create_at_a_higher_epoch_raises_the_stored_one(records: Records) -> None:
    create(records)
    assert create(records, replace(NEW, epoch=4)) == replace(HELD, epoch=4)
    with pytest.raises(Fenced):
        create(records, replace(NEW, epoch=3))


def test_a_repeated_create_leaves_a_closed_record_as_it_is(at: At) -> None:
    create(at(NOW))
    append(at(NOW), HELD, END)
    before = at(NOW).find("a")
    assert create(at(NOW + 5), replace(NEW, epoch=4)) == replace(HELD, tail=3)
    assert at(NOW).find("a") == before


def test_what_has_expired_is_replaced_with_all_its_parts(at: At) -> None:
    create(at(NOW))
    append(at(NOW), HELD, MORE)
    create(at(NOW + TTL), replace(NEW, incarnation="second"))
    assert counts(at(NOW)) == (1, 1, 1, 1)
    view = at(NOW + TTL).read("a", -1, None)
    assert view is not None
    assert (view.incarnation, view.events) == ("second", [b"0", b"1"])


# The private part.


def test_a_take_alone_gives_the_private_part(records: Records) -> None:
    create(records)
    append(records, HELD, replace(MORE, private=b"newer"))
    append(records, replace(HELD, tail=5), Append(ttl=TTL))
    taken = records.take("a", lease=LEASE, only_orphaned=False, raise_by=7)
    assert (taken.claim, taken.private) == (Claim("a", "first", 8, 5), b"newer")
    refused = records.take("a", lease=LEASE, only_orphaned=True, raise_by=1)
    assert (refused.claim, refused.private) == (None, b"")


@pytest.mark.parametrize("private", [None, b"last"])
def test_an_end_erases_the_private_part(records: Records, private: bytes | None) -> None:
    create(records)
    append(records, HELD, replace(END, private=private))
    assert value(records, "private") == b""
    append(records, HELD, replace(END, private=private))
    assert value(records, "private") == b""


# Ends of life.


def test_the_end_of_a_log_is_fixed_by_the_close_and_renewals_leave_it(at: At) -> None:
    create(at(NOW))
    append(at(NOW), HELD, END)
    assert (value(at(NOW), "expires"), value(at(NOW), "log_expires")) == (NOW + TTL, NOW + 5)
    assert at(NOW + 10).renew([Link("a", "first")], TTL) == [True]
    assert value(at(NOW), "expires") == NOW + 10 + 1.5 * TTL
    assert value(at(NOW), "log_expires") == NOW + 5
    view = at(NOW + TTL + 1).read("a", -1, None)
    assert view is not None
    assert (view.log_expired, view.events, view.tail) == (True, [], 3)


def test_a_renewed_record_is_written_again_only_when_half_a_ttl_has_passed(at: At) -> None:
    create(at(NOW))
    append(at(NOW), HELD, END)
    links = [Link("a", "first")]
    ends = []
    for passed in (0, 1, TTL / 2, TTL / 2 + 2):
        at(NOW + passed).renew(links, TTL)
        ends.append(value(at(NOW), "expires") - NOW)
    assert ends == [TTL, 1 + 1.5 * TTL, 1 + 1.5 * TTL, TTL / 2 + 2 + 1.5 * TTL]


def test_what_is_open_deleted_or_of_another_incarnation_is_not_renewed(records: Records) -> None:
    for id in ("open", "closed", "deleted"):
        create(records, replace(NEW, id=id))
        if id != "open":
            append(records, replace(HELD, id=id), END)
    records.delete("deleted", claim=None, tombstone_ttl=10.0)
    links = [Link(id, "first") for id in ("open", "closed", "deleted", "missing")]
    assert records.renew([*links, Link("closed", "second")], 2 * TTL) == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert value(records, "expires", "open") == NOW + TTL


def test_states_are_those_of_the_records_that_are_there(at: At) -> None:
    create(at(NOW), replace(NEW, id="b"))
    create(at(NOW + 1))
    states = at(NOW + TTL).states(["a", "b", "missing"])
    assert list(states) == ["a"]
    assert tuple(states["a"]) == ("first", 1, 2, False, NOW + 1 + TTL)


# Deleting.


def test_a_delete_leaves_nothing_but_a_tombstone(at: At) -> None:
    create(at(NOW))
    append(at(NOW), HELD, MORE)
    assert at(NOW).delete("a", claim=None, tombstone_ttl=10.0)
    assert counts(at(NOW)) == (0, 0, 0, 0)
    assert not at(NOW).delete("a", claim=None, tombstone_ttl=10.0)
    with pytest.raises(Deleted):
        create(at(NOW + 9))
    with pytest.raises(Deleted):
        append(at(NOW + 9), HELD, MORE)
    assert create(at(NOW + 10)) == HELD


def test_a_withdrawal_leaves_no_tombstone_and_needs_the_claim(records: Records) -> None:
    create(records)
    fenced = replace(HELD, epoch=2)
    assert not records.delete("a", claim=fenced, tombstone_ttl=10.0)
    assert counts(records) == (1, 1, 1, 1)
    assert records.delete("a", claim=replace(HELD, tail=9), tombstone_ttl=10.0)
    assert counts(records) == (0, 0, 0, 0)
    assert create(records) == HELD


# A full store.


@pytest.fixture
def full(connection: sqlite3.Connection) -> Records:
    """The records at a time when there is no room."""
    return Records(connection, NOW, is_full=True)


def test_a_full_store_refuses_new_records_and_more_events(records: Records, full: Records) -> None:
    create(records)
    with pytest.raises(StoreFull, match="cannot create b"):
        create(full, replace(NEW, id="b"))
    with pytest.raises(StoreFull, match="cannot append to a"):
        append(full, HELD, MORE)
    assert counts(records) == (1, 1, 1, 1)


def test_all_else_goes_in_a_full_store(records: Records, full: Records) -> None:
    create(records)
    append(records, HELD, MORE)
    assert create(full) == replace(HELD, tail=5)
    assert append(full, HELD, MORE) == replace(HELD, tail=5)  # repeated
    heartbeat = Append(ttl=TTL, notes=b"notes", private=b"private", snapshot=b"s", status="s")
    assert append(full, replace(HELD, tail=5), heartbeat).tail == 5
    claim = full.take("a", lease=LEASE, only_orphaned=False, raise_by=1).claim
    assert claim is not None
    assert append(full, claim, END).tail == 6
    assert full.renew([Link("a", "first")], 2 * TTL) == [True]
    assert full.delete("a", claim=None, tombstone_ttl=10.0)


@pytest.mark.parametrize(
    ("claim", "refusal"),
    [
        (replace(HELD, id="missing"), Missing),
        (replace(HELD, epoch=2), Fenced),
        (replace(HELD, tail=1), SequenceGap),
        (replace(HELD, id="closed", tail=3), Closed),
    ],
)
def test_other_refusals_come_before_that_of_a_full_store(
    records: Records, full: Records, claim: Claim, refusal: type[StoreError]
) -> None:
    create(records)
    create(records, replace(NEW, id="closed"))
    append(records, replace(HELD, id="closed"), END)
    with pytest.raises(refusal):
        append(full, claim, MORE)
    with pytest.raises(AlreadyExists):
        create(full, replace(NEW, incarnation="second"))


# Reading.


def test_a_part_of_a_log_begins_and_ends_inside_of_batches(records: Records) -> None:
    create(records)
    append(records, HELD, MORE)
    view = records.read("a", 0, 3)
    assert view is not None
    assert (view.first, view.events, view.snapshot) == (1, [b"1", b"2", b"3"], None)
    view = records.read("a", 9, None)
    assert view is not None
    assert (view.first, view.events, view.tail) == (10, [], 5)


def test_no_batch_beyond_the_limit_is_read(records: Records) -> None:
    create(records)
    append(records, HELD, MORE)
    records.connection.execute("UPDATE log SET events = x'78' WHERE last > 1")  # cannot be unpacked
    view = records.read("a", -1, 2)
    assert view is not None
    assert view.events == [b"0", b"1"]


def test_requests_of_what_is_gone_are_gone(at: At) -> None:
    create(at(NOW))
    assert at(NOW).request("a") == b"request"
    assert at(NOW + TTL).request("a") is None
    assert at(NOW).request("missing") is None
