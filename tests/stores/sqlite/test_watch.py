"""How the writer notices what other processes have committed, and when it does not even look."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from response_cache.stores.sqlite._file import DatabaseFile
from response_cache.stores.sqlite._rows import State
from response_cache.stores.sqlite._session import Session
from response_cache.stores.sqlite._watch import ChangePoll, Waiter, Waiters

TOUCH = "INSERT OR REPLACE INTO tombstone (id, expires) VALUES ('x', 1e12)"


@pytest.fixture
def file(tmp_path: Path) -> DatabaseFile:
    file = DatabaseFile(tmp_path / "responses.db", "NORMAL", busy_timeout=1.0, max_bytes=None)
    file.prepare()
    return file


@pytest.fixture
def session(file: DatabaseFile) -> Iterator[Session]:
    """The writer's."""
    session = Session(file, time.time, "BEGIN IMMEDIATE")
    yield session
    session.close()


def waiter() -> Waiter:
    return Waiter(after=0, epoch=1, incarnation="first", closed=False)


def commit_in_another_process(file: DatabaseFile) -> None:
    with closing(sqlite3.connect(file.path, isolation_level=None)) as connection:
        connection.execute(TOUCH)


def test_nobody_looks_while_nobody_waits() -> None:
    waiters = Waiters()
    poll = ChangePoll(waiters, 0.015)
    assert poll.seconds_until_due() is None
    with waiters.registered("a", waiter()):
        assert poll.seconds_until_due() is not None
    assert poll.seconds_until_due() is None


def test_the_next_look_is_an_interval_away(session: Session) -> None:
    waiters = Waiters()
    poll = ChangePoll(waiters, 1000.0)
    with waiters.registered("a", waiter()):
        poll.run(session)
        pause = poll.seconds_until_due()
    assert pause is not None
    assert 900 < pause <= 1000


def test_commits_of_others_are_noticed_and_our_own_are_not(
    session: Session, file: DatabaseFile
) -> None:
    poll = ChangePoll(Waiters(), 0.015)
    assert poll.run(session) is not None  # the first look knows nothing
    assert poll.run(session) is None
    with session.transaction() as records:
        records.connection.execute(TOUCH)
    assert poll.run(session) is None
    commit_in_another_process(file)
    assert poll.run(session) is not None
    assert poll.run(session) is None


def test_a_new_connection_looks_anew(session: Session) -> None:
    poll = ChangePoll(Waiters(), 0.015)
    poll.run(session)
    session.close()
    assert poll.run(session) is not None


def test_who_waits_for_what_is_gone_is_woken(session: Session) -> None:
    waiters, waiting = Waiters(), waiter()
    with waiters.registered("a", waiting):
        wake = ChangePoll(waiters, 0.015).run(session)
        assert wake is not None
        wake()
    assert waiting.woken.is_set()


@pytest.mark.parametrize(
    ("state", "is_news"),
    [
        (None, True),
        (State("first", 1, 0, closed=False, expires=1.0), False),
        (State("first", 1, 1, closed=False, expires=1.0), False),
        (State("first", 1, 2, closed=False, expires=1.0), True),
        (State("first", 2, 1, closed=False, expires=1.0), True),
        (State("second", 1, 1, closed=False, expires=1.0), True),
        (State("first", 1, 1, closed=True, expires=1.0), True),
    ],
)
def test_what_is_new_to_who_waits_for_a_second_event(state: State | None, is_news: bool) -> None:
    assert waiter().has_news(state) is is_news


def test_each_waiter_is_woken_by_the_event_that_it_waits_for() -> None:
    waiters = Waiters()
    early, late = Waiter(0, 1, "first", closed=False), Waiter(1, 1, "first", closed=False)
    with waiters.registered("a", early), waiters.registered("a", late):
        waiters.wake_readers("a", 2)
        assert (early.woken.is_set(), late.woken.is_set()) == (True, False)
        waiters.wake_readers("b", 3)
        assert not late.woken.is_set()
        waiters.wake_readers("a", 3)
        assert late.woken.is_set()
