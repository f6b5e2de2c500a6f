"""The store contract: what a store keeps, and what each of its eight operations promises.

A store keeps *records*, one for each response, and knows neither JSON nor the lifecycle: statuses,
headers, events, snapshots and notes are data. A record is

* a *log*: events (bytes) with dense sequence numbers from 0; the *tail* is the next number;
* a *snapshot* (bytes) and the number *through* which the log is folded into it;
* a *status*, a *header* and a *request* (both immutable), and *notes*;
* a *private* part, which ``take`` alone gives back: what the next holder needs, and no reader.
  No ``repr`` shows it, so it stands in no log;
* an *incarnation*, the random mark of one creation of the id, and an *epoch*, raised by each take.

**Writing.** The holder of the *claim* (id, incarnation, epoch) may append; a claim that differs in
one of them is ``Fenced``. A claim lives as long as its *lease*; when the lease has run out and the
record is not closed, the record is *orphaned*, and every process that saw so may take it. A lease
of 0 gives the claim back: the record is orphaned at once, at the same epoch. ``append`` is the only
write to a response and the only operation that closes one. So a terminal event, the final snapshot
and the terminal status become visible in one step, and a closed record never changes again, but
that ``renew`` may put off its end.

A repeated create, a repeated append, a heartbeat (an append without events) and a take all renew
the lease; a take keeps the ``ttl`` that was given last.

**Unknown outcomes.** After ``StoreUnavailable`` nobody knows whether the operation took effect, so
each one can be repeated: ``create`` by its incarnation and epoch, ``append`` by its token and the
claim's tail, ``take`` because a second take only raises the epoch once more, ``renew`` because a
second one finds the end put off, ``delete`` by its tombstone.

**Lost writes.** A store that may lose acknowledged writes may fall back to an older state, also to
none. Its holder creates the record again at the claim's own epoch. Two processes may each take an
epoch that is lost afterwards; so takers raise the epoch by a random number, or both would hold one
and the same claim.

**Time** is the store's own: it judges leases and ends of life when it is asked, never by a sweep.
Its clock may be set, so an orphaned record proves nobody dead: a process that wants to close it
watches it first. A lease that ends more than twice its length from now was given before the clock
was set back, and counts as run out.
While a record is open, all of it ends ``max(ttl, 4 x lease)`` after a renewal, and never earlier
than an earlier renewal said; so a response that is being recorded never expires. Once closed, the
record lives for ``ttl``. Its log lives for ``stream_ttl``, at most for ``ttl``; this end stays when
the record's own is put off.

Each operation is atomic and calls no other; ``renew`` is atomic for each link. All of them may
raise ``StoreUnavailable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = (
    "NO_EVENTS",
    "Append",
    "Appended",
    "Claim",
    "Link",
    "NewRecord",
    "RecordView",
    "Store",
    "Taken",
)

NO_EVENTS: Final = 2**53 - 1
"""A sequence number that no log reaches: a reader that gives it gets no events."""


@dataclass(slots=True)  # not frozen: frozen ones are slow to make, and each append makes one
class Claim:
    """The right to append to one response, and the number the next event will have.

    It does not change: each append gives a new one.
    """

    id: str
    incarnation: str
    epoch: int  # fencing token: 1 at creation, raised by each take; below 2**53
    tail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """What a record is made from. A repeated create sends the same object."""

    id: str
    incarnation: str
    header: bytes
    request: bytes
    snapshot: bytes  # through the last of the events
    events: Sequence[bytes]  # may be empty
    status: str
    ttl: float  # seconds
    private: bytes = field(default=b"", repr=False)
    owner: str = ""  # with the label: kept to list records by, and given back by no operation here
    label: str = ""
    epoch: int = 1  # above 1: a holder restores what the store lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """What one append brings. A retry sends the same object."""

    events: Sequence[bytes] = ()  # none: a heartbeat
    token: str = ""  # random, the mark of this append; needed with events
    snapshot: bytes | None = None  # through the last event given; None leaves what is stored
    status: str | None = None  # None leaves what is stored, also of notes and private
    notes: bytes | None = None
    private: bytes | None = field(default=None, repr=False)
    close: bool = False  # the record is final from this step on
    ttl: float  # seconds
    stream_ttl: float | None = None  # seconds, counts with close; None: as long as ttl


@dataclass(slots=True)  # not frozen: see Claim
class Appended:
    """The outcome of an append: the claim with the record's tail."""

    claim: Claim
    # Whether somebody may be waiting for what was appended; a store that cannot tell says yes.
    is_watched: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class RecordView:
    """One consistent view of a record."""

    id: str
    incarnation: str
    epoch: int
    status: str
    header: bytes
    notes: bytes  # b"" until the holder wrote some
    snapshot: bytes | None  # None when the reader named the number to start after
    snapshot_through: int  # number of the last event that the stored snapshot covers
    first: int  # sequence number of events[0], also when there are none
    events: Sequence[bytes]
    tail: int
    closed: bool
    orphaned: bool  # open, and without a lease by the store's clock
    log_expired: bool  # closed longer than stream_ttl ago: the events are gone


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of a take. Without a claim it was refused, and the view says why."""

    claim: Claim | None
    view: RecordView
    private: bytes = field(default=b"", repr=False)  # b"" also where the take was refused


@dataclass(frozen=True, slots=True)
class Link:
    """One record of a chain: the id and the incarnation that the chain was made with."""

    id: str
    incarnation: str


class Store(Protocol):
    """Where responses live. Implementations: ``response_cache.stores``; proof: the store suite."""

    @property
    def flush_interval(self) -> float:
        """Seconds between two batches of one response that suit this store; 0 for none."""
        ...

    @property
    def may_lose_writes(self) -> bool:
        """Whether acknowledged writes may be lost while this process lives (fail-over, restart)."""
        ...

    @property
    def id_tag(self) -> str:
        """Lower-case hex put into new ids; names the process where stores are not shared."""
        ...

    @property
    def tombstone_ttl(self) -> float:
        """Seconds for which a deleted id refuses to be created again."""
        ...

    async def open(self) -> None:
        """Connect or open files, before anything else is called.

        Called once by each cache over this store: event loops that come one after the other, or
        side by side, each have one.
        """
        ...

    async def aclose(self) -> None:
        """Release what one ``open`` acquired. What is stored stays."""
        ...

    async def create(self, new: NewRecord, lease: float) -> Claim:
        """Make a record at the epoch of *new*, with its events as the log, and hold the *lease*.

        The same incarnation again succeeds with the present tail and renews the lease; a lower
        epoch in the store is raised to the given one, and nothing else changes. A closed record of
        the same incarnation, at this epoch or a lower one, succeeds as well and does not change at
        all. The claim is always the one that holds now.

        Raises, in this order of checks:
            Deleted: a tombstone stands there.
            AlreadyExists: another incarnation lives under this id.
            Fenced: this incarnation is at a higher epoch, so it was taken meanwhile.
            StoreFull: no room for another response.
        """
        ...

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """Add the events of *append* at the claim's tail, and renew the lease.

        With ``close`` the record is final from this step on: it lives ``ttl`` seconds more, and
        ``private`` is erased, also where this append gives one. The same claim and token again
        succeeds with the present tail, also when the record is closed by then. A *lease* of 0 gives
        the claim back: the record is orphaned at once, and the epoch stays.

        Heartbeats and closing appends are never refused for want of room by a bound of the store.

        Raises, in this order of checks:
            ValueError: there are events and no token.
            Deleted: a tombstone stands there.
            Missing: there is no record.
            Fenced: incarnation or epoch differ.
            Closed: the record is closed (and this is not its last append repeated).
            SequenceGap: the claim's tail is not the record's; also without events.
            StoreFull: the events find no room; nothing was written.
        """
        ...

    async def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """Become the holder: raise the epoch, hold the lease, change nothing else, read all.

        The epoch rises by *raise_by*, 1 or more. Refused (no claim) when the record is closed, or
        with *only_orphaned* when it is not orphaned. The view is that of ``read(id)`` after the
        take.

        Raises:
            Missing: there is no record (also when it was deleted).
        """
        ...

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """The record in one consistent view, or None when it is not there (any more).

        Without *after*: the snapshot and the events that it does not cover. With *after*: no
        snapshot, and the events numbered above *after* (-1: all), at most *limit* of them; *first*
        is then *after* + 1, also past the tail.
        """
        ...

    async def request(self, id: str) -> bytes | None:
        """The request as it was given to ``create``, or None when there is no record."""
        ...

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """Return when there is something new, and never miss it; seldom also for no reason.

        New is: the tail is above *after* + 1 (an event numbered above *after* exists), the epoch or
        the incarnation differ, the record is gone, or closed, or is open and was known to be
        *closed*. A recorder asks the store each time it returns, so a ``wait`` that returns for no
        reason again and again keeps both busy. Time-outs are the caller's scope.
        """
        ...

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """Erase the record and leave a tombstone; whether there was one to erase.

        The tombstone is left also where there was nothing. With *claim* (whatever its tail) none is
        left, and it acts only while that claim holds and the record is open.
        """
        ...

    async def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """For each link, whether a closed record of that incarnation is there; its end is put off.

        A record that would end earlier than *ttl* seconds from now ends 1.5 x *ttl* from now
        instead, so a record that is renewed often is written at most once in ttl / 2. With *ttl* 0
        nothing is put off. Nothing that can be read changes, and the log keeps its own end. Each
        link is renewed by itself; all of them take one round trip (to each server).
        """
        ...
