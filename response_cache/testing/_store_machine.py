"""A state machine that compares a store with the plain model of the contract.

Each step calls the same operation on the store and on the model, with valid and invalid claims, and
compares the answers. After each step it compares everything that can be read.

Lifetimes are whole seconds and pauses are not. So no example depends on whether a record still
exists in the very instant of its expiry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final
from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from response_cache.errors import SequenceGap, StoreError
from response_cache.store import Append, Claim, Link, NewRecord, RecordView, Store, Taken
from response_cache.testing._store_model import StoreModel
from response_cache.testing._store_suite import Clock

__all__ = ("StoreMachine", "machine_for")


@dataclass(frozen=True)
class Refusal:
    """An error as an answer that can be compared."""

    error: type[StoreError]
    tail: int | None

    @classmethod
    def of(cls, error: StoreError) -> Refusal:
        """What the contract promises about *error*: its class, and the tail of a gap."""
        return cls(type(error), error.tail if isinstance(error, SequenceGap) else None)


# Claims made from the valid claim: mostly the valid claim itself, else one with a wrong field.
FORGERIES: Final[Sequence[Callable[[Claim], Claim]]] = (
    *[lambda claim: claim] * 6,
    lambda claim: replace(claim, tail=claim.tail - 1),
    lambda claim: replace(claim, tail=claim.tail + 1),
    lambda claim: replace(claim, epoch=claim.epoch - 1),
    lambda claim: replace(claim, epoch=claim.epoch + 1),
    lambda claim: replace(claim, incarnation=claim.incarnation + "x"),
)

NAMES: Final = ("resp_a", "resp_b")

# fmt: off
IDS         = st.sampled_from(NAMES)
FORGED      = st.sampled_from(FORGERIES)
INCARNATION = st.sampled_from(("first", "second"))
EVENTS      = st.lists(st.binary(max_size=3), max_size=4)
SOME_EVENTS = st.lists(st.binary(max_size=3), min_size=1, max_size=4)
BYTES       = st.binary(max_size=5)
MAYBE_BYTES = st.none() | BYTES
STATUS      = st.sampled_from(("queued", "in_progress", "completed"))
LEASE       = st.sampled_from((5.0, 15.0, 0.0))
TTL         = st.sampled_from((10.0, 40.0, 100.0))
STREAM_TTL  = st.sampled_from((None, 5.0, 30.0))
PAUSE       = st.sampled_from((*[0.0] * 12, 2.001, 7.001, 18.001, 62.001))
AGO         = st.sampled_from((1, 1, 1, 2, 3))  # the last append is the one that counts
RISE        = st.sampled_from((1, 1, 2, 2**32 - 1))
ABOVE       = st.sampled_from((0, 0, 0, 1, -1, 5))  # of a create's epoch, over the present one
# fmt: on


class StoreMachine(RuleBasedStateMachine):
    """Calls a store and the model alike. A subclass sets *factory*, which makes the store."""

    factory: ClassVar[Callable[[], tuple[Store, Clock | None]]]
    unit: ClassVar[float] = 1.0
    """The length of a second of an example, in seconds: more than 1 where real time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store, self.clock = type(self).factory()
        self.model = StoreModel(self.store.tombstone_ttl)
        self.sent: list[tuple[Claim, Append, float]] = []
        self.run(self.store.open())

    def teardown(self) -> None:
        """Close what the example opened."""
        self.run(self.store.aclose())
        self.runner.close()

    @rule(
        id=IDS,
        incarnation=INCARNATION,
        content=BYTES,
        events=EVENTS,
        above=ABOVE,
        lease=LEASE,
        ttl=TTL,
        pause=PAUSE,
    )
    def create(
        self,
        id: str,
        incarnation: str,
        content: bytes,
        events: list[bytes],
        above: int,
        lease: float,
        ttl: float,
        pause: float,
    ) -> None:
        """Create, or repeat a create, perhaps with other contents or at another epoch."""
        self.pass_time(pause)
        record = self.model.record(id)
        epoch = max(1, above + (1 if record is None else record.epoch))
        self.begin(id, incarnation, content, events, lease, ttl, epoch)

    @rule(
        id=IDS,
        forged=FORGED,
        events=SOME_EVENTS,
        snapshot=MAYBE_BYTES,
        status=st.none() | STATUS,
        notes=MAYBE_BYTES,
        private=MAYBE_BYTES,
        lease=LEASE,
        ttl=TTL,
        again=st.booleans(),
        pause=PAUSE,
    )
    def append(
        self,
        id: str,
        forged: Callable[[Claim], Claim],
        events: list[bytes],
        snapshot: bytes | None,
        status: str | None,
        notes: bytes | None,
        private: bytes | None,
        lease: float,
        ttl: float,
        again: bool,
        pause: float,
    ) -> None:
        """Append events with a valid or an invalid claim; perhaps twice."""
        self.prepare(id, pause)
        append = Append(
            events=events,
            token=f"append {len(self.sent)}",
            snapshot=snapshot,
            status=status,
            notes=notes,
            private=private,
            ttl=self.lasting(ttl),
        )
        self.send(forged(self.claim_on(id)), append, lease)
        if again:
            self.repeat(1, pause)

    @rule(id=IDS, forged=FORGED, snapshot=MAYBE_BYTES, lease=LEASE, ttl=TTL, pause=PAUSE)
    def heartbeat(
        self,
        id: str,
        forged: Callable[[Claim], Claim],
        snapshot: bytes | None,
        lease: float,
        ttl: float,
        pause: float,
    ) -> None:
        """Append no events; with a lease of 0 the claim is given back."""
        self.prepare(id, pause)
        append = Append(snapshot=snapshot, ttl=self.lasting(ttl))
        self.send(forged(self.claim_on(id)), append, lease)

    @rule(
        id=IDS,
        forged=FORGED,
        events=EVENTS,
        snapshot=BYTES,
        private=MAYBE_BYTES,
        ttl=TTL,
        stream_ttl=STREAM_TTL,
        again=st.booleans(),
        pause=PAUSE,
    )
    def close(
        self,
        id: str,
        forged: Callable[[Claim], Claim],
        events: list[bytes],
        snapshot: bytes,
        private: bytes | None,
        ttl: float,
        stream_ttl: float | None,
        again: bool,
        pause: float,
    ) -> None:
        """Append the end of the log; perhaps twice."""
        self.prepare(id, pause)
        append = Append(
            events=events,
            token=f"append {len(self.sent)}",
            snapshot=snapshot,
            status="completed",
            private=private,
            close=True,
            ttl=self.lasting(ttl),
            stream_ttl=None if stream_ttl is None else self.lasting(stream_ttl),
        )
        self.send(forged(self.claim_on(id)), append, 15.0)
        if again:
            self.repeat(1, pause)

    @precondition(lambda self: self.sent)
    @rule(ago=AGO, pause=PAUSE)
    def repeat(self, ago: int, pause: float) -> None:
        """Send one of the last appends again, byte for byte the same."""
        self.pass_time(pause)
        self.compare("append", *self.sent[-min(ago, len(self.sent))])

    @rule(id=IDS, only_orphaned=st.booleans(), raise_by=RISE, lease=LEASE, pause=PAUSE)
    def take(self, id: str, only_orphaned: bool, raise_by: int, lease: float, pause: float) -> None:
        """Become the holder, if that is allowed."""
        self.prepare(id, pause)
        self.compare(
            "take",
            id,
            lease=self.lasting(lease),
            only_orphaned=only_orphaned,
            raise_by=raise_by,
        )

    @rule(
        id=IDS,
        events=SOME_EVENTS,
        rises=st.lists(RISE, min_size=2, max_size=2, unique=True),
        pause=PAUSE,
    )
    def lose_a_take(self, id: str, events: list[bytes], rises: list[int], pause: float) -> None:
        """A take that the store lost, and another process's take of the same record after it.

        The first process holds a claim that the store knows nothing of: it is fenced, and what it
        creates again under its claim decides by the epochs who goes on.
        """
        self.prepare(id, pause)
        before = self.claim_on(id)
        lost = replace(before, epoch=before.epoch + rises[0])
        self.compare("take", id, lease=self.lasting(15.0), raise_by=rises[1])
        append = Append(events=events, token=f"append {len(self.sent)}", ttl=self.lasting(40.0))
        self.send(lost, append, 15.0)
        self.begin(id, lost.incarnation, b"", [], 15.0, 40.0, lost.epoch)
        self.send(replace(lost, tail=self.claim_on(id).tail), append, 15.0)

    @rule(
        ids=st.lists(st.sampled_from((*NAMES, "resp_none")), max_size=3),
        incarnation=INCARNATION,
        ttl=st.just(0.0) | TTL,
        pause=PAUSE,
    )
    def renew(self, ids: list[str], incarnation: str, ttl: float, pause: float) -> None:
        """Put off the end of what is closed, or only look whether it is there."""
        self.pass_time(pause)
        links = [Link(id, incarnation) for id in ids]
        self.compare("renew", links, ttl=self.lasting(ttl))

    @rule(
        id=IDS,
        after=st.integers(min_value=-1, max_value=12),
        limit=st.none() | st.integers(min_value=1, max_value=4),
        pause=PAUSE,
    )
    def read(self, id: str, after: int, limit: int | None, pause: float) -> None:
        """Read a part of the log."""
        self.prepare(id, pause)
        self.compare("read", id, after=after, limit=limit)

    @rule(
        id=IDS,
        forged=FORGED,
        after=st.integers(min_value=-1, max_value=12),
        closed=st.booleans(),
        pause=PAUSE,
    )
    def wait(
        self, id: str, forged: Callable[[Claim], Claim], after: int, closed: bool, pause: float
    ) -> None:
        """Wait for what is there already: ``wait`` must return."""
        self.prepare(id, pause)
        claim = forged(self.claim_on(id))
        seen: dict[str, Any] = {
            "after": after,
            "epoch": claim.epoch,
            "incarnation": claim.incarnation,
            "closed": closed,
        }
        if self.model.has_news(id, **seen):
            self.run(asyncio.wait_for(self.store.wait(id, **seen), timeout=30))

    @precondition(lambda self: len(self.sent) % 2 == 1)  # seldom: records shall grow old
    @rule(id=IDS, forged=st.none() | FORGED, pause=PAUSE)
    def delete(self, id: str, forged: Callable[[Claim], Claim] | None, pause: float) -> None:
        """Erase: by a claim without a tombstone, or with one. Renewals find it gone."""
        self.prepare(id, pause)
        claim = None if forged is None else forged(self.claim_on(id))
        self.compare("delete", id, claim=claim)

    @precondition(lambda self: self.model.tombstones)
    @rule()
    def outlive_tombstones(self) -> None:
        """Wait until every tombstone has expired."""
        self.pass_time(self.model.tombstone_ttl / self.unit + 0.001)

    @invariant()
    def all_that_can_be_read_is_equal(self) -> None:
        """Each read of the store gives what the model gives."""
        for name in NAMES:
            self.compare("read", name)
            self.compare("read", name, after=-1)
            self.compare("request", name)

    def prepare(self, id: str, pause: float) -> None:
        """Make sure that there is a record, then let *pause* seconds pass."""
        if self.model.record(id) is None:
            self.begin(id, "first", b"", [], lease=15.0, ttl=40.0)
        self.pass_time(pause)

    def begin(
        self,
        id: str,
        incarnation: str,
        content: bytes,
        events: list[bytes],
        lease: float,
        ttl: float,
        epoch: int = 1,
    ) -> None:
        """Create on both sides."""
        new = NewRecord(
            id=id,
            incarnation=incarnation,
            header=b"header " + content,
            request=b"request " + content,
            snapshot=b"snapshot " + content,
            events=events,
            status="queued",
            ttl=self.lasting(ttl),
            private=b"private " + content,
            epoch=epoch,
        )
        self.compare("create", new, self.lasting(lease))

    def claim_on(self, id: str) -> Claim:
        """The valid claim, or one on a record that does not exist."""
        record = self.model.record(id)
        return Claim(id, "first", 1, 0) if record is None else record.claim(id)

    def pass_time(self, seconds: float) -> None:
        """Move both clocks, where the store's clock can be moved."""
        if self.clock is not None and seconds:
            self.model.now += seconds * self.unit
            self.run(self.clock.advance(seconds * self.unit))

    def lasting(self, seconds: float) -> float:
        """A lifetime. Where the clock cannot be moved, it is too long to expire in a test."""
        return seconds * (self.unit if self.clock is not None else 1000)

    def send(self, claim: Claim, append: Append, lease: float) -> None:
        """Append, and keep what was sent for a repeat."""
        self.sent.append((claim, append, self.lasting(lease)))
        self.compare("append", *self.sent[-1])

    def compare(self, operation: str, *args: Any, **kwargs: Any) -> None:
        """Call *operation* on the store and on the model; the answers are the same."""
        try:
            expected = getattr(self.model, operation)(*args, **kwargs)
        except StoreError as error:
            expected = Refusal.of(error)
        assert self.answer(getattr(self.store, operation)(*args, **kwargs)) == expected

    def answer(self, operation: Awaitable[Any]) -> Any:
        """The store's answer, in a form that can be compared."""
        try:
            answer = self.run(operation)
        except StoreError as error:
            return Refusal.of(error)
        match answer:
            case RecordView():
                return _comparable(answer)
            case Taken(claim, view, private):
                return Taken(claim, _comparable(view), private)
            case list() | tuple():
                return list(answer)
            case _:
                return answer

    def run(self, operation: Awaitable[Any]) -> Any:
        """Run one operation to its end, on the loop of this example."""
        return self.runner.run(_awaited(operation))


async def _awaited(operation: Awaitable[Any]) -> Any:
    return await operation


def _comparable(view: RecordView) -> RecordView:
    return replace(view, events=tuple(view.events))


def machine_for(
    factory: Callable[[], tuple[Store, Clock | None]],
    *,
    max_examples: int = 100,
    steps: int = 40,
    unit: float = 1.0,
) -> type[TestCase]:
    """A test case that compares stores made by *factory* with the model.

    Each call of *factory* returns an empty store, not opened, and the object that moves its clock.
    With None for the clock, time is not tested. Where real time passes too, *unit* (seconds) must
    be long beside an example. Runs on asyncio; each example has an event loop of its own.
    """
    attributes = {"factory": staticmethod(factory), "unit": unit}
    machine: type[StoreMachine] = type("StoreMachine", (StoreMachine,), attributes)
    machine.TestCase.settings = settings(
        max_examples=max_examples, stateful_step_count=steps, deadline=None
    )
    return machine.TestCase
