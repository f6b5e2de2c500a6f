"""Runs of deltas keep what differs and give back every event, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from response_cache._log.delta_runs import DeltaRun, Shape
from tests.log.runs import DELTA, event, run, shapes, texts


def events(shape: Shape, first: int, inner: list[bytes]) -> list[bytes]:
    return [event(shape, number, text) for number, text in enumerate(inner, first)]


@given(shapes, st.integers(0, 10**17), st.lists(texts, min_size=1, max_size=30))
def test_a_run_has_the_events_that_it_was_made_of_and_again_when_it_is_loaded(
    shape: Shape, first: int, inner: list[bytes]
) -> None:
    made = run(shape, first, inner)
    again = DeltaRun.load(made.dump())
    assert [*made] == [*again] == events(shape, first, inner)
    assert (again.shape, again.first, again.length) == (shape, first, len(inner))
    assert again.size == made.size


@given(shapes, st.integers(0, 10**4), st.lists(texts, min_size=1, max_size=200))
@example(DELTA, 5, [b""] * 2000)
def test_the_size_of_a_run_is_that_of_what_it_keeps(
    shape: Shape, first: int, inner: list[bytes]
) -> None:
    made = run(shape, first, inner)
    head, _, kept = made.dump().partition(b"\n")
    assert head
    assert made.size == len(kept) <= sum(map(len, made))


@given(shapes, st.lists(texts, min_size=2, max_size=30), st.data())
def test_a_run_that_is_cut_and_joined_is_the_same_run(
    shape: Shape, inner: list[bytes], data: st.DataObject
) -> None:
    made = run(shape, 7, inner)
    at = data.draw(st.integers(1, len(inner) - 1))
    head, rest = made.cut(at)
    assert [*head] == events(shape, 7, inner[:at])
    assert [*rest] == events(shape, 7 + at, inner[at:])
    before = head.size
    assert head.absorb(rest) == head.size - before > 0
    assert (head.dump(), head.size, head.length) == (made.dump(), made.size, made.length)


OTHER = DELTA._replace(after=b"!")


@pytest.mark.parametrize(
    ("shape", "first"),
    [(DELTA, 11), (DELTA, 13), (DELTA, 9), (OTHER, 12)],
    ids=["an overlap", "a gap", "before", "another shape"],
)
def test_a_run_that_does_not_go_on_is_left_alone(shape: Shape, first: int) -> None:
    made = run(DELTA, 10, [b"one", b"two"])
    size = made.size
    assert made.absorb(run(shape, first, [b"three"])) == 0
    assert [*made] == events(DELTA, 10, [b"one", b"two"])
    assert made.size == size


def test_the_events_of_a_run_are_given_as_often_as_they_are_asked_for() -> None:
    made = run(DELTA, 10, [b"one"])
    assert [*made] == [*made]
    made.absorb(run(DELTA, 11, [b"two"]))
    assert [*made] == events(DELTA, 10, [b"one", b"two"])


TEXT_FIRST = Shape(b"<t=", b" n=", b">", is_number_first=False)


@pytest.mark.parametrize("is_number_first", [True, False])
def test_percent_signs_stand_for_themselves(is_number_first: bool) -> None:
    shape = Shape(b"%d", b"%b", b"%%", is_number_first=is_number_first)
    made = b"%d8%b%b%%" if is_number_first else b"%d%b%b8%%"
    assert [*run(shape, 8, [b"%b"])] == [made]


def test_a_run_may_be_absorbed_that_has_absorbed_another() -> None:
    whole, second = run(DELTA, 8, [b"a"]), run(DELTA, 9, [b"b"])
    second.absorb(run(DELTA, 10, [b"", b"c"]))
    assert whole.absorb(second) == len(b"\nb\n\nc")
    apart = run(DELTA, 8, [b"a", b"b", b"", b"c"])
    assert [*whole] == [*apart]
    assert (whole.length, whole.size, whole.dump()) == (apart.length, apart.size, apart.dump())


def test_a_run_is_dumped_in_the_form_that_stores_have() -> None:
    number_first = Shape(b"<n=", b" t=", b">", is_number_first=True)
    assert run(number_first, 9, [b"x", b"", b"%b"]).dump() == b"9,1,3,3,1\n<n= t=>x\n\n%b"
    assert run(TEXT_FIRST, 0, [b"x"]).dump() == b"0,0,3,3,1\n<t= n=>x"
