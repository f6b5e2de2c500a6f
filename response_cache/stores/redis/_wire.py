"""What goes to the scripts and what comes back, as values of the store contract.

A script answers with a list: a word that says what happened, then what belongs to that word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from response_cache._log.batches import unpack
from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreError,
)
from response_cache.store import Append, RecordView
from response_cache.stores.redis._channel import Position
from response_cache.stores.redis._errors import Attempt, formatted
from response_cache.stores.redis._scripts import Argument

__all__ = ("arguments_of", "milliseconds", "position_from", "refuse", "view_from")

REFUSALS: Final[dict[bytes, tuple[type[StoreError], str]]] = {
    b"deleted": (Deleted, "it was deleted"),
    b"missing": (Missing, "there is no such record"),
    b"exists": (AlreadyExists, "another incarnation exists"),
    b"fenced": (Fenced, "it was taken or created anew"),
    b"closed": (Closed, "it is closed"),
}


def milliseconds(seconds: float) -> int:
    """*seconds* as a life for a script; at least one millisecond, the shortest life of a key."""
    return max(1, round(seconds * 1000))


def arguments_of(append: Append) -> list[Argument]:
    """What *append* brings beside events: a word with a letter for each, and then the values."""
    letters, values = "", list[Argument]()
    if append.snapshot is not None:
        letters += "s"
        values.append(append.snapshot)
    if append.status is not None:
        letters += "t"
        values.append(append.status)
    if append.notes is not None:
        letters += "n"
        values.append(append.notes)
    if append.private is not None:
        letters += "p"
        values.append(append.private)
    if append.close:
        letters += "c"
        values.append("" if append.stream_ttl is None else milliseconds(append.stream_ttl))
    return [letters, *values]


def refuse(attempt: Attempt, answer: Sequence[Any]) -> NoReturn:
    """Raise the error that *answer* stands for."""
    if answer[0] == b"gap":
        tail = int(answer[1])
        raise SequenceGap(f"cannot {formatted(attempt)}: its tail is {tail}", tail=tail)
    error, reason = REFUSALS[answer[0]]
    raise error(f"cannot {formatted(attempt)}: {reason}")


def position_from(fields: Sequence[Any]) -> Position:
    """The position in the answer of ``lua/position.lua``."""
    incarnation, epoch, tail, closed = fields
    return Position(incarnation.decode(), int(epoch), int(tail), bool(closed))


def view_from(
    id: str, fields: Sequence[Any], after: int | None = None, limit: int | None = None
) -> RecordView:
    """The view that ``lua/view.lua`` made; *after* and *limit* as they were given to it."""
    incarnation, epoch, status, header, notes, through = fields[:6]
    tail, closed, orphaned, log_expired, snapshot, entries = fields[6:]
    first = (int(through) if after is None else after) + 1
    return RecordView(
        id=id,
        incarnation=incarnation.decode(),
        epoch=int(epoch),
        status=status.decode(),
        header=header,
        notes=notes,
        snapshot=snapshot if after is None else None,
        snapshot_through=int(through),
        first=first,
        events=_events(entries, first, limit),
        tail=int(tail),
        closed=bool(closed),
        orphaned=bool(orphaned),
        log_expired=bool(log_expired),
    )


def _events(entries: Sequence[bytes], first: int, limit: int | None) -> list[bytes]:
    """The events numbered *first* and above.

    *entries* are pairs: the number after the last event of a block, and the block.
    """
    events: list[bytes] = []
    for end, block in zip(entries[::2], entries[1::2], strict=True):
        unpacked = unpack(block)
        start = int(end) - len(unpacked)
        events += unpacked[max(0, first - start) :]
    return events if limit is None else events[:limit]
