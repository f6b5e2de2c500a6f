"""One running response: its upstream, its writer and its guard, in one task group.

The job belongs to the process, not to the client that asked for it. Three duties run side by side:
the *upstream* answers, the *writer* gets what is recorded into the store, and the *guard* watches
the claim and the clock. The writer decides: when it is done, the response has ended. The upstream
may run on then:

* after its own end it may finish its clean-up (background tasks, billing);
* after a cancel, a delete or a limit it is told that its client has gone, and is cancelled a moment
  later.

``run_state`` has the table of the states that a job goes through.
"""

from __future__ import annotations

import logging
import math
import traceback
from typing import Final

import anyio
import anyio.lowlevel

from response_cache._offload import Offload
from response_cache._protocol.ids import Translation
from response_cache._protocol.jsontext import dump
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.requests import without_stream
from response_cache._protocol.responses import BROKEN_OFF, Failure
from response_cache._recording.answer import Answer, Upstream
from response_cache._recording.attempt import Attempt, Refusal
from response_cache._recording.bodies.body import is_success
from response_cache._recording.bodies.stream_refusals import StreamRefusal
from response_cache._recording.intake import Intake
from response_cache._recording.run_state import DECIDED, OVER, Move, RunState, State
from response_cache._recording.writer import Outcome, Writer
from response_cache.errors import StoreUnavailable, error_body
from response_cache.options import Options
from response_cache.store import NO_EVENTS, Claim, Store

__all__ = ("Job",)

logger = logging.getLogger("response_cache.job")

REFUSAL_TIMEOUT: Final = 5.0
"""Seconds for the body of a refusal, once its headers are there or it was announced."""

REPORT_DELAY: Final = 5.0
"""Seconds after which an upstream that does not stop is reported."""

SHUTDOWN_GRACE: Final = 2.0
"""Seconds for the last write of a job whose process is ending."""

STORE_RETRY_INTERVAL: Final = 0.5
"""Seconds until the guard asks a store again that did not answer."""

SHUTTING_DOWN: Final = Failure("The server was shut down while it answered.")
UNANSWERED: Final = Failure("The upstream failed before it answered.")
BROKE: Final = Failure("The upstream failed while it answered.")
INTERNAL: Final = Failure("The server had an internal error.")


