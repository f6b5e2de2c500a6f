"""The file of a SQLite store: how it is created, checked and connected to."""

from __future__ import annotations

import logging
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from response_cache.errors import StoreUnavailable
from response_cache.stores.sqlite._file import DatabaseFile, Synchronous
from response_cache.stores.sqlite._schema import APPLICATION_ID, FORMAT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my responses.db"


def file_at(
    path: Path, *, synchronous: Synchronous = "NORMAL", max_bytes: int | None = None
) -> DatabaseFile:
    return DatabaseFile(path, synchronous, busy_timeout=1.0, max_bytes=max_bytes)


def pragma(connection: sqlite3.Connection, name: str) -> object:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def test_a_new_file_is_a_store_of_this_format_for_its_owner_alone(path: Path) -> None:
    file_at(path).prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert pragma(connection, "application_id") == APPLICATION_ID
        assert pragma(connection, "user_version") == FORMAT
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "auto_vacuum") == 2  # incremental


def test_preparing_again_keeps_what_is_stored(path: Path) -> None:
    file_at(path).prepare()
    with closing(file_at(path).connect()) as connection:
        connection.execute("INSERT INTO tombstone (id, expires) VALUES ('a', 1)")
    file_at(path).prepare()
    with closing(file_at(path).connect()) as connection:
        assert connection.execute("SELECT id FROM tombstone").fetchall() == [("a",)]


def test_a_connection_is_to_a_file_that_exists(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        file_at(path).connect()
    assert not path.exists()


@pytest.mark.parametrize(("synchronous", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_each_commit_waits_for_the_disk_if_that_is_wanted(
    path: Path, synchronous: Synchronous, level: int
) -> None:
    file = file_at(path, synchronous=synchronous)
    file.prepare()
    with closing(file.connect()) as connection:
        assert pragma(connection, "synchronous") == level


def test_what_is_erased_is_overwritten_whatever_this_build_of_sqlite_does_by_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*arguments, **options)
        connection.execute("PRAGMA secure_delete = OFF")  # as most builds begin
        return connection

    _connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    file_at(path).prepare()
    with closing(file_at(path).connect()) as connection:
        assert pragma(connection, "secure_delete") == 1


def test_transactions_are_begun_by_hand(path: Path) -> None:
    file = file_at(path)
    file.prepare()
    with closing(file.connect()) as connection:
        connection.execute("INSERT INTO tombstone (id, expires) VALUES ('a', 1)")
        assert not connection.in_transaction


def test_a_bound_in_bytes_is_one_in_pages(path: Path) -> None:
    file = file_at(path, max_bytes=2**20 + 1)
    file.prepare()
    with closing(file.connect()) as connection:
        assert pragma(connection, "max_page_count") == 2**20 // 4096


def test_the_bound_can_be_lifted_and_set_again(path: Path) -> None:
    file = file_at(path, max_bytes=2**20)
    file.prepare()
    with closing(file.connect()) as connection:
        file.lift_bound(connection)
        connection.execute("INSERT INTO tombstone (id, expires) VALUES (?, 1)", ("x" * 2**21,))
        file.set_bound(connection)
        bound = pragma(connection, "max_page_count")
        assert bound == pragma(connection, "page_count")  # it may not grow any more
        connection.execute("DELETE FROM tombstone")
        connection.executescript("PRAGMA incremental_vacuum")
        file.set_bound(connection)
        assert pragma(connection, "max_page_count") == 2**20 // 4096


def test_without_a_bound_there_is_nothing_to_lift_or_to_set(path: Path) -> None:
    file = file_at(path)
    file.prepare()
    with closing(file.connect()) as connection:
        before = pragma(connection, "max_page_count")
        file.lift_bound(connection)
        file.set_bound(connection)
        assert pragma(connection, "max_page_count") == before


@pytest.mark.parametrize(("mode", "is_told"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_can_read_is_warned_of_once(
    path: Path, mode: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    file_at(path).prepare()
    path.chmod(mode)
    file_at(path).prepare()
    file_at(path).prepare()
    said = [record for record in caplog.records if "users other than its owner" in record.message]
    assert len(said) == is_told


def test_the_database_of_something_else_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="the database of something else"):
        file_at(path).prepare()
    assert path.read_bytes() == before
