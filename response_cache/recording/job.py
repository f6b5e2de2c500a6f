"""One running response: its upstream, its writer and its guard, in one task group.

The job belongs to the process, not to the client that asked for it. Three duties run side by side:
the *upstream* answers, the *writer* gets what is recorded into the store, and the *guard* watches
the claim and the clock. The writer decides: when it is done, so is the response. What is left of
the upstream then depends on who ended it: one that came to its own end may finish its clean-up
(background tasks, billing); one that was cancelled, deleted or cut off by a limit is told that
its client has gone, and cancelled a moment later.
"""

from __future__ import annotations

import logging
import math
import traceback
from typing import Final

import anyio
import anyio.lowlevel

from response_cache.errors import StoreUnavailable, error_body
from response_cache.options import Options
from response_cache.protocol.jsontext import dump
from response_cache.protocol.lifecycle import Trigger
from response_cache.protocol.responses import BROKEN_OFF, Failure
from response_cache.recording.answer import Answer, Upstream
from response_cache.recording.attempt import Attempt, Refusal
from response_cache.recording.intake import Intake
from response_cache.recording.run_state import DECIDED, OVER, Move, RunState, State
from response_cache.recording.writer import Outcome, Writer
from response_cache.store import NO_EVENTS, Claim, Store

__all__ = ("Job",)

logger = logging.getLogger("response_cache.job")

REFUSAL_WAIT: Final = 5.0  # seconds that a refusal's body may take once its headers are there
LATE: Final = 5.0  # seconds after which an upstream that does not stop is reported
SHUTDOWN_ALLOWANCE: Final = 2.0  # seconds for the last write of a job whose process is ending

SHUTTING_DOWN: Final = Failure("The server was shut down while it answered.")
UNANSWERED: Final = Failure("The upstream failed before it answered.")
BROKE: Final = Failure("The upstream failed while it answered.")
INTERNAL: Final = Failure("The server had an internal error.")


