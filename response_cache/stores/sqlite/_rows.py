"""Rows of the table ``record`` as values, and what an operation makes of them.

Both classes have the fields that ``response_cache.stores._rules`` look at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from response_cache.store import Append, Claim, NewRecord
from response_cache.stores import _rules as rules

__all__ = ("Row", "State")


class State(NamedTuple):
    """The part of a record by which waits and renewals are decided."""

    incarnation: str
    epoch: int
    tail: int
    closed: bool
    expires: float


class Row(NamedTuple):
    """A row of ``record`` without what no append looks at: see ``schema`` for the columns."""

    key: int
    id: str
    incarnation: str
    header: bytes
    epoch: int
    status: str
    notes: bytes
    token: str
    tail: int
    through: int
    closed: bool
    ttl: float
    lease: float
    lease_ends: float
    expires: float
    log_expires: float

    @classmethod
    def of(cls, key: int, new: NewRecord) -> Row:
        """The row of a new record, which has no lease and no end of life yet."""
        tail = len(new.events)
        return cls(
            key=key,
            id=new.id,
            incarnation=new.incarnation,
            header=new.header,
            epoch=new.epoch,
            status=new.status,
            notes=b"",
            token="",
            tail=tail,
            through=tail - 1,
            closed=False,
            ttl=0.0,
            lease=0.0,
            lease_ends=0.0,
            expires=-math.inf,
            log_expires=math.inf,
        )

    def claim(self) -> Claim:
        """The claim of the present holder."""
        return Claim(self.id, self.incarnation, self.epoch, self.tail)

    def appended(self, append: Append) -> Row:
        """The row with all that *append* brings, as far as it is kept in the row."""
        tail = self.tail + len(append.events)
        return self._replace(
            status=self.status if append.status is None else append.status,
            notes=self.notes if append.notes is None else append.notes,
            token=append.token if append.events else self.token,
            tail=tail,
            through=self.through if append.snapshot is None else tail - 1,
        )

    def renewed(self, now: float, *, lease: float, ttl: float) -> Row:
        """The row of an open record with a new lease and a later end of life."""
        return self._replace(
            ttl=ttl,
            lease=lease,
            lease_ends=now + lease,
            expires=rules.end_of_open(now, lease=lease, ttl=ttl, expires=self.expires),
        )

    def ended(self, now: float, *, ttl: float, stream_ttl: float | None) -> Row:
        """The row of the record once it is closed."""
        return self._replace(
            closed=True,
            expires=now + ttl,
            log_expires=rules.end_of_log(now, ttl=ttl, stream_ttl=stream_ttl),
        )
