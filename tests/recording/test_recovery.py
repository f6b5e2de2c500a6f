"""What is sent to a store that does not have all that the writer wrote."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._log.batches import pack
from response_cache._protocol.lifecycle import Status
from response_cache._recording.recovery import NoPlan, ResendBuffer, Write, back_off, plan
from response_cache.store import Append

LOG = [b"%d" % number for number in range(6)]
BATCHES = st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=8)


@settings(deadline=None)
@given(BATCHES, st.integers(0, 45))
def test_since_gives_back_the_end_of_what_was_added(batches: list[list[bytes]], at: int) -> None:
    buffer, log = _filled(batches, limit=1 << 20)
    assert buffer.is_complete
    assert buffer.since(at) == log[at:]


@settings(deadline=None)
@given(BATCHES, st.integers(0, 300))
def test_the_bound_holds_and_what_does_not_fit_is_not_half_kept(
    batches: list[list[bytes]], limit: int
) -> None:
    buffer, log = _filled(batches, limit=limit)
    if buffer.is_complete:
        assert sum(len(pack(batch)) for batch in batches if batch) <= limit
        assert buffer.since(0) == log
    else:
        assert buffer.since(0) == []


def test_a_limit_of_zero_keeps_nothing() -> None:
    buffer = ResendBuffer(0)
    buffer.add(0, [b"x"])
    assert not buffer.is_complete


def _filled(
    batches: Sequence[Sequence[bytes]], *, limit: int = 1 << 20
) -> tuple[ResendBuffer, list[bytes]]:
    buffer, log = ResendBuffer(limit), list[bytes]()
    for batch in batches:
        buffer.add(len(log), batch)
        log += batch
    return buffer, log


def _write(first: int, end: int, *, close: bool = False) -> Write:
    events = tuple(LOG[first:end])
    status = "completed" if close else "in_progress"
    return Write(
        first, Append(events=events, token="old", status=status, close=close, ttl=10.0, notes=b"{}")
    )


def _plan(tail: int, goal: Write, limit: int = 1 << 20) -> list[Write] | NoPlan:
    kept, _ = _filled([LOG[: goal.first]], limit=limit)
    return plan(tail, goal, kept, token="new", ttl=7.0)


@pytest.mark.parametrize("close", [False, True])
def test_a_store_that_has_all_before_a_write_gets_the_same_write(*, close: bool) -> None:
    goal = _write(3, 5, close=close)
    assert _plan(3, goal) == [goal]
    assert _plan(3, goal, limit=0) == [goal]


def test_a_store_that_has_a_part_of_a_write_gets_the_rest_under_a_new_token() -> None:
    (rest,) = _writes(_plan(4, _write(3, 6, close=True)))
    assert (rest.first, rest.append.events) == (4, (b"4", b"5"))
    assert rest.append.token == "new"
    assert (rest.append.status, rest.append.close, rest.append.notes) == ("completed", True, b"{}")


def test_a_store_that_has_all_of_a_write_gets_what_else_it_brings() -> None:
    (rest,) = _writes(_plan(5, _write(3, 5)))
    assert (rest.first, rest.append.events, rest.append.notes) == (5, (), b"{}")


def test_a_store_that_lost_a_part_gets_it_again_as_of_a_response_in_progress() -> None:
    goal = _write(3, 5, close=True)
    again, last = _writes(_plan(1, goal))
    assert (again.first, again.append.events) == (1, (b"1", b"2"))
    assert again.append == Append(
        events=(b"1", b"2"), token="new", status=Status.IN_PROGRESS, ttl=7.0
    )
    assert last == goal


def test_a_store_that_lost_more_than_is_kept_has_a_hole() -> None:
    assert _plan(1, _write(3, 5), limit=0) is NoPlan.HOLE


@pytest.mark.parametrize(
    ("tail", "close", "is_ours"),
    [(5, False, True), (6, False, False), (4, True, True), (5, True, False), (6, True, False)],
)
def test_a_log_that_is_longer_than_ours_is_another_processes(
    tail: int, *, close: bool, is_ours: bool
) -> None:
    assert (_plan(tail, _write(3, 5, close=close)) is not NoPlan.OVERTAKEN) is is_ours


@settings(deadline=None)
@given(st.data())
def test_after_the_plan_the_log_is_whole(data: st.DataObject) -> None:
    """Whatever a store kept, and whatever else than the part before the goal is kept here."""
    first = data.draw(st.integers(0, len(LOG) - 1))
    close = data.draw(st.booleans())  # by the terminal event, so there is one
    goal = _write(first, data.draw(st.integers(first + close, len(LOG))), close=close)
    kept, _ = _filled([LOG[:first], LOG[first : data.draw(st.sampled_from([first, goal.end]))]])
    tail = data.draw(st.integers(0, goal.end - close))
    stored = LOG[:tail]
    writes = _writes(plan(tail, goal, kept, token="new", ttl=7.0))
    for write in writes:
        assert write.first == len(stored)
        stored += write.append.events
        assert write.append.close is (close and write is writes[-1])
    assert stored == LOG[: goal.end]
    assert len({write.append.token for write in writes}) == len(writes)
    assert all(write.append.events or write.append.status for write in writes)


def test_a_write_and_the_end_are_one() -> None:
    end = _write(3, 5, close=True).append
    assert _write(1, 3).ended_by(end) == _write(1, 5, close=True)


def test_a_heartbeat_is_a_sign_of_life_and_a_change_of_status_is_more() -> None:
    assert Write(3, Append(ttl=1.0)).is_sign_of_life
    assert not Write(3, Append(ttl=1.0, status="in_progress")).is_sign_of_life
    assert Write(3, Append(ttl=1.0)).end == 3


def test_pauses_between_attempts_grow_to_half_a_second() -> None:
    pauses = [back_off(failures) for failures in range(1, 100)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.04, 0.5)


def _writes(planned: list[Write] | NoPlan) -> list[Write]:
    assert not isinstance(planned, NoPlan)
    return planned
