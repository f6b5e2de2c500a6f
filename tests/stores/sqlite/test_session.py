"""The connection of one thread: what a transaction keeps, and what becomes of it after an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from response_cache.errors import StoreFull, StoreUnavailable
from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._records import Records
from response_cache.stores.sqlite._session import Session
from tests.stores.sqlite.subject import new_record

NOW = 1000.0


@pytest.fixture
def file(tmp_path: Path) -> DatabaseFile:
    file = DatabaseFile(tmp_path / "responses.db", "NORMAL", busy_timeout=0.02, max_bytes=None)
    file.prepare()
    return file


def session_on(file: DatabaseFile) -> Session:
    return Session(file, lambda: NOW, "BEGIN IMMEDIATE")


@pytest.fixture
def session(file: DatabaseFile) -> Iterator[Session]:
    session = session_on(file)
    yield session
    session.close()


@pytest.fixture
def other(file: DatabaseFile) -> Iterator[Session]:
    """That of another process."""
    session = session_on(file)
    yield session
    session.close()


def bury(records: Records, id: str) -> None:
    records.connection.execute("INSERT INTO tombstone (id, expires) VALUES (?, ?)", (id, NOW + 1))


def buried(session: Session) -> list[str]:
    with session.transaction("BEGIN") as records:
        return [id for (id,) in records.connection.execute("SELECT id FROM tombstone ORDER BY id")]


def test_a_transaction_has_one_time_and_is_kept_at_its_end(
    session: Session, other: Session
) -> None:
    with session.transaction() as records:
        assert records.now == NOW
        bury(records, "a")
        assert buried(other) == []
    assert buried(other) == ["a"]


def test_an_error_undoes_all_of_a_transaction(session: Session) -> None:
    def write_half() -> None:
        with session.transaction() as records:
            bury(records, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert buried(session) == []


def test_an_error_of_the_file_is_told_in_the_words_of_a_store(session: Session) -> None:
    with pytest.raises(StoreUnavailable, match="no such table"), session.transaction() as records:
        records.connection.execute("SELECT * FROM nonsense")
    assert buried(session) == []


def test_two_may_not_write_at_once_but_one_may_read(session: Session, other: Session) -> None:
    with session.transaction():
        with pytest.raises(StoreUnavailable, match="locked"), other.transaction():
            pass
        assert buried(other) == []


def test_a_full_store_may_grow_in_one_transaction_alone(file: DatabaseFile) -> None:
    session = session_on(replace(file, max_bytes=2**20))
    with session.transaction(is_full=True) as records:
        bury(records, "x" * 2**21)
        with pytest.raises(StoreFull):
            records.create(new_record("a"), b"", lease=1.0)
    with pytest.raises(StoreFull, match="there is no room left"), session.transaction() as records:
        bury(records, "y" * 2**16)
    session.close()


def test_an_error_leaves_no_file_without_its_bound(file: DatabaseFile) -> None:
    session = session_on(replace(file, max_bytes=2**20))
    with pytest.raises(StoreUnavailable), session.transaction(is_full=True) as records:
        records.connection.execute("SELECT * FROM nonsense")
    with pytest.raises(StoreFull), session.transaction() as records:
        bury(records, "x" * 2**21)
    session.close()


def test_commits_through_other_connections_change_the_version(
    session: Session, other: Session
) -> None:
    version = session.data_version()
    with session.transaction() as records:
        bury(records, "mine")
    assert session.data_version() == version
    with other.transaction() as records:
        bury(records, "theirs")
    assert session.data_version() != version


def test_a_new_connection_has_a_version_of_its_own(session: Session) -> None:
    version = session.data_version()
    session.close()
    assert session.data_version() != version


def test_a_closed_session_opens_a_connection_when_it_is_used(session: Session) -> None:
    session.close()
    session.close()
    assert buried(session) == []


def test_free_pages_are_given_back(session: Session, file: DatabaseFile) -> None:
    with session.transaction() as records:
        bury(records, "a" * 2**20)
    with session.transaction() as records:
        records.connection.execute("DELETE FROM tombstone")
    before = free_pages(session)
    session.shrink(100)
    assert free_pages(session) == before - 100
    session.shrink(1000)
    assert free_pages(session) == 0


def free_pages(session: Session) -> int:
    with session.transaction("BEGIN") as records:
        (count,) = records.connection.execute("PRAGMA freelist_count").fetchone()
    return int(count)


def test_a_fork_closes_the_connection_and_the_next_use_opens_one(session: Session) -> None:
    version = session.data_version()
    session._guard.before_fork()
    assert session._connection is None
    session._guard.after_fork()
    assert session.data_version() != version


def test_a_file_that_is_gone_is_unavailable(session: Session, file: DatabaseFile) -> None:
    session.close()
    file.path.unlink()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        session.data_version()
