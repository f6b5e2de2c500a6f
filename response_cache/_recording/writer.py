"""Writes what a recorder records to the store: in batches, under a claim, and in spite of trouble.

One append of a claim is in flight at a time. Its retry is byte for byte the same and never merged
with newer events, so that its token tells the store a repeated append from a new one. While it is
retried, it is also the heartbeat. What the store answers decides what happens next:

* acknowledged: readers may see it. Keep the batch (packed) where the store may lose writes;
* ``StoreUnavailable``: nothing is known. Wait a little and send the same append again;
* ``StoreFull``: nothing was done. Send a heartbeat, which takes no room, and the same append again.
  If the response has ended meanwhile, send the append and the end as one, which frees more room
  than it takes. After ``full_timeout`` the response fails, so that it has an end;
* ``SequenceGap``: the store lost its newest part, or an earlier append of ours arrived after all.
  ``recovery`` plans what to send;
* ``Missing``: the store lost everything. Create the record again under the same incarnation, as
  long as no tombstone can have expired meanwhile, and send all events again;
* ``Fenced``, ``Deleted``, ``Closed``: another process decided how this response ends. Send nothing.

A writer that was told of another claim writes nothing more, whatever the store remembers.
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

from response_cache._eventloop import clock
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._recording.flush_schedule import FlushSchedule
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.recovery import NoPlan, ResendBuffer, Write, back_off, plan
from response_cache._recording.timers import Timers
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
from response_cache.options import Options
from response_cache.store import NO_EVENTS, Append, Appended, Claim, NewRecord, Store

__all__ = ("LEAST_LIFE", "RENEWALS", "Creation", "Outcome", "Writer")

logger = logging.getLogger("response_cache.writer")

FIRST_SNAPSHOT: Final = 4096
"""Bytes of the log, as it is kept, before the first snapshot that only saves readers work."""

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
    TAKEN = auto()  # another process took, deleted or closed the response
    WITHDRAWN = auto()  # we erased the record: the client was told of a refusal


@dataclass(frozen=True, slots=True)
class Creation:
    """What a response begins with: its record, and what only the writer needs to know."""

    record: NewRecord  # kept, so that it can be created again
    ttl: float  # seconds for which the response can be read after its end
    stream_ttl: float  # seconds for which its events can be read then
    is_streamed: bool = False  # the client that created it reads its events as they come


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
        """*timers*: the timers of all writers that share round trips to *store*."""
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
        self._has_capacity: anyio.Event | None = None  # while an upstream is held back
        self._confirmed: list[anyio.Event] = []  # to set when the store acknowledges once more
        self._is_scheduled = False  # the timer is set to when the next batch may go
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
        self._failures = 0  # of the write in flight, since the store answered last
        self._refused_at: float | None = None  # since when the store has no room for it
        self._in_flight: Write | None = None
        self._closing: Write | None = None
        self.outcome: Outcome | None = None

    # What the job asks of the writer. Only ``confirm`` and ``wait_for_capacity`` wait.

    @property
    def claim(self) -> Claim:
        """The claim, with the tail that the store acknowledged."""
        return self._claim

    def wake(self, now: float | None = None) -> None:
        """There is something new to write, or ``timers`` may fire early.

        *now* is the time, if the caller has just read the clock.
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
        """Erase the record instead of writing more: the client is told of a refusal."""
        self._withdrawn = True
        self._timer.wake()

    def lose(self) -> None:
        """Another process holds the claim: write nothing more, and send nothing again."""
        self._is_lost = True
        self._timer.wake()

    async def confirm(self) -> None:
        """Return when the store has acknowledged the claim once more; never when it is lost."""
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
        """Insert the record. Repeated a few times when the outcome is unknown, which is safe.

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
                await anyio.sleep(back_off(attempt))
            else:
                self._resend_buffer.add(0, self.creation.record.events)
                return

    async def run(self) -> Outcome:
        """Write until the response is closed, or another process holds the claim.

        May be called again after a cancellation: the append that was in flight then goes first,
        unchanged.
        """
        try:
            while self.outcome is None:
                if self._in_flight is None:
                    await self._until_due()
                    if self._withdrawn:
                        await self._erase()
                        self.outcome = Outcome.WITHDRAWN
                        break
                    self._in_flight = self._next_write()
                await self._commit(self._in_flight)
                self._in_flight = None
                if self._closing is not None:
                    self.outcome = Outcome.CLOSED
        except _Lost:
            self.outcome = Outcome.TAKEN
        self._tell_of_capacity()
        return self.outcome

    async def keep(self) -> None:
        """For one lease after the close, restore the response where the store has lost its end.

        Looks as often as a heartbeat comes, and as soon as the store was away. The store may be
        back as an older copy whose lease is over: a reader that sees it takes it for an orphan.
        """
        if (
            not self._store.may_lose_writes
            or self._closing is None
            or self.outcome is not Outcome.CLOSED
        ):
            return
        heartbeat = Write(
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
            return  # the next append waits for the store

    async def _until_due(self) -> None:
        """Sleep until a batch should go: new events at their pace, an end, a heartbeat.

        After a batch of events the timer is set for the next one at once, so that nothing needs to
        be done when its first event comes.
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

    def _next_write(self) -> Write:
        """All events that are pending as one append, with a snapshot where one is due."""
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
        batch = Write(recorder.tail - count, append)
        self._must_confirm = False
        self._expects_more = count > 0
        if is_over:
            self._closing = batch
        return batch

    def _due_snapshot(self, recorder: Recorder) -> bytes | None:
        """The snapshot, at each change of status and each time that the log has doubled.

        So all snapshots together are linear in the length of the log.
        """
        is_due = self._log_bytes >= self._snapshot_at or recorder.status != self._snapshot_status
        if not (recorder.is_over or (is_due and recorder.can_snapshot)):
            return None
        self._snapshot_at = max(FIRST_SNAPSHOT, 2 * self._log_bytes)
        self._snapshot_status = recorder.status
        return recorder.snapshot()

    async def _commit(self, write: Write) -> None:
        """Send *write* until the store has it, and before it what the store has lost."""
        confirmed, self._confirmed = self._confirmed, []
        self._failures, self._refused_at = 0, None
        queue = [write]
        while queue:
            if self._is_lost:
                raise _Lost
            started = self._time()
            try:
                appended = await self._append(queue[0])
            except StoreUnavailable as error:
                if isinstance(error, StoreFull) and not queue[0].is_sign_of_life:
                    write = self._refused(write)
                    queue = self._after_refusal(queue[0].first, write)
                await self._pause(error)
            except (SequenceGap, Missing) as error:
                queue = self._from(await self._found(error, write.first), write)
            except (Fenced, Deleted, Closed) as error:
                raise _Lost from error
            else:
                self._acknowledge(appended.claim)
                now = self._acknowledged_at
                self._schedule.batch_sent(now, now - started, is_watched=appended.is_watched)
                done = queue.pop(0)
                if self._failures and not done.is_sign_of_life:
                    logger.info("%s: the store takes writes again", self._claim.id)
                    self._failures, self._refused_at = 0, None
        self._resend_buffer.add(write.first, write.append.events)
        for event in confirmed:
            event.set()

    def _append(self, write: Write) -> Awaitable[Appended]:
        claim = self._claim
        return self._store.append(
            claim if claim.tail == write.first else replace(claim, tail=write.first),
            write.append,
            self._options.lease,
        )

    # When an append was not acknowledged.

    async def _pause(self, error: StoreUnavailable) -> None:
        """Wait before the next try, longer each time. The log says once that *error* came."""
        self._failures += 1
        if self._failures == 1:
            trouble = "has no room" if isinstance(error, StoreFull) else "does not answer"
            logger.warning("%s: the store %s; retrying", self._claim.id, trouble)
        await anyio.sleep(back_off(self._failures))

    def _refused(self, write: Write) -> Write:
        """What to send instead of *write*, for which the store has no room: the end, if it came.

        A response that was refused for too long fails, so that the end comes.
        """
        now = self._time()
        if self._refused_at is None:
            self._refused_at = now
        elif now - self._refused_at >= self._options.full_timeout:
            self._intake.parse_backlog().end(Trigger.FAIL, FULL)
        if self._closing is not None or not self._intake.so_far.is_over:
            return write
        end = replace(self._next_write().append, notes=self._notes)
        self._in_flight = self._closing = write.ended_by(end)
        return self._closing

    def _after_refusal(self, tail: int, write: Write) -> list[Write]:
        """A heartbeat, else readers of the full store would take us for dead, and *write* again."""
        return [Write(tail, Append(ttl=self._open_ttl)), *self._from(tail, write)]

    async def _found(self, error: SequenceGap | Missing, first: int) -> int:
        """The tail that the store has instead of *first*, after the record was made again."""
        if isinstance(error, SequenceGap):
            if error.tail < first:
                self._require_forgetful(error)
            return error.tail
        self._require_forgetful(error)
        await self._create_again()
        return self._claim.tail

    def _from(self, tail: int, write: Write) -> list[Write]:
        """What to send to a store whose tail is *tail*, so that it has all through *write*."""
        goal = self._closing or write
        goal = Write(goal.first, replace(goal.append, notes=self._notes))  # older ones may be lost
        planned = plan(
            tail, goal, self._resend_buffer, token=next(self._tokens), ttl=self._open_ttl
        )
        if planned is NoPlan.OVERTAKEN:
            raise _Lost
        self._claim = replace(self._claim, tail=tail)
        self._snapshot_at = 0  # the snapshot may be lost as well
        if planned is NoPlan.HOLE:
            return [self._give_up(tail)]
        if tail < goal.first:
            logger.warning("%s: sending %d events again", self._claim.id, goal.first - tail)
        return planned

    def _give_up(self, tail: int) -> Write:
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
        self._closing = Write(tail, end)
        return self._closing

    async def _create(self) -> Claim:
        """Make the record, at first or again, at the epoch of our claim."""
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
                await anyio.sleep(back_off(failures))
            except (AlreadyExists, Deleted, Fenced) as error:
                raise _Lost from error
            else:
                logger.warning("%s: the store lost it; created again", self._claim.id)
                return

    @property
    def _open_ttl(self) -> float:
        return self.creation.record.ttl

    def _may_be_forgotten(self) -> bool:
        """Whether the response may have been deleted, and its tombstone be gone, unknown to us."""
        silence = self._time() - self._acknowledged_at
        return silence > self._store.tombstone_ttl - self._options.lease

    def _require_forgetful(self, error: StoreError) -> None:
        """A store that cannot lose writes has lost none: the record is another process's."""
        if not self._store.may_lose_writes:
            raise _Lost from error

    async def _erase(self) -> None:
        failures = 0
        while failures < CREATE_ATTEMPTS:
            try:
                await self._store.delete(self._claim.id, claim=self._claim)
            except StoreUnavailable:
                failures += 1
                await anyio.sleep(back_off(failures))
            else:
                return
        logger.warning("%s: a refused response is left to expire", self._claim.id)

    def _acknowledge(self, claim: Claim) -> None:
        self._claim = claim
        self._acknowledged_at = self._time()
