"""What to send to a store whose log is not as long as the writer left it: a plan, and a memory.

A write was to begin at event F. The store says that its tail is T:

    T = F                   nothing is lost ───────────────────> the same write
    F < T <= end            a part of it arrived after all ────> the rest, under a new token
    T < F                   the newest part of the log is lost ─> that part again, then the write
    T < F, not kept         ... and nobody has it any more ─────> ``NoPlan.HOLE``
    T past all that we sent another process wrote it ──────────> ``NoPlan.OVERTAKEN``

The plan is pure: the writer acts on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from response_cache._log.batches import pack, unpack
from response_cache._protocol.lifecycle import Status
from response_cache.store import Append

__all__ = ("NoPlan", "ResendBuffer", "Write", "back_off", "plan")

LONGEST_DELAY: Final = 0.5  # seconds


@dataclass(slots=True)  # not frozen: a frozen one is slow to make
class Write:
    """One append and the number of its first event, never changed once made."""

    first: int
    append: Append

    @property
    def end(self) -> int:
        """The number after its last event."""
        return self.first + len(self.append.events)

    @property
    def is_sign_of_life(self) -> bool:
        """Whether it brings nothing, not even a status."""
        return self.append.status is None

    def ended_by(self, end: Append) -> Write:
        """This write and *end*, whose events follow, as one."""
        return Write(self.first, replace(end, events=(*self.append.events, *end.events)))


class NoPlan(Enum):
    """Why nothing that we have would make the log right."""

    OVERTAKEN = auto()  # the store has more than we sent: another process holds the claim
    HOLE = auto()  # a part of the log is lost for good


class ResendBuffer:
    """The acknowledged part of one log, in case that the store loses it, up to a bound in bytes."""

    def __init__(self, limit: int) -> None:
        """Keep at most *limit* packed bytes; past it nothing is kept any more."""
        self._limit = limit
        self._blocks: list[tuple[int, bytes]] = []  # number of the first event, packed events
        self._bytes = 0
        self.is_complete = True  # whether every event added can still be given back

    def add(self, first: int, events: Sequence[bytes]) -> None:
        """Keep *events*, numbered from *first*."""
        if not self.is_complete or not events:
            return
        block = pack(events)
        self._bytes += len(block)
        if self._bytes > self._limit:
            self._blocks.clear()
            self.is_complete = False
        else:
            self._blocks.append((first, block))

    def since(self, number: int) -> list[bytes]:
        """The kept events numbered *number* and above, byte for byte."""
        found: list[bytes] = []
        for index, (first, block) in enumerate(self._blocks):
            following = self._blocks[index + 1][0] if index + 1 < len(self._blocks) else None
            if following is not None and following <= number:
                continue
            found += unpack(block)[max(0, number - first) :]
        return found


def plan(
    tail: int, goal: Write, kept: ResendBuffer, *, token: str, ttl: float
) -> list[Write] | NoPlan:
    """What to send to a store whose tail is *tail*, so that it has all through *goal*.

    *kept* has every event before *goal*, unless it ran over its bound. *token* marks the write that
    is new, if there is one, and *ttl* is the life of an open record in seconds.
    """
    if tail > goal.end or (goal.append.close and tail == goal.end):
        return NoPlan.OVERTAKEN  # in the second case another end stands in the place of ours
    if tail > goal.first:
        rest = goal.append.events[tail - goal.first :]
        return [Write(tail, replace(goal.append, events=rest, token=token))]
    if tail == goal.first:
        return [goal]
    if not kept.is_complete:
        return NoPlan.HOLE
    lost = tuple(kept.since(tail))[: goal.first - tail]
    # Whatever the goal brings: before it the upstream was answering, and there is no end.
    again = Append(events=lost, token=token, status=Status.IN_PROGRESS, ttl=ttl)
    return [Write(tail, again), goal]


def back_off(failures: int) -> float:
    """Seconds before attempt number *failures* + 1."""
    return min(LONGEST_DELAY, 0.02 * 2.0 ** min(failures, 6))
