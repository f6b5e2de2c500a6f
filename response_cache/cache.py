"""The six verbs of the API: create, retrieve, stream, cancel, delete, list input items.

A ``ResponseCache`` belongs to one process (one event loop) and hosts the responses that are made
in it. It knows neither HTTP nor the framework: ``http`` speaks for it, adapters carry the words.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from response_cache._fold.reducer import fold
from response_cache._offload import Offload
from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.ids import NO_TRANSLATION, Owner, Translation
from response_cache._protocol.input_items import Paging, page_of
from response_cache._protocol.jsontext import JsonObject, dump, load
from response_cache._protocol.lifecycle import TERMINAL, Status, Trigger
from response_cache._protocol.requests import (
    CACHE_OPTIONS,
    PREVIOUS,
    CreateRequest,
    references,
    upstream_body,
)
from response_cache._protocol.sse import payload
from response_cache._reading.partial_output import shows_all, visible
from response_cache._reading.reader import Reader
from response_cache._reading.tails import PAGE_EVENTS, Tails
from response_cache._record import header_of, request_of
from response_cache._recording.answer import Upstream
from response_cache._recording.attempt import Refusal
from response_cache._recording.job import Job
from response_cache._recording.jobs import RETRY_AFTER, Jobs, shutting_down
from response_cache._recording.orphans import Orphans
from response_cache._recording.run_state import DECIDED, OVER
from response_cache._recording.takeover import end_as
from response_cache.errors import (
    AlreadyExists,
    Deleted,
    Fenced,
    IdempotencyConflict,
    InvalidRequest,
    Missing,
    NotCancellable,
    NotFound,
    NotRecorded,
    NotStreamable,
    PreviousResponseNotFound,
    StoreFull,
    StoreUnavailable,
    TooManyRequests,
    Unavailable,
)
from response_cache.options import DialectName, Options, PartialOutput
from response_cache.store import NO_EVENTS, RecordView, Store
from response_cache.stores import store_of

__all__ = ("Created", "ResponseCache", "body_of")

logger: Final = logging.getLogger("response_cache")

FIRST_LOOK: Final = 0.05  # seconds until a look whether a response to be joined was admitted
LONGEST_LOOK: Final = 1.0  # seconds between two of them: each pause is twice the one before
DELETE_ATTEMPTS: Final = 3
_warned_of: Final[set[str]] = set()  # stores
MAX_VISIBLE: Final = 10_000  # responses that are remembered to be visible to an owner
_LONGEST_OWNER: Final = 128  # characters of an owner that is remembered: owners may be the app's
LEAST_ALLOWANCE: Final = 0.2  # seconds of a drain for the store to take the end of what still runs

UNREACHABLE: Final = "The response store cannot be reached at the moment."
OF_ANOTHER_RELEASE: Final = "The response of this Idempotency-Key is of another release."
UNANSWERED: Final = "The first request with this Idempotency-Key was not answered yet."
TOO_OLD: Final = (  # do not fix: the upstream's own wording, whatever stream_ttl says
    "This response can no longer be streamed because it is more than 5 minutes old"
)
NOT_CANCELLABLE: Final = {
    Status.COMPLETED: "Cannot cancel a completed response.",
    Status.FAILED: "Cannot cancel a failed response.",
    Status.INCOMPLETE: "Cannot cancel a response in terminal state.",
}
"""What a cancel is told by the status it finds, in OpenAI's wording."""


@dataclass(frozen=True, slots=True)
class Created:
    """A response that was accepted, or found under its idempotency key."""

    id: str
    body: bytes  # the Response object as it is answered to the create


def body_of(
    view: RecordView, dialect: DialectName = "openai", partial_output: PartialOutput = "text"
) -> bytes:
    """The Response object of a whole *view* as JSON, as a poll shows it.

    *dialect* and *partial_output* are options of the cache that the view is from.

    Raises:
        ValueError: the view was read from a cursor, so it has no snapshot.
    """
    if view.snapshot is None:
        raise ValueError("a page read from a cursor has no snapshot")
    if not view.events and (view.closed or shows_all(view.snapshot, partial_output)):
        return view.snapshot
    events = (load(payload(event)) for event in view.events)
    form = DIALECTS[dialect]
    response = fold(form.load(view.snapshot), events)
    return form.dump(response if view.closed else visible(response, partial_output))


