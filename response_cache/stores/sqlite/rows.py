"""Rows of the tables of a SQLite store, as values."""

from __future__ import annotations

from typing import NamedTuple

from response_cache.store import Claim

__all__ = ("Batch", "Row", "State")


class Batch(NamedTuple):
    """The events of one append, which share a row of ``log``."""

    block: bytes  # packed
    length: int
    token: str = ""


class State(NamedTuple):
    """The part of a record whose change wakes the tasks that wait for it."""

    incarnation: str
    epoch: int
    tail: int
    closed: bool


class Row(NamedTuple):
    """A row of ``record``: a field for each column, in the same order. See ``schema``."""

    key: int
    id: str
    incarnation: str
    epoch: int
    status: str
    header: bytes
    notes: bytes
    batch: str
    tail: int
    through: int
    closed: bool
    ttl: float
    lease: float
    lease_ends: float
    expires: float
    log_expires: float | None

    def claim(self) -> Claim:
        """The claim of the present holder."""
        return Claim(self.id, self.incarnation, self.epoch, self.tail)

    def is_held_by(self, claim: Claim) -> bool:
        """Whether *claim* is that of the present holder; its tail does not matter."""
        return (self.incarnation, self.epoch) == (claim.incarnation, claim.epoch)

    def is_orphaned(self, now: float) -> bool:
        """Whether the record is open and its lease has run out: see ``store`` on time."""
        return not self.closed and not now < self.lease_ends <= now + 2 * self.lease

    def renewed(self, now: float, *, lease: float, ttl: float) -> Row:
        """The row with a new lease and a new end of life; a closed record stays as it is."""
        if self.closed:
            return self
        return self._replace(
            ttl=ttl, lease=lease, lease_ends=now + lease, expires=now + max(ttl, 4 * lease)
        )
