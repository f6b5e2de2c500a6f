"""The token bucket that paces batches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._recording.flush_schedule import FlushSchedule


def test_an_interval_of_zero_never_delays() -> None:
    schedule = FlushSchedule(0.0, longest=0.2, burst=1)
    for _ in range(5):
        assert schedule.due <= 1.0
        schedule.batch_sent(1.0, took=9.0)


def test_a_burst_goes_at_once_and_then_one_batch_an_interval() -> None:
    schedule = FlushSchedule(0.05, longest=0.2, burst=3)
    now, sent = 100.0, []
    for _ in range(6):
        now = max(now, schedule.due)
        schedule.batch_sent(now, took=0.0)
        sent.append(now)
    assert sent == pytest.approx([100.0, 100.0, 100.0, 100.05, 100.10, 100.15])


def test_a_pause_fills_the_bucket_but_not_beyond_the_burst() -> None:
    schedule = FlushSchedule(0.05, longest=0.2, burst=2)
    for _ in range(2):
        schedule.batch_sent(10.0, took=0.0)
    assert schedule.due == pytest.approx(10.05)
    for _ in range(2):
        assert schedule.due <= 500.0
        schedule.batch_sent(500.0, took=0.0)
    assert schedule.due > 500.0


def test_batches_that_nobody_waits_for_go_at_the_longest_interval() -> None:
    schedule = FlushSchedule(0.05, longest=0.2, burst=1)
    schedule.batch_sent(100.0, took=0.0, is_watched=False)
    assert schedule.due == pytest.approx(100.2)
    schedule.batch_sent(100.2, took=0.0, is_watched=True)
    assert schedule.due == pytest.approx(100.25)


def test_the_first_batches_go_at_once_only_when_somebody_is_about_to_wait_for_them() -> None:
    for is_eager, due in ((True, 100.0), (False, 100.2)):
        schedule = FlushSchedule(0.05, longest=0.2, burst=3, is_eager=is_eager)
        assert schedule.due <= 100.0
        schedule.batch_sent(100.0, took=0.0, is_watched=False)
        assert schedule.due == pytest.approx(due)


def test_who_went_early_waits_as_much_longer() -> None:
    schedule = FlushSchedule(0.08, longest=0.08, burst=1)
    schedule.batch_sent(0.0, took=0.0)
    assert (schedule.due, schedule.earliest) == pytest.approx((0.08, 0.06))
    schedule.batch_sent(0.06, took=0.0)
    assert schedule.due == pytest.approx(0.16)


def test_batches_of_many_come_due_together() -> None:
    dues = set()
    for number in range(20):
        schedule = FlushSchedule(0.05, longest=0.2, burst=1)
        schedule.batch_sent(7.0 + number / 1000, took=0.0, is_watched=False)
        dues.add(round(schedule.due, 6))
    assert dues == {7.2, 7.25}


def test_a_slow_store_stretches_the_interval_up_to_the_longest() -> None:
    schedule = FlushSchedule(0.05, longest=0.2, burst=1)
    schedule.batch_sent(10.0, took=0.03)
    assert schedule.due == pytest.approx(10.14)  # the next slot after 10.12
    schedule.batch_sent(20.0, took=3.0)
    assert schedule.due == pytest.approx(20.2)


def test_a_store_that_is_fast_again_gets_its_batches_again() -> None:
    schedule = FlushSchedule(0.05, longest=0.2, burst=1)
    schedule.batch_sent(10.0, took=3.0)
    schedule.batch_sent(20.0, took=0.001)
    assert schedule.due == pytest.approx(20.05)


def test_an_interval_above_the_longest_is_kept() -> None:
    schedule = FlushSchedule(1.0, longest=0.2, burst=1)
    schedule.batch_sent(10.0, took=0.0)
    assert schedule.due == pytest.approx(11.0)


@settings(deadline=None)
@given(
    st.floats(0.001, 1.0),
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=30),
)
def test_never_more_than_the_burst_and_one_batch_an_interval(
    interval: float, burst: int, gaps: list[tuple[float, float]]
) -> None:
    schedule = FlushSchedule(interval, longest=interval, burst=burst)
    now, sent = 0.0, []
    for gap, took in gaps:
        now += gap
        now = max(now, schedule.due)
        sent.append(now)
        schedule.batch_sent(now, took)
    for first, begin in enumerate(sent):
        for last in range(first, len(sent)):
            allowed = burst + (sent[last] - begin) / interval
            assert last - first + 1 <= allowed + 1e-6 * (1 + allowed)
