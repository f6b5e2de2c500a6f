"""The states of one run, as one table: every move of a job stands in ``TRANSITIONS``.

A *run* is all that one process does for one response, from the record to the end of the upstream.
What the client was told decides its course:

    waiting ── call ──> called ── admit ──> admitted ── end ──> ended ── finish ──> done
       │                   └───── refuse ─> refused ─── end ──────┘
       ├── admit ──> admitted   (the client need not wait until a place is free)
       └── end ──> ended

The upstream and the clock may both decide, and the first decision stands: a second one has a row
that leads back to the state it begins in. Each move has one mover:

* ``call``: the task that calls the upstream;
* ``admit``: the upstream, the guard when the wait for a refusal is over, or the job where the
  upstream was cancelled before it said anything;
* ``refuse``: the upstream, or the job where the upstream ended without an answer;
* ``end``: the writer, which alone knows that the response is closed, taken or erased;
* ``finish``: the job, when the upstream has ended, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import anyio
import anyio.lowlevel

from response_cache.errors import InvalidTransition

__all__ = ("DECIDED", "FINISHED", "OVER", "TRANSITIONS", "Move", "RunState", "State", "next_state")


class State(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"  # for a place; the record is made, the upstream was not called
    CALLED = "called"  # the upstream was called; the client was told nothing
    ADMITTED = "admitted"  # the client has the response's id
    REFUSED = "refused"  # the client gets the upstream's refusal, and the record is erased
    ENDED = "ended"  # the writer is done; the upstream may still clean up
    DONE = "done"  # and the upstream has ended


class Move(StrEnum):
    """What moves a run from one state to another."""

    CALL = "call"  # there is a place: the upstream is called
    ADMIT = "admit"  # the upstream accepted, or nobody waits for a refusal any more
    REFUSE = "refuse"  # the upstream refused
    END = "end"  # the response is closed, taken or erased
    FINISH = "finish"  # the upstream has ended as well


# fmt: off
TRANSITIONS: Final[Mapping[State, Mapping[Move, State]]] = {
    State.WAITING: {
        Move.CALL:   State.CALLED,
        Move.ADMIT:  State.ADMITTED,
        Move.END:    State.ENDED,
    },
    State.CALLED: {
        Move.ADMIT:  State.ADMITTED,
        Move.REFUSE: State.REFUSED,
        Move.END:    State.ENDED,
    },
    State.ADMITTED: {
        Move.CALL:   State.ADMITTED,  # it was admitted while it waited for its place
        Move.ADMIT:  State.ADMITTED,
        Move.REFUSE: State.ADMITTED,  # too late: the refusal is the response's failure
        Move.END:    State.ENDED,
    },
    State.REFUSED: {
        Move.ADMIT:  State.REFUSED,
        Move.REFUSE: State.REFUSED,
        Move.END:    State.ENDED,
    },
    State.ENDED: {
        Move.ADMIT:  State.ENDED,  # what an upstream says now changes nothing
        Move.REFUSE: State.ENDED,
        Move.END:    State.ENDED,
        Move.FINISH: State.DONE,
    },
    State.DONE: {
        Move.ADMIT:  State.DONE,  # a thread that was left behind may still speak
        Move.REFUSE: State.DONE,
    },
}
# fmt: on

OVER: Final = frozenset((State.ENDED, State.DONE))
"""The writer is done: the store has the end of the response, or it is another process's."""

FINISHED: Final = frozenset((State.DONE,))
"""The upstream has ended as well."""

DECIDED: Final = OVER | {State.ADMITTED, State.REFUSED}
"""The client can be answered: with the response's id, or with the refusal."""


def next_state(state: State, move: Move) -> State:
    """Where *move* leads from *state*.

    Raises:
        InvalidTransition: the table has no such move.
    """
    try:
        return TRANSITIONS[state][move]
    except KeyError:
        raise InvalidTransition(state, move) from None


class RunState:
    """The state of one run, and the tasks that wait for it to change."""

    def __init__(self) -> None:
        self.current = State.WAITING
        self._moved: anyio.Event | None = None  # while a task waits

    def move(self, move: Move) -> bool:
        """Make *move*; whether the state is another one now.

        Raises:
            InvalidTransition: the table has no such move.
        """
        before, self.current = self.current, next_state(self.current, move)
        if self.current is before:
            return False
        if self._moved is not None:
            self._moved.set()
            self._moved = None
        return True

    async def until(self, states: frozenset[State]) -> None:
        """Return when the run is in one of *states*. A checkpoint also where it is already."""
        if self.current in states:
            await anyio.lowlevel.checkpoint()
        while self.current not in states:
            if self._moved is None:
                self._moved = anyio.Event()
            await self._moved.wait()