class ResponseCache:
    """Background responses over one store. Use as an async context manager.

    All verbs may raise ``Unavailable`` (the store does not answer); those with an id raise
    ``NotFound`` for what does not exist for this owner.
    """

    def __init__(
        self,
        store: Store | str = "memory://",
        options: Options | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """*store* is a store or its URL; it is opened and closed with the cache.

        *now* gives Unix seconds.

        Raises:
            ValueError: the URL names no known store.
        """
        self.options: Options = options or Options()
        self.store: Store = store_of(store, dialect=self.options.dialect)
        self._ids = DIALECTS[self.options.dialect].ids
        self.is_draining: bool = False
        self._drained_by = math.inf  # by the event loop's clock
        self._now = now
        self._visible: dict[tuple[str, str | None], None] = {}  # which response to whom; a set
        self._waits: set[anyio.CancelScope] = set()  # of polls that wait for a change
        self._tasks: TaskGroup | None = None
        self._offload = Offload()
        self._jobs = Jobs(self.store, self.options, self._offload, now=now, spawn=self._spawn)
        self._orphans = Orphans(
            self.store, self.options, now=now, is_ours=self._jobs.records, spawn=self._spawn
        )
        self._reader = Reader(self.store, self._orphans)
        self._tails = Tails(
            self._reader, self.options, spawn=lambda tail: self._spawn(tail.run, tail.id)
        )

    @property
    def running(self) -> int:
        """How many responses are being made in this process, or still clean up."""
        return len(self._jobs)

    @property
    def running_ids(self) -> tuple[str, ...]:
        """Their ids."""
        return self._jobs.ids

    async def finished(self, id: str) -> None:
        """Return when this process no longer makes the response, its upstream's clean-up included.

        At once if it does not make it.
        """
        await self._jobs.finished(id)

    async def __aenter__(self) -> ResponseCache:
        await self.store.open()
        self._warn_of_no_secret()
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = self._tasks
        if tasks is None:
            return
        try:
            if error is None:
                await self.drain()
        finally:
            tasks.cancel_scope.cancel()
            try:  # without the error, which so stays what it is and is raised as it came
                await tasks.__aexit__(None, None, None)
            finally:
                self._tasks = None
                with anyio.CancelScope(shield=True):
                    await self.store.aclose()

    # The verbs.

    async def create(
        self,
        request: CreateRequest,
        raw: bytes,
        upstream: Upstream,
        *,
        owner: Owner,
        key: str | None = None,
        wait: float = 0.0,
    ) -> Created | Refusal:
        """Record a response, call *upstream* for it, and return when it is admitted or refused.

        *raw* is the request's body as received. With an idempotency *key* of an *owner*, the same
        request joins the response that the first one made. A refusal is waited for as long as
        ``admission_wait`` says, or for *wait* seconds if that is longer and the process does not
        drain. The job goes on whatever becomes of the caller.

        Raises:
            IdempotencyConflict: the key was used for another body, or its response was deleted.
            Unavailable: also where the request to be joined is not admitted for so long that it
                may be repeated.
            PreviousResponseNotFound, InvalidRequest: a response that the request names cannot be
                continued, or not be compared with.
            TooManyRequests: as many responses run and wait in this process as may.
        """
        is_keyed = key is not None and owner.id is not None
        admission_wait = max(wait, self.options.admission_wait)
        while True:
            id = self._id_for(owner, key)
            try:
                with anyio.CancelScope(shield=True):  # the poster may leave: the job starts
                    job = await self._start(
                        id,
                        request,
                        raw,
                        upstream,
                        owner,
                        is_keyed=is_keyed,
                        admission_wait=admission_wait,
                    )
            except AlreadyExists:
                joined = await self._join(id, request, len(raw), admission_wait)
                if joined is not None:
                    return joined
            except (TooManyRequests, InvalidRequest):
                # A repeat takes no room, and needs no previous response any more.
                joined = (
                    await self._join(id, request, len(raw), admission_wait) if is_keyed else None
                )
                if joined is None:
                    raise
                return joined
            else:
                if wait > self.options.admission_wait:
                    await self._decision(job, wait)
                else:
                    await job.state.until(DECIDED)  # the job itself sees to it
                if job.refusal is not None:
                    return job.refusal
                self._remember(id, owner)
                return Created(id, job.writer.creation.record.snapshot)

    async def retrieve(
        self, id: str, owner: Owner, *, after: int | None = None, limit: int | None = None
    ) -> RecordView:
        """The response as the store has it now (see ``Store.read``), for ``body_of``.

        An owner who was not seen with it before is looked at before its contents are read, so
        that a stranger costs one small read, however long the response is.
        """
        is_known = owner.is_admin or (id, owner.id) in self._visible
        if not is_known and after != NO_EVENTS:
            await self.retrieve(id, owner, after=NO_EVENTS)
        try:
            view = await self._reader.view(id, after=after, limit=limit)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        header = None if view is None else header_of(view.header)
        if view is None or header is None:
            self._explain(id)
            raise NotRecorded.of(id)
        if not owner.may_see(header.owner):
            self._visible.pop((id, owner.id), None)  # it was created anew since
            raise NotFound.of(id)
        if not is_known:
            self._remember(id, owner)
        return view

    def _remember(self, id: str, owner: Owner) -> None:
        """That *owner* may see the response; of too many the one noted first is forgotten."""
        if owner.is_admin or len(owner.id or "") > _LONGEST_OWNER:
            return
        self._visible[id, owner.id] = None
        if len(self._visible) > MAX_VISIBLE:
            del self._visible[next(iter(self._visible))]

    async def body(self, view: RecordView) -> bytes:
        """The same as ``body_of``; what is long is done in a thread."""
        dialect, partial_output = self.options.dialect, self.options.partial_output
        is_stored = view.closed and not view.events
        size = 0 if is_stored else len(view.snapshot or b"")
        return await self._offload.run(size, lambda: body_of(view, dialect, partial_output))

    async def change(self, view: RecordView, within: float) -> None:
        """Return when the response has moved on from *view*, or after *within* seconds.

        May return for no reason; it does when the process drains.
        """
        pause = self.options.orphan_confirmation / 2 if view.orphaned else within
        with self._waiting(min(within, pause, self.options.lease)):
            try:
                await self._reader.change(view)
            except StoreUnavailable as error:
                raise _unavailable(error) from error

    async def stream(self, id: str, owner: Owner, *, after: int = -1) -> AsyncGenerator[bytes]:
        """The events numbered above *after*, then live ones until the end, as SSE frames.

        ``b""`` comes in place of frames after each ``keep_alive`` seconds of silence. Close the
        generator when the reader has gone. It returns only when the log is complete and delivered;
        where it cannot be, it raises ``StreamBroken``: then break the connection.

        Raises:
            NotStreamable: the log has expired, though the response has not.
            Unavailable: also when there are ``max_streams`` open, or the process drains.
        """
        view = await self.retrieve(id, owner, after=after, limit=PAGE_EVENTS)
        if view.log_expired:
            raise NotStreamable(TOO_OLD)
        if self.is_draining and not view.closed and id not in self._jobs:
            raise shutting_down()
        self.require_stream_room()
        return self._tails.follow(view)

    def require_stream_room(self) -> None:
        """Raise ``Unavailable`` when as many streams are open in this process as may be."""
        if self._tails.open >= self.options.max_streams:
            raise Unavailable("Too many streams are open here.", retry_after=RETRY_AFTER)

    async def cancel(self, id: str, owner: Owner) -> bytes:
        """End the response as cancelled and stop its upstream; the Response object as it is then.

        Cancelling twice is answered without a write.

        Raises:
            NotCancellable: it is over already, in another way.
        """
        view = await self.retrieve(id, owner)
        if Status(view.status) not in TERMINAL:
            try:
                view = await end_as(
                    Trigger.CANCEL, id, store=self.store, options=self.options, now=self._now
                )
            except Missing:
                raise NotFound.of(id) from None
            except StoreUnavailable as error:
                raise _unavailable(error) from error
        if Status(view.status) is Status.CANCELLED:
            return body_of(view, self.options.dialect)
        raise NotCancellable(NOT_CANCELLABLE[Status(view.status)], param="response_id")

    async def delete(self, id: str, owner: Owner) -> None:
        """Erase the response; a running upstream is stopped and open streams break."""
        await self.retrieve(id, owner, after=NO_EVENTS)
        for attempt in range(1, DELETE_ATTEMPTS + 1):
            try:
                was_there = await self.store.delete(id)
            except StoreUnavailable as error:
                if attempt == DELETE_ATTEMPTS:
                    raise _unavailable(error) from error
                await anyio.sleep(0.05 * attempt)
            else:
                if was_there or attempt > 1:
                    return
                raise NotFound.of(id)

    async def input_items(self, id: str, owner: Owner, paging: Paging) -> bytes:
        """One page of what the response was asked, as the API's list envelope."""
        await self.retrieve(id, owner, after=NO_EVENTS)
        try:
            raw = await self.store.request(id)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if raw is None:
            raise NotFound.of(id)
        return await self._offload.run(len(raw), lambda: _listed(raw, id, paging))

    async def _translation(self, body: JsonObject, owner: Owner) -> Translation:
        """The upstream's own ids of our responses that the request *body* names.

        Raises:
            PreviousResponseNotFound, InvalidRequest: see ``upstream_id``.
        """
        theirs = {}
        for field, id in references(body).items():
            known = await self.upstream_id(id, owner, param=field)
            if known is not None:
                theirs[id] = known
        return Translation(theirs)

    async def upstream_id(
        self, id: str | None, owner: Owner, *, param: str = PREVIOUS
    ) -> str | None:
        """The upstream's own id of one of our responses; None for an id that is not ours.

        *param* is the field of the request that names it.

        Raises:
            PreviousResponseNotFound: not there, not the owner's, or the upstream gave no id.
            InvalidRequest: it is not over yet.
        """
        if id is None or not self._ids.are_ours(id):
            return None
        try:
            view = await self.retrieve(id, owner, after=NO_EVENTS)
        except NotFound:
            view = None
        if view is not None and not view.closed:
            use = "continued" if param == PREVIOUS else "compared with"
            raise InvalidRequest(
                f"Previous response '{id}' cannot be {use}: it is {view.status}.", param=param
            )
        upstream_id = load(view.notes).get("upstream_id") if view and view.notes else None
        if upstream_id is None:
            raise PreviousResponseNotFound(
                f"Previous response with id '{id}' not found.", param=param
            )
        return str(upstream_id)

    async def drain(self, within: float | None = None) -> None:
        """Take no more work and see the running work to an end, in *within* seconds.

        Running responses may end by themselves for most of that time (``drain_timeout`` when not
        given); what is left then ends ``failed``. As long are readers served of responses that
        other processes record; those that are left then are broken off, so that they resume
        elsewhere. Returns as soon as there is nothing left to wait for. May be called again, and
        then gets no more time than is left.
        """
        now = anyio.current_time()
        within = self.options.drain_timeout if within is None else within
        self._drained_by = min(self._drained_by, now + within)
        within = max(0.0, self._drained_by - now)
        self.is_draining = self._jobs.is_draining = True
        for scope in tuple(self._waits):
            scope.cancel()
        allowance = min(within / 2, max(LEAST_ALLOWANCE, min(1.0, within / 10)))
        with anyio.move_on_after(within - allowance):
            await self._jobs.finished()
            await self._tails.settled()
        self._tails.break_all(but=self._jobs)
        with anyio.move_on_after(allowance):
            await self._jobs.fail_all()
            await self._tails.settled()
        self._tails.break_all()

    async def _start(
        self,
        id: str,
        request: CreateRequest,
        raw: bytes,
        upstream: Upstream,
        owner: Owner,
        *,
        is_keyed: bool,
        admission_wait: float,
    ) -> Job:
        named = NO_TRANSLATION
        if PREVIOUS in request.body or CACHE_OPTIONS in request.body:
            named = await self._translation(request.body, owner)
        body = await self._offload.run(len(raw), lambda: upstream_body(request, named.theirs))
        try:
            return await self._jobs.start(
                id,
                request,
                raw,
                upstream,
                body,
                owner_id=owner.id,
                translation=named,
                is_keyed=is_keyed,
                admission_wait=admission_wait,
            )
        except Deleted:
            raise IdempotencyConflict("The response of this Idempotency-Key was deleted.") from None
        except (StoreUnavailable, Fenced) as error:
            raise _unavailable(error) from error

    @contextmanager
    def _waiting(self, within: float) -> Iterator[None]:
        """At most *within* seconds, and ended when the process begins to drain."""
        with anyio.move_on_after(within) as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)

    async def _decision(self, job: Job, within: float) -> None:
        """Return when the upstream has accepted or refused; seen to after *within* seconds."""
        if not self.is_draining:
            with self._waiting(within):
                await job.state.until(DECIDED)
        job.hurry()
        await job.state.until(DECIDED)

    async def _join(
        self, id: str, request: CreateRequest, size: int, admission_wait: float
    ) -> Created | None:
        """The response that the same request made before; None when it was refused meanwhile.

        The first request's admission is waited for: for *admission_wait* seconds where that can end
        it, and elsewhere for as long as it takes to see that its process is gone.
        """
        fingerprint = await self._offload.run(size, lambda: request.fingerprint)
        now = anyio.current_time()
        until = now + admission_wait
        last = max(until, now + self.options.lease + 2 * self.options.orphan_confirmation)
        pause = FIRST_LOOK
        while True:
            try:
                view = await self._reader.view(id)
            except StoreUnavailable as error:
                raise _unavailable(error) from error
            if view is None:
                return None
            header = header_of(view.header)
            if header is None:
                raise Unavailable(OF_ANOTHER_RELEASE, retry_after=RETRY_AFTER)
            if header.fingerprint != fingerprint:
                raise IdempotencyConflict(
                    "This Idempotency-Key was used before with another body.", param=None
                )
            job = self._jobs.job_of(view)
            if _is_admitted(view) or (job is not None and job.is_admitted):
                return Created(id, await self.body(view))
            now = anyio.current_time()
            if now >= last:
                raise Unavailable(UNANSWERED, retry_after=RETRY_AFTER)
            if job is None:
                await self.change(view, min(pause, last - now))
                pause = min(2 * pause, LONGEST_LOOK)
                continue
            await self._decision(job, until - now)
            if job.refusal is not None:
                with anyio.move_on_after(last - now):
                    await job.state.until(OVER)  # now its record is gone

    def _id_for(self, owner: Owner, key: str | None) -> str:
        tag = self.store.id_tag
        if key is None or owner.id is None:
            return self._ids.new(tag)
        return self._ids.keyed(tag, self.options.secret.get_secret_value(), owner.id, key)

    # Hosting.

    def _spawn(self, run: Callable[[], Awaitable[Any]], id: str) -> None:
        """Run in the background. A fault of ours ends that one response, not the process."""

        async def guarded() -> None:
            try:
                await run()
            except Exception:
                logger.exception("%s: an internal error", id)

        if self._tasks is None:
            raise RuntimeError("the ResponseCache is not open: use it as an async context manager")
        self._tasks.start_soon(guarded, name=f"response_cache {id}")

    def _warn_of_no_secret(self) -> None:
        """Say it once for each store that outlives this process: others may come to read it."""
        name = repr(self.store)
        if self.store.id_tag or self.options.secret.get_secret_value() or name in _warned_of:
            return
        _warned_of.add(name)
        logger.warning(
            "no secret is set: whoever can read %s can find out by trial whose credentials and"
            " which Idempotency-Keys its responses belong to (option secret)",
            name,
        )

    def _explain(self, id: str) -> None:
        if self._ids.is_elsewhere(id, self.store.id_tag):
            logger.warning(
                "%s was created by another process or before a restart, and this store is not "
                "shared: use one worker, or a store that all workers reach",
                id,
            )


def _listed(raw: bytes, id: str, paging: Paging) -> bytes:
    """A page of the input items in the request that is kept as *raw*."""
    request = request_of(raw)
    if request is None:
        raise NotFound.of(id)
    return dump(page_of(request, id, paging))


def _is_admitted(view: RecordView) -> bool:
    """Whether somebody was told of the response already, as far as the store knows."""
    is_noted = bool(view.notes) and load(view.notes or b"").get("admitted") is True
    return is_noted or view.status != Status.QUEUED


def _unavailable(error: Exception) -> Unavailable:
    message = "The response store is full." if isinstance(error, StoreFull) else UNREACHABLE
    return Unavailable(message, retry_after=RETRY_AFTER)
