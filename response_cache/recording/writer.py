"""Gets what a recorder records into the store: in batches, fenced, leased, and in spite of trouble.

One append of a claim is in flight at a time. Its retry is byte for byte the same and never merged
with newer events, so that its token tells the store a repeated append from a new one; while it is
retried, it is also the heartbeat. What the store answers decides what happens next:

* acknowledged: readers may see it; keep the batch (packed) where the store can forget;
* ``StoreUnavailable``: nothing is known; wait a little and send the same batch again;
* ``StoreFull``: it was not done. Tell that we live, which takes no room, and send it again; when
  the end has come meanwhile, in one batch with the end, which frees more than it takes. After
  ``full_timeout`` the response fails, so that the end comes;
* ``SequenceGap`` below our tail: the store lost its newest part; send it again, same numbers;
  above: an earlier append of ours arrived after all; go on from there;
* ``Missing``: the store lost everything; create the record again under the same incarnation,
  as long as no tombstone can have expired meanwhile, and send all of it again;
* ``Fenced``, ``Deleted``, ``Closed``: somebody else decided how this response ends. Never re-send.

A writer that was told of another claim writes nothing more, whatever the store remembers of it.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import count
from typing import Final

import anyio

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from response_cache.eventloop import clock
from response_cache.options import Options
from response_cache.protocol.lifecycle import Status, Trigger
from response_cache.protocol.responses import Failure
from response_cache.recording.flush_schedule import FlushSchedule
from response_cache.recording.intake import Intake
from response_cache.recording.recorder import Recorder
from response_cache.recording.recovery import ResendBuffer
from response_cache.recording.timers import Timers
from response_cache.store import NO_EVENTS, Append, Appended, Claim, NewRecord, Store

__all__ = ("LEAST_LIFE", "RENEWALS", "Creation", "Outcome", "Writer")

logger = logging.getLogger("response_cache.writer")

FIRST_SNAPSHOT: Final = 4096
"""Bytes of the log, as it is kept, before the first snapshot that only saves readers work."""

LONGEST_BACK_OFF: Final = 0.5
RENEWALS: Final = 3
"""Heartbeats in one lease."""

LEAST_LIFE: Final = 60.0
"""Seconds for which an open record outlives a renewal at least: a wall clock may be set forward."""
CREATE_ATTEMPTS: Final = 3

FULL: Final = Failure("The store has no room for the rest of this response.")
LOST: Final = Failure("The store lost a part of this response that could not be restored.")


class Outcome(Enum):
    """How a writer's work ended."""

    CLOSED = auto()  # our terminal event is in the store
    TAKEN = auto()  # somebody took, deleted or closed the response
    WITHDRAWN = auto()  # we erased it before anybody was told of it


@dataclass(frozen=True, slots=True)
class Creation:
    """What a response begins with: its record, and what the writer alone has to know."""

    record: NewRecord  # kept, so that it can be created again
    ttl: float  # seconds for which the response can be read after its end
    stream_ttl: float  # and its events
    is_streamed: bool = False  # the client that asked for it reads its events as they come


@dataclass(slots=True)  # not frozen: those are slow to make
class _Batch:
    """One append and the number of its first event, never changed once made."""

    first: int
    append: Append

    @property
    def end(self) -> int:
        return self.first + len(self.append.events)

    @property
    def is_sign_of_life(self) -> bool:
        """Whether it brings nothing, not even a status."""
        return self.append.status is None


class _Lost(Exception):
    """The claim is no longer ours."""


