"""The life of a response, as one table: every legal move stands in ``TRANSITIONS``.

    queued ── start ──> in_progress ── complete ──> completed
       │                     ├──────── truncate ──> incomplete
       │                     │
       ├──── fail, expire ───┼────────────────────> failed
       └──── cancel ─────────┴────────────────────> cancelled

The statuses are those of the Response object (OpenAI API reference, Responses). A terminal status
has an empty row. Everything else in this module is derived from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from response_cache.errors import InvalidTransition

__all__ = ("CANCELLABLE", "TERMINAL", "TRANSITIONS", "Status", "Trigger", "diagram", "next_status")


class Status(StrEnum):
    """``status`` of a Response, exactly as on the wire."""

    QUEUED = "queued"  # recorded; the upstream has not begun to answer
    IN_PROGRESS = "in_progress"  # the upstream is answering
    COMPLETED = "completed"  # the upstream answered in full
    INCOMPLETE = "incomplete"  # the upstream stopped early; incomplete_details says why
    FAILED = "failed"  # the upstream, the worker or a limit ended it; error says why
    CANCELLED = "cancelled"  # the client ended it


class Trigger(StrEnum):
    """What moves a response from one status to another."""

    START = "start"  # the upstream began to answer
    COMPLETE = "complete"  # its terminal event says completed
    TRUNCATE = "truncate"  # its terminal event says incomplete
    FAIL = "fail"  # it failed, broke off, or ran into a limit
    CANCEL = "cancel"  # a client asked for it
    EXPIRE = "expire"  # the lease ran out: the worker is presumed dead


# fmt: off
TRANSITIONS: Final[Mapping[Status, Mapping[Trigger, Status]]] = {
    Status.QUEUED: {
        Trigger.START:    Status.IN_PROGRESS,
        Trigger.FAIL:     Status.FAILED,
        Trigger.CANCEL:   Status.CANCELLED,
        Trigger.EXPIRE:   Status.FAILED,
    },
    Status.IN_PROGRESS: {
        Trigger.COMPLETE: Status.COMPLETED,
        Trigger.TRUNCATE: Status.INCOMPLETE,
        Trigger.FAIL:     Status.FAILED,
        Trigger.CANCEL:   Status.CANCELLED,
        Trigger.EXPIRE:   Status.FAILED,
    },
    Status.COMPLETED:  {},
    Status.INCOMPLETE: {},
    Status.FAILED:     {},
    Status.CANCELLED:  {},
}
# fmt: on

TERMINAL: Final = frozenset(status for status, moves in TRANSITIONS.items() if not moves)
"""Statuses without a further move."""

CANCELLABLE: Final = frozenset(s for s, moves in TRANSITIONS.items() if Trigger.CANCEL in moves)
"""Statuses in which a response may be cancelled."""


def next_status(status: Status, trigger: Trigger) -> Status:
    """Where *trigger* leads from *status*.

    Raises:
        InvalidTransition: the table has no such move.
    """
    try:
        return TRANSITIONS[status][trigger]
    except KeyError:
        raise InvalidTransition(status, trigger) from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    moves = [
        f"    {status} --> {target}: {trigger}"
        for status, row in TRANSITIONS.items()
        for trigger, target in row.items()
    ]
    ends = [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Status.QUEUED}", *moves, *ends])
