"""The tables of a SQLite store: what they hold, and that no query reads a table from end to end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from response_cache.stores.sqlite import _records as records
from response_cache.stores.sqlite import _sweep as sweep
from response_cache.stores.sqlite._rows import Row
from response_cache.stores.sqlite._schema import APPLICATION_ID, FORMAT, MIGRATIONS
from tests.stores.sqlite.subject import LEASE, TTL, new_record

ROW = Row.of(1, new_record("a")).renewed(1000.0, lease=LEASE, ttl=TTL)
NEW = (*ROW, "owner", "label", b"private")
CHANGED = (*ROW[records.FIRST_CHANGING :], None, ROW.key)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A database in memory with the tables of the present format."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for step in MIGRATIONS:
            for statement in step:
                connection.execute(statement)
        yield connection


def columns(connection: sqlite3.Connection, table: str) -> dict[str, bool]:
    """The columns of *table*, and whether each one always has a value."""
    rows = connection.execute(f"PRAGMA table_info({table})")
    return {name: bool(not_null or is_key) for _, name, _, not_null, _, is_key in rows}


def test_the_format_is_the_number_of_steps_to_it() -> None:
    assert len(MIGRATIONS) == FORMAT
    assert APPLICATION_ID.to_bytes(4, "big") == b"rspc"


def test_a_row_has_the_first_columns_in_their_order(connection: sqlite3.Connection) -> None:
    names = tuple(columns(connection, "record"))
    assert names[: len(Row._fields)] == Row._fields
    assert names[len(Row._fields) :] == ("owner", "label", "private")


@pytest.mark.parametrize("table", ["record", "snapshot", "request", "log", "tombstone"])
def test_no_value_is_ever_missing(connection: sqlite3.Connection, table: str) -> None:
    found = columns(connection, table)
    assert found
    assert all(found.values()), found


def test_an_id_has_one_record(connection: sqlite3.Connection) -> None:
    connection.execute(records.INSERT, NEW)
    with pytest.raises(sqlite3.IntegrityError, match=r"record\.id"):
        connection.execute(records.INSERT, (2, *NEW[1:]))


def test_an_end_that_is_never_reached_can_be_stored(connection: sqlite3.Connection) -> None:
    connection.execute(records.INSERT, NEW)
    found = connection.execute(records.FIND, ("a", 0.5)).fetchone()
    assert Row(*found) == ROW


def plan(connection: sqlite3.Connection, statement: str, bindings: Any) -> list[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
    return [detail for *_, detail in rows]


@pytest.mark.parametrize(
    ("statement", "bindings", "index"),
    [
        (records.FIND, ("a", 1.0), "sqlite_autoindex_record_1"),
        (records.STATES, ('["a"]', 1.0), "sqlite_autoindex_record_1"),
        (records.PUT_OFF, (1.0, "a"), "sqlite_autoindex_record_1"),
        (records.REQUEST, ("a", 1.0), "sqlite_autoindex_record_1"),
        (records.UPDATE, CHANGED, "INTEGER PRIMARY KEY"),
        (records.PRIVATE, (1,), "INTEGER PRIMARY KEY"),
        (records.SNAPSHOT, (1,), "INTEGER PRIMARY KEY"),
        (records.BATCHES, (1, 0), "sqlite_autoindex_log_1"),
        (records.TOMBSTONE, ("a", 1.0), "PRIMARY KEY"),
        (sweep.EXPIRED_CLOSED, (1.0, 50), "record_closed"),
        (sweep.EXPIRED_OPEN, (1.0, 50), "record_open"),
        (sweep.EXPIRED_LOGS, (1.0, 50), "record_log"),
        (sweep.DELETE_TOMBSTONES, (1.0, 50), "tombstone_expires"),
    ],
)
def test_each_query_goes_by_a_key_or_an_index(
    connection: sqlite3.Connection, statement: str, bindings: Any, index: str
) -> None:
    steps = plan(connection, statement, bindings)
    assert any(index in step for step in steps), steps
    read_whole = [step for step in steps if step.startswith("SCAN") and index not in step]
    assert all("json_each" in step for step in read_whole), steps
