"""The states of one run: the table, and what waits for a state."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._recording.run_state import (
    DECIDED,
    FINISHED,
    OVER,
    TRANSITIONS,
    Move,
    RunState,
    State,
    next_state,
)
from response_cache.errors import InvalidTransition
from response_cache.testing._virtual_time import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_each_move_is_in_the_table_or_raises(state: State, move: Move) -> None:
    run = RunState()
    run.current = state
    target = TRANSITIONS[state].get(move)
    if target is None:
        with pytest.raises(InvalidTransition):
            run.move(move)
        assert run.current is state
    else:
        assert next_state(state, move) is target
        assert run.move(move) is (target is not state)
        assert run.current is target


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)


def test_nothing_leads_back_and_nothing_leaves_the_last_state() -> None:
    order = list(State)
    for state, row in TRANSITIONS.items():
        for target in row.values():
            assert order.index(target) >= order.index(state)
    assert set(TRANSITIONS[State.DONE].values()) == {State.DONE}


def test_an_admitted_run_is_never_refused_and_a_refused_one_never_admitted() -> None:
    assert TRANSITIONS[State.ADMITTED][Move.REFUSE] is State.ADMITTED
    assert TRANSITIONS[State.REFUSED][Move.ADMIT] is State.REFUSED


def test_every_state_can_end_and_finishes_only_after_its_end() -> None:
    for state, row in TRANSITIONS.items():
        assert (Move.END in row) is (state is not State.DONE)
        assert (Move.FINISH in row) is (state is State.ENDED)


@given(moves=st.lists(st.sampled_from(Move), max_size=12))
def test_any_course_of_moves_keeps_the_first_decision(moves: list[Move]) -> None:
    run, states = RunState(), [State.WAITING]
    for move in moves:
        if move in TRANSITIONS[run.current]:
            run.move(move)
        states.append(run.current)
    assert states == sorted(states, key=list(State).index)
    assert not {State.ADMITTED, State.REFUSED} <= set(states)
    assert (State.DONE in states) <= (State.ENDED in states)


def test_the_sets_are_of_the_states_that_they_name() -> None:
    assert {State.WAITING, State.CALLED} == set(State) - DECIDED
    assert OVER < DECIDED
    assert FINISHED < OVER


async def test_a_wait_for_a_state_ends_when_the_state_is_reached() -> None:
    run, reached = RunState(), list[str]()

    async def wait(name: str, states: frozenset[State]) -> None:
        await run.until(states)
        reached.append(name)

    async with anyio.create_task_group() as tasks:
        for name, states in (("over", OVER), ("decided", DECIDED), ("done", FINISHED)):
            tasks.start_soon(wait, name, states)
        await anyio.sleep(1)
        for move, so_far in (
            (Move.CALL, []),
            (Move.ADMIT, ["decided"]),
            (Move.REFUSE, ["decided"]),
            (Move.END, ["decided", "over"]),
            (Move.FINISH, ["decided", "over", "done"]),
        ):
            run.move(move)
            await anyio.sleep(1)
            assert reached == so_far


async def test_a_state_that_is_reached_already_is_not_waited_for() -> None:
    run = RunState()
    run.move(Move.ADMIT)
    with anyio.fail_after(1):
        await run.until(DECIDED)
