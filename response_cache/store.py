"""The store contract: what a store keeps, and what each of its seven operations promises.

A store keeps *records*, one for each response, and knows neither JSON nor the lifecycle: statuses,
headers, events, snapshots and notes are data. A record is

* a *log*: events (bytes) with dense sequence numbers from 0; the *tail* is the next number;
* a *snapshot* (bytes) and the number *through* which the log is folded into it;
* a *status*, a *header* (immutable), *notes* and the *request* as it was received;
* an *incarnation*, the random mark of one creation of the id, and an *epoch*, raised by each take.

**Writing.** Whoever holds the *claim* (id, incarnation, epoch) may append; any difference is
``Fenced``. A claim lives as long as its *lease*; when that has run out and the record is not
closed, the record is *orphaned* and may be taken by anybody who saw that. ``append`` is the only
write to a response and the only thing that closes one, so a terminal event, the final snapshot and
the terminal status become visible in one step, and a closed record never changes again.

A repeated create, a repeated batch, a heartbeat and a take all renew the lease; a take keeps the
``ttl`` that was given last.

**Unknown outcomes.** ``StoreUnavailable`` leaves open whether the operation took effect, so each
one can be repeated: ``create`` by its incarnation, ``append`` by its batch token and the claim's
tail, ``take`` because a second take only raises the epoch once more, ``delete`` by its tombstone.

**Time** is the store's own: it judges leases and expiry when it is asked, never by a sweep. Its
clock may be set, so an orphaned record proves nobody dead: whoever closes it watches it first. A
lease that ends more than twice its length from now was given before the clock was set back, and
counts as run out.
While a record is open, all of it expires ``max(ttl, 4 x lease)`` after the last renewal, so a
response that is being recorded never does. Once closed, the record lives for ``ttl`` and its log
for ``stream_ttl``.

Each operation is atomic and calls no other. All of them may raise ``StoreUnavailable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ("NO_EVENTS", "Claim", "RecordView", "Store", "Taken")

NO_EVENTS: Final = 2**53 - 1
"""A sequence number that no log reaches: for who wants no events."""


@dataclass(slots=True)  # not frozen: those are slow to make, and each append makes one
class Claim:
    """The right to append to one response, and the number the next event will have.

    It does not change: what comes of it is another one.
    """

    id: str
    incarnation: str
    epoch: int  # fencing token: 1 at creation, raised by each take
    tail: int
    # Whether somebody may be waiting for what is appended; a store that cannot tell says yes.
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
    """The outcome of a take. Without a claim it was refused, and the page says why."""

    claim: Claim | None
    view: RecordView


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

    async def create(
        self,
        id: str,
        *,
        incarnation: str,
        header: bytes,
        request: bytes,
        snapshot: bytes,
        events: Sequence[bytes],
        status: str,
        lease: float,
        ttl: float,
    ) -> Claim:
        """Make a record at epoch 1 with *events* as its log and *snapshot* through the last one.

        The same incarnation, still at epoch 1, succeeds again with the present tail. A tombstone is
        looked for first.

        Raises:
            AlreadyExists: another incarnation lives under this id.
            Fenced: this incarnation was taken meanwhile.
            Deleted: a tombstone stands there.
            StoreFull: no room for another response.
        """
        ...

    async def append(
        self,
        claim: Claim,
        events: Sequence[bytes],
        *,
        batch: str = "",
        close: bool = False,
        snapshot: bytes | None = None,
        status: str | None = None,
        notes: bytes | None = None,
        lease: float,
        ttl: float,
        stream_ttl: float | None = None,
    ) -> Claim:
        """Add *events* at the claim's tail and renew the lease; no events is a heartbeat.

        *snapshot* is through the last event given; None leaves what is stored, and so do *status*
        and *notes*. With *close* the record is final from this step on: it lives *ttl* seconds
        more and its log *stream_ttl* (None: as long as the record). *batch* is a random token,
        needed with events; the same claim and token again succeeds with the present tail, also
        when the record is closed by then.

        Raises, in this order of checks:
            Deleted: a tombstone stands there.
            Missing: there is no record.
            Fenced: incarnation or epoch differ.
            Closed: the record is closed (and this is not its last batch repeated).
            SequenceGap: the claim's tail is not the record's; also without events.
        """
        ...

    async def take(self, id: str, *, only_orphaned: bool = False, lease: float) -> Taken:
        """Become the holder: raise the epoch, hold the lease, change nothing else, read all.

        Refused (no claim) when the record is closed, or with *only_orphaned* when it is not
        orphaned. The page is that of ``read(id)`` after the take.

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
        *closed*. Whoever waits for a recorder asks the store each time it returns, so one that
        returns for no reason again and again keeps both busy. Time-outs are the caller's scope.
        """
        ...

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """Erase the record and leave a tombstone; whether there was one to erase.

        The tombstone is left also where there was nothing. With *claim* (whatever its tail) none is
        left, and it acts only while that claim holds and the record is open.
        """
        ...