class Job:
    """A response being made. ``run`` lasts until it is over and its upstream has ended."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        writer: Writer,
        upstream: Upstream,
        body: bytes,
        *,
        options: Options,
        places: anyio.CapacityLimiter,
        admission_wait: float,
        notes_admission: bool,
    ) -> None:
        """*body* is sent to *upstream* once one of the *places* is free.

        A refusal is waited for *admission_wait* seconds, unless somebody is in a ``hurry``. With
        *notes_admission* others can see in the store that the response was admitted.
        """
        self._store = store
        self._intake = intake
        self._upstream = upstream
        self._body = body
        self._options = options
        self._places = places
        self._admission_wait = admission_wait
        self._notes_admission = notes_admission
        self._started_at: float | None = None
        self._admitting = anyio.CancelScope()
        self._calling = anyio.CancelScope()
        self._guarding = anyio.CancelScope()
        self._ended = anyio.Event()
        self.writer = writer
        self.state = RunState()
        self.refusal: Refusal | None = None
        self._attempt = Attempt(
            intake,
            changed=writer.wake,
            admit=self.admit,
            refuse=self._refuse,
            max_bytes=options.max_response_bytes,
        )

    @property
    def is_admitted(self) -> bool:
        """Whether the client has the response's id."""
        return self.state.current is State.ADMITTED

    def admit(self) -> None:
        """From now on the client has the response's id, and refusals are its failure."""
        if self.state.move(Move.ADMIT) and self._notes_admission:
            self._intake.so_far.note("admitted", True)
            self.writer.write_notes()

    def hurry(self) -> None:
        """Wait no longer for a refusal, unless one has begun to come in: somebody was told."""
        self._admitting.cancel()

    def fail(self, failure: Failure) -> None:
        """End the response for a reason of ours."""
        self._intake.parse_backlog().end(Trigger.FAIL, failure)
        self.writer.wake()

    async def run(self) -> None:
        """Do all of it. Never raises for what an upstream or a store does."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._call)
                tasks.start_soon(self._guard)
                await self.writer.run()
                self._end()
                await self._let_end()
        except Exception:
            self._intake.parse_backlog().end(Trigger.FAIL, INTERNAL)
            raise
        finally:
            try:
                if self.writer.outcome is None:
                    await self._close_in_haste()
            finally:
                self._end()
                self.state.move(Move.FINISH)

    async def _admit_in_time(self) -> None:
        """Wait for a refusal no longer than a client should; the client itself may have gone."""
        if self.state.current not in DECIDED:
            self._admitting.deadline = anyio.current_time() + self._admission_wait
            with self._admitting:
                await self.state.until(DECIDED)
        if self._attempt.is_refusal:
            with anyio.move_on_after(REFUSAL_WAIT):
                await self.state.until(DECIDED)
        self.admit()

    async def _call(self) -> None:
        try:
            with self._calling:
                has_waited = await self._take_place()
                try:
                    if has_waited:  # it may be cancelled by now, and we have not heard of it
                        await self.writer.confirm()
                        await anyio.lowlevel.checkpoint_if_cancelled()
                    self.state.move(Move.CALL)
                    self._started_at = anyio.current_time()
                    self._attempt.begin()
                    await self._ask(self._answer())
                finally:
                    self._places.release()
        finally:
            self._ended.set()
            self.admit()  # what it left undecided is the response's failure

    async def _take_place(self) -> bool:
        """Take a place; whether it had to be waited for. Else no turn of the loop goes by."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._places.acquire()
            return True
        return False

    def _answer(self) -> Answer:
        return Answer(
            self._attempt,
            self._intake,
            changed=self.writer.wake,
            wait_for_capacity=self.writer.wait_for_capacity,
            timers=self.writer.timers,
            buffer_bytes=self._options.buffer_bytes,
        )

    async def _ask(self, answer: Answer) -> None:
        """Call the upstream and see to it that the response has an end afterwards."""
        try:
            await self._upstream(self._body, answer)
        except Exception as error:  # noqa: BLE001 - whatever an app raises is the answer's failure
            if self._attempt.stopped.is_set():
                return
            self._report(error)
            self._broke(BROKE)
        except anyio.get_cancelled_exc_class():
            if _is_cancelled():
                raise
            self._broke(BROKE)  # a task of its own was cancelled, and nobody caught it
        else:
            self._attempt.finish()
            self._broke(BROKEN_OFF)

    def _broke(self, failure: Failure) -> None:
        """The upstream has ended: without a status it refused, else what it left open failed."""
        if self._attempt.status is None:
            self._refuse(_server_error())
        if self.refusal is None:
            self._attempt.fail(failure)

    def _refuse(self, refusal: Refusal) -> bool:
        """Whether the client is told of a refusal; else it is the failure of the response."""
        if self.state.move(Move.REFUSE):
            self.refusal = refusal
            self.writer.withdraw()
        return self.refusal is not None

    async def _guard(self) -> None:
        """Watch the claim, so that a cancel is noticed in silence, and the two time limits.

        Nobody can cancel what nobody was told of, so admission comes first.
        """
        await self._admit_in_time()
        claim = self.writer.claim
        with self._guarding:
            while not self._intake.so_far.is_over:
                with anyio.move_on_after(self._time_left()):
                    try:
                        await self._until_claimed(claim)
                    except StoreUnavailable:
                        await anyio.sleep(0.5)
                self._check_limits()

    async def _until_claimed(self, claim: Claim) -> None:
        """Stop the writer when the claim is another's.

        A wake-up may also mean nothing, or that the store was away: then the lease is renewed.
        """
        await self._store.wait(
            claim.id, after=NO_EVENTS, epoch=claim.epoch, incarnation=claim.incarnation
        )
        view = await self._store.read(claim.id, after=NO_EVENTS)
        is_held = view is None or (view.incarnation, view.epoch) == (claim.incarnation, claim.epoch)
        if not is_held:
            self.writer.lose()
        if view is None or (is_held and not view.closed):
            await self.writer.confirm()  # which also tells a deleted record from a lost one
        else:
            await self.state.until(OVER)  # the writer is about to say how it ended

    def _time_left(self) -> float:
        """Seconds until a limit could be reached. A job that waits for its place has none."""
        options, now = self._options, anyio.current_time()
        if self._started_at is None:
            return min(options.idle_timeout, options.max_duration)
        silent_until = self._attempt.heard_at + options.idle_timeout
        return max(0.0, min(silent_until, self._started_at + options.max_duration) - now)

    def _check_limits(self) -> None:
        if self._started_at is None or self._intake.so_far.is_over:
            return
        options, now = self._options, anyio.current_time()
        if now - self._started_at >= options.max_duration:
            self.fail(Failure(f"The response took longer than {options.max_duration:g} seconds."))
        elif now - self._attempt.heard_at >= options.idle_timeout:
            self.fail(Failure(f"The upstream was silent for {options.idle_timeout:g} seconds."))

    def _end(self) -> None:
        self._guarding.cancel()
        self.state.move(Move.END)

    async def _let_end(self) -> None:
        """Let an upstream that ended by itself run on; stop any other."""
        ended_by_itself = self._intake.so_far.ended_by_upstream or self._attempt.has_ended
        may_run_on = self.writer.outcome is not Outcome.TAKEN and (ended_by_itself or self.refusal)
        if may_run_on and not self._ended.is_set():
            with anyio.move_on_after(self._options.after_end_timeout):
                await self._ended.wait()
        if self._started_at is None:
            self._calling.cancel()  # it waits for its place, and needs none any more
        if self._ended.is_set():
            return
        self._attempt.stop()
        with anyio.move_on_after(self._options.stop_grace):
            await self._ended.wait()
        self._calling.cancel()
        with anyio.move_on_after(LATE):
            await self._ended.wait()
        if not self._ended.is_set():
            logger.warning("%s: the upstream does not stop", self.writer.claim.id)
            await self._ended.wait()
            logger.warning("%s: the upstream has stopped, late", self.writer.claim.id)

    async def _close_in_haste(self) -> None:
        """The process is ending under us: say so in the log, within a bounded time."""
        with anyio.move_on_after(SHUTDOWN_ALLOWANCE, shield=True):
            self._intake.parse_backlog().end(Trigger.FAIL, SHUTTING_DOWN)
            await self.writer.run()

    def _report(self, error: Exception) -> None:
        """Say where it broke, without the message: it may hold content."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
        logger.error(
            "%s: the upstream raised %s at %s", self.writer.claim.id, type(error).__name__, place
        )


def _is_cancelled() -> bool:
    """Whether a scope around us was cancelled."""
    return anyio.current_effective_deadline() == -math.inf


def _server_error() -> Refusal:
    body = dump(error_body(UNANSWERED.message, type="server_error"))
    return Refusal(500, ((b"content-type", b"application/json"),), body)