class Writer:
    """Writes one response to its store until it is closed, taken or withdrawn."""

    def __init__(
        self,
        store: Store,
        creation: Creation,
        intake: Intake,
        options: Options,
        timers: Timers | None = None,
    ) -> None:
        """*timers* are those of all writers that share their round trips to *store*."""
        self._store = store
        self._time = clock()
        self.creation = creation
        self._intake = intake
        self._options = options
        interval = (
            store.flush_interval if options.flush_interval is None else options.flush_interval
        )
        self._schedule = FlushSchedule(
            interval,
            longest=options.max_flush_interval,
            burst=options.flush_burst,
            is_eager=creation.is_streamed,
        )
        self._resend_buffer = ResendBuffer(options.retain_bytes if store.may_lose_writes else 0)
        record = creation.record
        self._claim = Claim(record.id, record.incarnation, record.epoch, len(record.events))
        self.timers = timers or Timers()
        self._timer = self.timers.new()
        self._has_capacity: anyio.Event | None = None  # when somebody waits for room
        self._confirmed: list[anyio.Event] = []  # of those who wait for a word of the store
        self._is_scheduled = False  # what is pending has its time
        self._expects_more = False  # events have just gone, and more are likely to come
        self._must_confirm = False
        self._is_lost = False
        self._withdrawn = False
        self._notes: bytes | None = None
        self._acknowledged_at = 0.0
        self._log_bytes = 0
        self._snapshot_at = FIRST_SNAPSHOT
        self._snapshot_status = record.status
        self._tokens = map(secrets.token_hex(8).__add__, map(str, count()))
        self._in_flight: _Batch | None = None
        self._closing: _Batch | None = None
        self.outcome: Outcome | None = None

    # What others ask of it; none of this waits for the store.

    @property
    def claim(self) -> Claim:
        """The claim, with the tail that the store acknowledged."""
        return self._claim

    def wake(self, now: float | None = None) -> None:
        """There is something new to write, or ``timers`` may fire early.

        *now* is the time, where the caller has just read the clock.
        """
        if self._intake.so_far.is_over:
            self._timer.wake()
            return
        if now is None:
            now = self._time()
        if now >= self.timers.earliest:
            self.timers.fire_early(now)
        if self._is_scheduled:
            return
        self._is_scheduled = True
        schedule = self._schedule
        if schedule.earliest <= now:
            self._timer.wake()
        else:
            self._timer.wake_at(schedule.due, earliest=schedule.earliest)

    def write_notes(self) -> None:
        """The recorder has notes that should not wait for the next event."""
        self._must_confirm = True
        self._timer.wake()

    def withdraw(self) -> None:
        """Erase the record instead of writing more: nobody was told of it."""
        self._withdrawn = True
        self._timer.wake()

    def lose(self) -> None:
        """Somebody else holds the claim: nothing more may be written, not even sent again."""
        self._is_lost = True
        self._timer.wake()

    async def confirm(self) -> None:
        """Return when the store acknowledged the claim once more: never, when it is lost."""
        confirmed = anyio.Event()
        self._confirmed.append(confirmed)
        self._must_confirm = True
        self._timer.wake()
        await confirmed.wait()

    async def wait_for_capacity(self) -> None:
        """Wait while more than ``buffer_bytes`` wait for the store (back-pressure)."""
        while self._intake.pending_bytes > self._options.buffer_bytes and self.outcome is None:
            self.wake()
            self._has_capacity = self._has_capacity or anyio.Event()
            await self._has_capacity.wait()

    # What runs.

    async def create(self) -> None:
        """Insert the record. Repeated a few times, safely, when the outcome is unknown.

        Raises:
            AlreadyExists, Deleted, Fenced: the id is not free.
            StoreUnavailable: the store gave no answer.
        """
        self._acknowledged_at = self._time()  # nothing was deleted before
        for attempt in range(1, CREATE_ATTEMPTS + 1):
            try:
                self._acknowledge(await self._create())
            except StoreUnavailable:
                if attempt == CREATE_ATTEMPTS or self._may_be_forgotten():
                    raise
                await anyio.sleep(_back_off(attempt))
            else:
                self._resend_buffer.add(0, self.creation.record.events)
                return

    async def run(self) -> Outcome:
        """Write until the response is closed, or is no longer ours to write.

        May be called again after it was cancelled: what was in flight then goes first, unchanged.
        """
        try:
            while self.outcome is None:
                if self._in_flight is None:
                    await self._until_due()
                    if self._withdrawn:
                        await self._erase()
                        self.outcome = Outcome.WITHDRAWN
                        break
                    self._in_flight = self._next_batch()
                await self._commit(self._in_flight)
                self._in_flight = None
                if self._closing is not None:
                    self.outcome = Outcome.CLOSED
        except _Lost:
            self.outcome = Outcome.TAKEN
        self._tell_of_capacity()
        return self.outcome

    async def keep(self) -> None:
        """For one lease after the close, see to it that the store has not forgotten it.

        Looks as often as a heartbeat comes, and as soon as the store was away: it may be back as an
        older copy, whose lease is over, and readers look, too.
        """
        if (
            not self._store.may_lose_writes
            or self._closing is None
            or self.outcome is not Outcome.CLOSED
        ):
            return
        heartbeat = _Batch(
            self._closing.end,
            replace(
                self._closing.append, events=(), snapshot=None, close=False, ttl=self._open_ttl
            ),
        )
        span = min(self._options.lease, self.creation.ttl / 2)  # and not past its life
        until = self._time() + span
        while (left := until - self._time()) > 0:
            with anyio.move_on_after(min(left, span / RENEWALS)):
                await self._until_reopened()
            try:
                await self._commit(heartbeat)
            except _Lost as lost:
                if not isinstance(lost.__cause__, Closed):
                    return  # it is no longer ours

    async def _until_reopened(self) -> None:
        """Return when the closed record may be open again, or gone."""
        claim = self._claim
        try:
            await self._store.wait(
                claim.id,
                after=NO_EVENTS,
                epoch=claim.epoch,
                incarnation=claim.incarnation,
                closed=True,
            )
        except StoreUnavailable:
            return  # whoever looks now waits for it

    async def _until_due(self) -> None:
        """Sleep until a batch should go: new events at their pace, an end, a heartbeat.

        After a batch of events that is the pace of the next one at once: it need not be looked at
        again when its first event comes.
        """
        intake, schedule = self._intake, self._schedule
        so_far = intake.so_far
        while not (so_far.is_over or self._must_confirm or self._withdrawn or self._is_lost):
            now = self._time()
            due = self._acknowledged_at + self._options.lease / RENEWALS
            earliest = math.inf
            has_pending = intake.has_pending
            if has_pending or self._expects_more:
                due, earliest = min(due, schedule.due), schedule.earliest
                self._is_scheduled = True
            if due <= now or earliest <= now:
                if has_pending or not self._expects_more:
                    break
                self._expects_more = False
            else:
                await self._timer.sleep_until(due, earliest=earliest)
            self._is_scheduled = False
        self._is_scheduled = False

    def _tell_of_capacity(self) -> None:
        if self._has_capacity is not None:
            self._has_capacity.set()
            self._has_capacity = None

    def _next_batch(self) -> _Batch:
        """Everything that is pending, with a snapshot where one is due."""
        recorder = self._intake.parse_backlog()
        events = recorder.take()
        count = len(events)
        self._log_bytes += events.size
        self._tell_of_capacity()
        notes = recorder.take_notes()
        self._notes = notes or self._notes
        creation, is_over = self.creation, recorder.is_over
        append = Append(
            events=events,
            token=next(self._tokens),
            snapshot=self._due_snapshot(recorder),
            status=recorder.status,
            notes=notes,
            close=is_over,
            ttl=creation.ttl if is_over else creation.record.ttl,
            stream_ttl=creation.stream_ttl,
        )
        batch = _Batch(recorder.tail - count, append)
        self._must_confirm = False
        self._expects_more = count > 0
        if is_over:
            self._closing = batch
        return batch

    def _due_snapshot(self, recorder: Recorder) -> bytes | None:
        """At each change of status, and each time the log has doubled: linear in all."""
        is_due = self._log_bytes >= self._snapshot_at or recorder.status != self._snapshot_status
        if not (recorder.is_over or (is_due and recorder.can_snapshot)):
            return None
        self._snapshot_at = max(FIRST_SNAPSHOT, 2 * self._log_bytes)
        self._snapshot_status = recorder.status
        return recorder.snapshot()

    async def _commit(self, batch: _Batch) -> None:
        """Send *batch* until the store has it, and before it whatever the store lost."""
        confirmed, self._confirmed = self._confirmed, []
        failures = 0
        refused_at: float | None = None  # since when the store has no room for it
        queue = [batch]
        while queue:
            if self._is_lost:
                raise _Lost
            started = self._time()
            try:
                appended = await self._append(queue[0])
            except StoreUnavailable as error:
                failures += 1
                self._report_trouble(failures)
                if isinstance(error, StoreFull) and not queue[0].is_sign_of_life:
                    refused_at = self._bear_refusal(refused_at)
                    batch = self._with_the_end(batch)
                    queue = self._after_refusal(queue[0].first, batch)
                await anyio.sleep(_back_off(failures))
            except SequenceGap as gap:
                if gap.tail < batch.first:
                    self._require_forgetful(gap)
                queue = self._from(gap.tail, batch)
            except Missing as missing:
                self._require_forgetful(missing)
                await self._create_again()
                queue = self._from(self._claim.tail, batch)
            except (Fenced, Deleted, Closed) as error:
                raise _Lost from error
            else:
                self._acknowledge(appended.claim)
                now = self._acknowledged_at
                self._schedule.batch_sent(now, now - started, is_watched=appended.is_watched)
                done = queue.pop(0)
                if failures and not done.is_sign_of_life:
                    logger.info("%s: the store answers again", self._claim.id)
                    failures, refused_at = 0, None
        self._resend_buffer.add(batch.first, batch.append.events)
        for event in confirmed:
            event.set()

    def _append(self, batch: _Batch) -> Awaitable[Appended]:
        claim = self._claim
        return self._store.append(
            claim if claim.tail == batch.first else replace(claim, tail=batch.first),
            batch.append,
            self._options.lease,
        )

    def _bear_refusal(self, since: float | None) -> float:
        """Fail a response for which the store has had no room for too long, *since* when."""
        now = self._time()
        if since is None:
            return now
        if now - since >= self._options.full_timeout:
            self._intake.parse_backlog().end(Trigger.FAIL, FULL)
        return since

    def _with_the_end(self, batch: _Batch) -> _Batch:
        """*batch*, which took no effect, and all that came after it if that is the end."""
        if self._closing is not None or not self._intake.so_far.is_over:
            return batch
        end = self._next_batch().append
        events = (*batch.append.events, *end.events)
        self._closing = _Batch(batch.first, replace(end, events=events, notes=self._notes))
        self._in_flight = self._closing
        return self._closing

    def _after_refusal(self, tail: int, batch: _Batch) -> list[_Batch]:
        """What to send to a store that is full: else its readers would take us for dead."""
        return [_Batch(tail, Append(ttl=self._open_ttl)), *self._from(tail, batch)]

    def _from(self, tail: int, batch: _Batch) -> list[_Batch]:
        """What to send to a store whose tail is *tail*, so that it has all through *batch*."""
        goal = self._closing or batch
        goal = _Batch(goal.first, replace(goal.append, notes=self._notes))  # older ones may be lost
        if tail > goal.end or (goal.append.close and tail == goal.end):
            raise _Lost  # more than we ever sent, or our end's place: another one has our claim
        self._claim = replace(self._claim, tail=tail)
        self._snapshot_at = 0  # and so may be the snapshot
        if tail > goal.first:
            rest = goal.append.events[tail - goal.first :]
            return [_Batch(tail, replace(goal.append, events=rest, token=next(self._tokens)))]
        if tail == goal.first:
            return [goal]
        if not self._resend_buffer.is_complete:
            return [self._give_up(tail)]
        lost = tuple(self._resend_buffer.since(tail))[: goal.first - tail]
        logger.warning("%s: sending %d events again", self._claim.id, len(lost))
        # Whatever the goal brings: before it the upstream was answering, and there is no end.
        again = Append(
            events=lost, token=next(self._tokens), status=Status.IN_PROGRESS, ttl=self._open_ttl
        )
        return [_Batch(tail, again), goal]

    def _give_up(self, tail: int) -> _Batch:
        """The end of a response whose log has a hole that cannot be filled."""
        recorder = self._intake.parse_backlog()
        event, snapshot = recorder.end_at(tail, LOST)
        end = Append(
            events=(event,),
            token=next(self._tokens),
            snapshot=snapshot,
            status=recorder.status,
            notes=self._notes,
            close=True,
            ttl=self.creation.ttl,
            stream_ttl=self.creation.stream_ttl,
        )
        self._closing = _Batch(tail, end)
        return self._closing

    async def _create(self) -> Claim:
        """Make the record, or make it again: at the epoch of our claim, which may be above 1."""
        record = self.creation.record
        if record.epoch != self._claim.epoch:
            record = replace(record, epoch=self._claim.epoch)
        return await self._store.create(record, self._options.lease)

    async def _create_again(self) -> None:
        """Insert the lost record once more, unless it may have been deleted long ago."""
        failures = 0
        while True:
            if self._is_lost or self._may_be_forgotten():
                raise _Lost
            try:
                self._acknowledge(await self._create())
            except StoreUnavailable:
                failures += 1
                await anyio.sleep(_back_off(failures))
            except (AlreadyExists, Deleted, Fenced) as error:
                raise _Lost from error
            else:
                logger.warning("%s: the store lost it; created again", self._claim.id)
                return

    @property
    def _open_ttl(self) -> float:
        return self.creation.record.ttl

    def _may_be_forgotten(self) -> bool:
        """Whether a tombstone may have come and gone since the store last acknowledged."""
        silence = self._time() - self._acknowledged_at
        return silence > self._store.tombstone_ttl - self._options.lease

    def _require_forgetful(self, error: StoreError) -> None:
        """A loss is believed only of a store that can forget."""
        if not self._store.may_lose_writes:
            raise _Lost from error

    async def _erase(self) -> None:
        failures = 0
        while failures < CREATE_ATTEMPTS:
            try:
                await self._store.delete(self._claim.id, claim=self._claim)
            except StoreUnavailable:
                failures += 1
                await anyio.sleep(_back_off(failures))
            else:
                return
        logger.warning("%s: a refused response is left to expire", self._claim.id)

    def _acknowledge(self, claim: Claim) -> None:
        self._claim = claim
        self._acknowledged_at = self._time()

    def _report_trouble(self, failures: int) -> None:
        if failures == 1:
            logger.warning("%s: the store does not answer; retrying", self._claim.id)


def _back_off(failures: int) -> float:
    """Seconds before attempt number *failures* + 1."""
    return min(LONGEST_BACK_OFF, 0.02 * 2.0 ** min(failures, 6))
