"""What the tables of a SQLite store hold, as values."""

from __future__ import annotations

from typing import NamedTuple

from response_cache.store import Claim

__all__ = ("Batch", "Row", "State")


class Batch(NamedTuple):
    """Events that are stored in one row."""

    block: bytes  # packed
    length: int
    token: str = ""


class State(NamedTuple):
    """What makes the difference to those who wait."""

    incarnation: str
    epoch: int
    tail: int
    closed: bool


class Row(NamedTuple):
    """A row of ``record``, column by column."""

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
        """The claim that holds."""
        return Claim(self.id, self.incarnation, self.epoch, self.tail)

    def is_held_by(self, claim: Claim) -> bool:
        """Whether *claim* holds, whatever its tail."""
        return (self.incarnation, self.epoch) == (claim.incarnation, claim.epoch)

    def is_orphaned(self, now: float) -> bool:
        """Whether it is open and nobody holds it: see ``Store`` on time."""
        return not self.closed and not now < self.lease_ends <= now + 2 * self.lease

    def renewed(self, now: float, *, lease: float, ttl: float) -> Row:
        """With the lease held and the expiry put off; a closed record is never renewed."""
        if self.closed:
            return self
        return self._replace(
            ttl=ttl, lease=lease, lease_ends=now + lease, expires=now + max(ttl, 4 * lease)
        )
