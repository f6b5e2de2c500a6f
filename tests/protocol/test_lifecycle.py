"""The lifecycle table, compared with a second table that is written by hand."""

from __future__ import annotations

from itertools import product

import pytest

from response_cache._protocol.lifecycle import (
    CANCELLABLE,
    TERMINAL,
    TRANSITIONS,
    Status,
    Trigger,
    diagram,
    next_status,
)
from response_cache.errors import InvalidTransition

# Each line is a status, a trigger and where it leads. Whatever is not here is illegal.
LEGAL = {
    ("queued", "start"): "in_progress",
    ("queued", "fail"): "failed",
    ("queued", "cancel"): "cancelled",
    ("queued", "expire"): "failed",
    ("in_progress", "complete"): "completed",
    ("in_progress", "truncate"): "incomplete",
    ("in_progress", "fail"): "failed",
    ("in_progress", "cancel"): "cancelled",
    ("in_progress", "expire"): "failed",
}


@pytest.mark.parametrize(("status", "trigger"), list(product(Status, Trigger)))
def test_every_status_answers_every_trigger_as_written_down(
    status: Status, trigger: Trigger
) -> None:
    expected = LEGAL.get((status.value, trigger.value))
    if expected is None:
        with pytest.raises(InvalidTransition):
            next_status(status, trigger)
    else:
        assert next_status(status, trigger) is Status(expected)


def test_the_statuses_are_the_six_of_the_api() -> None:
    assert {status.value for status in Status} == {
        "queued",
        "in_progress",
        "completed",
        "incomplete",
        "failed",
        "cancelled",
    }


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_nothing_leaves_a_terminal_status() -> None:
    assert {"completed", "incomplete", "failed", "cancelled"} == TERMINAL


def test_only_pending_responses_can_be_cancelled() -> None:
    assert {"queued", "in_progress"} == CANCELLABLE


def test_every_pending_status_can_end_by_itself() -> None:
    for status in set(Status) - TERMINAL:
        assert {Trigger.FAIL, Trigger.CANCEL, Trigger.EXPIRE} <= set(TRANSITIONS[status])


def test_an_illegal_move_says_what_was_tried_from_where() -> None:
    with pytest.raises(InvalidTransition, match="completed cannot cancel") as caught:
        next_status(Status.COMPLETED, Trigger.CANCEL)
    assert (caught.value.status, caught.value.trigger) == ("completed", "cancel")


def test_the_diagram_shows_exactly_the_moves_the_beginning_and_the_ends() -> None:
    first, *lines = diagram().splitlines()
    moves = [f"{status} --> {target}: {trigger}" for (status, trigger), target in LEGAL.items()]
    ends = [f"{status} --> [*]" for status in ("completed", "incomplete", "failed", "cancelled")]
    assert first == "stateDiagram-v2"
    assert sorted(line.strip() for line in lines) == sorted(["[*] --> queued", *moves, *ends])
