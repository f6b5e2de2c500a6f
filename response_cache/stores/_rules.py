"""What the memory store and the SQLite store decide alike, as functions of values.

``response_cache.store`` says what each operation promises. The order of refusals, the judgement of
leases, the ends of life and what counts as a repeat are decided here, once for both stores. Nothing
here reads or writes a store: a store hands in what it keeps of a record (``Kept``), and acts on
what comes back. Redis decides the same inside of the server, and the model in
``response_cache.testing`` decides it once more, so that it can check all three.

All times are seconds of the store's clock.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from response_cache.errors import AlreadyExists, Closed, Deleted, Fenced, Missing, SequenceGap
from response_cache.store import Append, Claim, Link, NewRecord

__all__ = (
    "Kept",
    "Position",
    "absence",
    "end_of_log",
    "end_of_open",
    "end_of_renewed",
    "epoch_of_repeated",
    "has_news",
    "is_leased",
    "is_linked",
    "is_orphaned",
    "is_repeated",
    "may_take",
    "may_withdraw",
    "needs_room",
    "require_token",
)

LIFE_IN_LEASES: Final = 4  # an open record outlives its last renewal by so many leases at least
LONGEST_LEASE: Final = 2  # a lease that ends later, in its own lengths, is older than the clock
RENEWED_TO: Final = 1.5  # times the ttl, so that a link is written at most once in half a ttl


class Position(Protocol):
    """How far a record is: what makes the difference to a process that waits for it."""

    @property
    def incarnation(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def tail(self) -> int: ...

    @property
    def closed(self) -> bool: ...


class Kept(Position, Protocol):
    """What a store keeps of a record, as far as the rules look at it."""

    @property
    def id(self) -> str: ...

    @property
    def token(self) -> str:
        """The token of the last append that brought events, or ``""``."""

    @property
    def lease(self) -> float:
        """The length of the lease, as last given."""

    @property
    def lease_ends(self) -> float: ...

    @property
    def expires(self) -> float:
        """The end of life of the whole record."""


# --- What is refused, and what was done before ---------------------------------------------------


def absence(id: str, tried: str, *, is_deleted: bool) -> Deleted | Missing:
    """The refusal of what was *tried* with an id under which nothing is."""
    if is_deleted:
        return Deleted(f"cannot {tried} {id}: it was deleted")
    return Missing(f"cannot {tried} {id}: there is no such record")


def epoch_of_repeated(new: NewRecord, kept: Kept) -> int:
    """The epoch of *kept* once *new* was created again; a closed record is to stay as it is.

    Raises:
        AlreadyExists, Fenced: *kept* is not what *new* made.
    """
    if kept.incarnation != new.incarnation:
        raise AlreadyExists(f"cannot create {new.id}: it exists")
    if kept.epoch > new.epoch:
        raise Fenced(
            f"cannot create {new.id} again at epoch {new.epoch}: it was taken at epoch {kept.epoch}"
        )
    return kept.epoch if kept.closed else new.epoch


def require_token(append: Append) -> None:
    """Raise ValueError for an *append* that could not be told from its repeat."""
    if append.events and not append.token:
        raise ValueError("an append that brings events needs a token")


def is_repeated(claim: Claim, append: Append, kept: Kept) -> bool:
    """Whether *kept* has this *append* already; False where it is to be written now.

    Raises:
        Fenced, Closed, SequenceGap: neither.
    """
    if not _holds(claim, kept):
        raise Fenced(
            f"cannot append to {kept.id} at epoch {claim.epoch}: it was taken at epoch"
            f" {kept.epoch} or created anew"
        )
    if append.token and append.token == kept.token:
        return True
    if kept.closed:
        raise Closed(f"cannot append to {kept.id}: it is closed")
    if claim.tail != kept.tail:
        raise SequenceGap(
            f"cannot append to {kept.id} at {claim.tail}: its tail is {kept.tail}", tail=kept.tail
        )
    return False


def needs_room(append: Append) -> bool:
    """Whether a store that is full refuses *append*: no heartbeat, and no end."""
    return bool(append.events) and not append.close


def may_take(kept: Kept, now: float, *, only_orphaned: bool) -> bool:
    """Whether a take is granted."""
    return not (kept.closed or (only_orphaned and is_leased(kept, now)))


def may_withdraw(id: str, claim: Claim, kept: Kept | None) -> bool:
    """Whether a delete of *id* by a *claim* acts."""
    return kept is not None and not kept.closed and id == claim.id and _holds(claim, kept)


def is_linked(link: Link, kept: Position) -> bool:
    """Whether *kept*, under the id of *link*, is the record that the chain means, and closed."""
    return kept.closed and kept.incarnation == link.incarnation


def _holds(claim: Claim, kept: Kept) -> bool:
    return claim.epoch == kept.epoch and claim.incarnation == kept.incarnation


# --- Leases and ends of life ---------------------------------------------------------------------


def is_leased(kept: Kept, now: float) -> bool:
    """Whether the lease holds. One that ends too late was given before the clock was set back."""
    return now < kept.lease_ends <= now + LONGEST_LEASE * kept.lease


def is_orphaned(kept: Kept, now: float) -> bool:
    """Whether the record is open and nobody holds it."""
    return not (kept.closed or is_leased(kept, now))


def end_of_open(now: float, *, lease: float, ttl: float, expires: float = -math.inf) -> float:
    """When an open record ends that is renewed *now*; never before it would have, at *expires*."""
    return max(expires, now + max(ttl, LIFE_IN_LEASES * lease))


def end_of_log(now: float, *, ttl: float, stream_ttl: float | None) -> float:
    """When the log of a record ends that is closed *now* and lives for *ttl*."""
    return now + (ttl if stream_ttl is None else min(ttl, stream_ttl))


def end_of_renewed(now: float, *, ttl: float, expires: float) -> float:
    """When a closed record ends that is renewed for *ttl*; *expires* where that is late enough."""
    return now + RENEWED_TO * ttl if expires < now + ttl else expires


# --- Waiting -------------------------------------------------------------------------------------


def has_news(position: Position, *, after: int, epoch: int, incarnation: str, closed: bool) -> bool:
    """Whether ``Store.wait`` returns at once for a record that is there, at *position*."""
    return (
        position.tail > after + 1
        or position.closed != closed
        or position.epoch != epoch
        or position.incarnation != incarnation
    )
