"""The jobs of one process: how a response starts here, and how all of them end.

A job's record is made before its upstream is called: of two creates with one idempotency key only
one may call, and pay.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from response_cache._offload import Offload
from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.ids import NO_TRANSLATION, Translation
from response_cache._protocol.requests import CreateRequest
from response_cache._protocol.responses import (
    queued_response,
    require_short_echo,
    unsaid_fields,
)
from response_cache._record import Header, request_bytes
from response_cache._recording.answer import Upstream
from response_cache._recording.bodies.stream_refusals import StreamRefusals
from response_cache._recording.intake import Intake
from response_cache._recording.job import SHUTTING_DOWN, Job
from response_cache._recording.recorder import Recorder
from response_cache._recording.run_state import FINISHED, OVER
from response_cache._recording.takeover import lifetimes
from response_cache._recording.timers import Timers
from response_cache._recording.writer import LEAST_LIFE, Creation, Writer
from response_cache.errors import TooManyRequests, Unavailable
from response_cache.options import Options
from response_cache.store import NewRecord, RecordView, Store

__all__ = ("RETRY_AFTER", "Jobs", "Spawn", "shutting_down")

RETRY_AFTER: Final = 1.0  # seconds after which a request that is refused now may be repeated

Spawn = Callable[[Callable[[], Awaitable[Any]], str], None]
"""Runs a coroutine function in the background of the process, for the response of that id."""


class Jobs:
    """The responses that are being made in this process, by id."""

    def __init__(
        self,
        store: Store,
        options: Options,
        offload: Offload,
        *,
        now: Callable[[], float],
        spawn: Spawn,
    ) -> None:
        self._store = store
        self._options = options
        self._offload = offload
        self._now = now
        self._spawn = spawn
        self._jobs: dict[str, Job] = {}
        self._arrivals = 0  # responses whose record is being made
        self._timers = Timers()
        self._stream_refusals = StreamRefusals(now)
        self._places = anyio.CapacityLimiter(options.max_running)
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, id: object) -> bool:
        return id in self._jobs

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the responses that are being made, or still clean up."""
        return tuple(self._jobs)

    async def start(
        self,
        id: str,
        request: CreateRequest,
        raw: bytes,
        upstream: Upstream,
        body: bytes,
        *,
        owner_id: str | None,
        is_keyed: bool,
        admission_wait: float,
        translation: Translation = NO_TRANSLATION,
    ) -> Job:
        """Insert the record of *request*, received as *raw*, and call *upstream* with *body*.

        *translation* is of the ids in *body*.

        Raises:
            AlreadyExists, Deleted: the id is not free.
            InvalidRequest: it would have to repeat too much of *request*.
            TooManyRequests, Unavailable: there is no room for it, or no store.
            StoreError: the record could not be made.
        """
        with self._arriving():
            creation, recorder = await self._offload.run(
                len(raw), lambda: self._creation(id, request, raw, owner_id, is_keyed=is_keyed)
            )
            intake = Intake(recorder)
            writer = Writer(self._store, creation, intake, self._options, self._timers)
            await writer.create()
        job = Job(
            self._store,
            intake,
            writer,
            upstream,
            body,
            translation=translation,
            offload=self._offload,
            stream_refusals=self._stream_refusals.of(owner_id, creation.record.label),
            options=self._options,
            places=self._places,
            admission_wait=admission_wait,
            notes_admission=is_keyed,
        )
        self._jobs[id] = job
        self._spawn(lambda: self._run(id, job), id)
        return job

    def records(self, view: RecordView) -> bool:
        """Whether a recorder of this process holds the claim that *view* shows."""
        return self.job_of(view) is not None

    def job_of(self, view: RecordView) -> Job | None:
        """The job whose recorder holds the claim that *view* shows, if it is in this process."""
        job = self._jobs.get(view.id)
        if job is None or job.writer.outcome is not None:
            return None
        claim = job.writer.claim
        is_its = (claim.incarnation, claim.epoch) == (view.incarnation, view.epoch)
        return job if is_its else None

    async def finished(self, *ids: str) -> None:
        """Return when the jobs with these *ids* have ended, clean-up included.

        Without *ids*: all jobs that run now. An id without a job is not waited for.
        """
        for job in [self._jobs.get(id) for id in ids or tuple(self._jobs)]:
            if job is not None:
                await job.state.until(FINISHED)

    async def fail_all(self) -> None:
        """End all running responses as failed, and return when the store has it."""
        for job in tuple(self._jobs.values()):
            job.fail(SHUTTING_DOWN)
        for job in tuple(self._jobs.values()):
            await job.state.until(OVER)

    def _creation(
        self, id: str, request: CreateRequest, raw: bytes, owner_id: str | None, *, is_keyed: bool
    ) -> tuple[Creation, Recorder]:
        """What the response begins with, and the recorder that goes on from there."""
        header = Header(
            owner=owner_id,
            store=request.store,
            stream=request.stream,
            created_at=int(self._now()),
            fingerprint=request.fingerprint if is_keyed else None,
        )
        queued = queued_response(request, id=id, created_at=header.created_at)
        dialect = DIALECTS[self._options.dialect]
        snapshot = dialect.dump(queued)
        require_short_echo(queued, len(snapshot), most=self._options.max_echo_bytes)
        recorder = Recorder.begin(
            queued,
            now=self._now,
            max_events=self._options.max_events,
            dialect=dialect,
            unsaid=unsaid_fields(request, queued),
            keep_done_items=self._options.keep_done_items,
        )
        ttl, stream_ttl = lifetimes(header, self._options)
        model = request.body.get("model")
        record = NewRecord(
            id=id,
            incarnation=secrets.token_hex(8),
            header=bytes(header),
            request=request_bytes(raw),
            snapshot=snapshot,
            events=recorder.take(),
            status=recorder.status,
            ttl=max(ttl, LEAST_LIFE),
            owner=owner_id or "",
            label=model if isinstance(model, str) else "",
        )
        creation = Creation(record, ttl, stream_ttl, is_streamed=request.stream)
        return creation, recorder

    @contextmanager
    def _arriving(self) -> Iterator[None]:
        """Keep room for one more response while its record is being made."""
        if self.is_draining:
            raise shutting_down()
        limit = self._options.max_running + self._options.max_waiting
        if len(self._jobs) + self._arrivals >= limit:
            raise TooManyRequests(
                "Too many responses are running and waiting here.", retry_after=RETRY_AFTER
            )
        self._arrivals += 1
        try:
            yield
        finally:
            self._arrivals -= 1

    async def _run(self, id: str, job: Job) -> None:
        try:
            await job.run()
        finally:
            if self._jobs.get(id) is job:
                del self._jobs[id]
        await job.writer.keep()


def shutting_down() -> Unavailable:
    """The refusal of a create that comes while the process drains."""
    return Unavailable("This server is shutting down.", retry_after=RETRY_AFTER)