class Job:
    """A response being made. ``run`` lasts until the response and its upstream have ended."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        writer: Writer,
        upstream: Upstream,
        body: bytes,
        *,
        translation: Translation,
        offload: Offload,
        stream_refusals: StreamRefusal,
        options: Options,
        places: anyio.CapacityLimiter,
        admission_wait: float,
        notes_admission: bool,
    ) -> None:
        """*body* is sent to *upstream* once one of the *places* is free.

        It asks for a stream. One without is made of it, off the event loop where *offload* says so,
        when *stream_refusals* knows that a stream is refused, or learns it now.
        *translation* is of the ids in *body*: a refusal that names them is put into our own.

        A refusal is waited for during *admission_wait* seconds, or until ``hurry`` is called. With
        *notes_admission* other processes can see in the store that the response was admitted.
        """
        self._store = store
        self._intake = intake
        self._upstream = upstream
        self._body = body
        self._offload = offload
        self._stream_refusals = stream_refusals
        self._options = options
        self._places = places
        self._admission_wait = admission_wait
        self._notes_admission = notes_admission
        self._started_at: float | None = None
        self._admitting = anyio.CancelScope()
        self._awaiting_refusal = anyio.CancelScope()
        self._calling = anyio.CancelScope()
        self._guarding = anyio.CancelScope()
        self._ended = anyio.Event()
        self.writer = writer
        self.state = RunState()
        self.refusal: Refusal | None = None
        self._translation = translation
        self._attempt = self._new_attempt(asks_for_stream=True)

    @property
    def is_admitted(self) -> bool:
        """Whether the client has the response's id."""
        return self.state.current is State.ADMITTED

    def admit(self) -> None:
        """The client gets the response's id: a refusal that comes later is the failure of it."""
        if self.state.move(Move.ADMIT) and self._notes_admission:
            self._intake.so_far.note("admitted", True)
            self.writer.write_notes()

    def hurry(self) -> None:
        """Admit the response now, unless a refusal has begun to come in."""
        self._admission_wait = 0.0
        self._admitting.cancel()

    def fail(self, failure: Failure) -> None:
        """End the response for a reason of ours."""
        self._intake.parse_backlog().end(Trigger.FAIL, failure)
        self.writer.wake()

    async def run(self) -> None:
        """Run all three duties to their end. Never raises for what an upstream or a store does."""
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
        """Wait for a refusal as long as a client should, also where the client has gone.

        A second attempt is waited for as the first one was.
        """
        attempt = None
        while attempt is not self._attempt and self.state.current not in DECIDED:
            attempt = self._attempt
            await self._until_decided()
        self.admit()

    async def _until_decided(self) -> None:
        with anyio.move_on_after(self._admission_wait) as self._admitting:
            await self.state.until(DECIDED)
        if self._attempt.is_refusal:
            with anyio.move_on_after(REFUSAL_TIMEOUT) as self._awaiting_refusal:
                await self.state.until(DECIDED)

    async def _call(self) -> None:
        try:
            with self._calling:
                has_waited = await self._take_place()
                try:
                    if has_waited:  # it may be cancelled by now, which we have not heard of
                        await self.writer.confirm()
                        await anyio.lowlevel.checkpoint_if_cancelled()
                    self.state.move(Move.CALL)
                    self._started_at = anyio.current_time()
                    await self._ask()
                finally:
                    self._places.release()
        finally:
            self._ended.set()
            self.admit()  # what it left undecided is the response's failure

    async def _take_place(self) -> bool:
        """Take a place; whether it had to be waited for. A free one takes no turn of the loop."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._places.acquire()
            return True
        return False

    def _new_attempt(self, *, asks_for_stream: bool) -> Attempt:
        return Attempt(
            self._intake,
            changed=self.writer.wake,
            admit=self.admit,
            refuse=self._refuse,
            max_bytes=self._options.max_response_bytes,
            asks_for_stream=asks_for_stream,
            translation=self._translation,
        )

    def _answer(self) -> Answer:
        return Answer(
            self._attempt,
            self._intake,
            changed=self.writer.wake,
            wait_for_capacity=self.writer.wait_for_capacity,
            timers=self.writer.timers,
            buffer_bytes=self._options.buffer_bytes,
        )

    async def _ask(self) -> None:
        """Ask for a stream, and without one where that is refused. The response has ended then."""
        if self._stream_refusals.is_known:
            self._attempt.asks_for_stream = False
            await self._attempt_with(await self._body_without_stream())
            return
        await self._attempt_with(self._body)
        if self._attempt.refused_stream and self._is_wanted:
            logger.info("%s: a stream is refused, asking without", self.writer.claim.id)
            try:
                await self._ask_again()
            finally:
                if is_success(self._attempt.status or 0):
                    self._stream_refusals.remember()

    @property
    def _is_wanted(self) -> bool:
        is_over = self._intake.so_far.is_over or self.state.current in OVER
        return not is_over and not self._attempt.stopped.is_set()

    async def _body_without_stream(self) -> bytes:
        return await self._offload.run(len(self._body), lambda: without_stream(self._body))

    async def _ask_again(self) -> None:
        """Ask for one document. Whatever is refused now is the outcome."""
        body = await self._body_without_stream()
        if self._is_wanted:
            self._attempt = self._new_attempt(asks_for_stream=False)
            self._awaiting_refusal.cancel()  # what it waited for is not told
            await self._attempt_with(body)

    async def _attempt_with(self, body: bytes) -> None:
        """Call the upstream, and see to it that the response has an end or it is asked again."""
        self._attempt.begin()
        try:
            await self._upstream(body, self._answer())
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
        if self._attempt.refused_stream:
            return
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

        Admission comes first: no client can cancel a response whose id it does not have.
        """
        await self._admit_in_time()
        claim = self.writer.claim
        with self._guarding:
            while not self._intake.so_far.is_over:
                with anyio.move_on_after(self._time_left()):
                    try:
                        await self._until_claimed(claim)
                    except StoreUnavailable:
                        await anyio.sleep(STORE_RETRY_INTERVAL)
                self._check_limits()

    async def _until_claimed(self, claim: Claim) -> None:
        """Stop the writer when the claim is another's.

        A wake-up may also mean nothing, or that the store was away. Then the lease is renewed.
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
        # Sums, as in ``_time_left``: a difference may be rounded to less, and the guard would spin.
        if now >= self._started_at + options.max_duration:
            self.fail(Failure(f"The response took longer than {options.max_duration:g} seconds."))
        elif now >= self._attempt.heard_at + options.idle_timeout:
            self.fail(Failure(f"The upstream was silent for {options.idle_timeout:g} seconds."))

    def _end(self) -> None:
        self._guarding.cancel()
        self.state.move(Move.END)

    async def _let_end(self) -> None:
        """Let an upstream that came to its own end run on for a while; stop any other."""
        ended_by_itself = self._intake.so_far.ended_by_upstream or self._attempt.has_ended
        may_run_on = self.writer.outcome is not Outcome.TAKEN and (ended_by_itself or self.refusal)
        if may_run_on and not self._ended.is_set():
            with anyio.move_on_after(self._options.after_end_timeout):
                await self._ended.wait()
        if self._started_at is None:
            self._calling.cancel()  # it waits for a place that it does not need any more
        if self._ended.is_set():
            return
        self._attempt.stop()
        with anyio.move_on_after(self._options.stop_grace):
            await self._ended.wait()
        self._calling.cancel()
        with anyio.move_on_after(REPORT_DELAY):
            await self._ended.wait()
        if not self._ended.is_set():
            logger.warning("%s: the upstream does not stop", self.writer.claim.id)
            await self._ended.wait()
            logger.warning("%s: the upstream has stopped, late", self.writer.claim.id)

    async def _close_in_haste(self) -> None:
        """The process is ending: write that into the log, within a bounded time."""
        with anyio.move_on_after(SHUTDOWN_GRACE, shield=True):
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
