"""What an upstream sees: the answer that it gives to one request, piece by piece.

An adapter writes into it whatever it wraps answers. The body may be an event stream in any
chunking, a Response object, an error, compressed or not, or nothing at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from response_cache._protocol.lifecycle import Status
from response_cache._recording.attempt import Attempt
from response_cache._recording.bodies.body import too_long
from response_cache._recording.intake import (
    MAX_BACKLOG_BYTES,
    SHORTEST_TERMINAL_EVENT,
    TERMINAL_MARKER,
    Intake,
)
from response_cache._recording.timers import Timers

__all__ = ("Answer", "Upstream", "UpstreamStopped")


class UpstreamStopped(OSError):
    """Nobody wants the rest of this answer: the response was cancelled, deleted or limited.

    An ``OSError``, as a server raises for a client that has gone (ASGI specification, HTTP).
    """


class Upstream(Protocol):
    """What really answers. Called with the body to send it: once for each response, and a second
    time, with another body and another answer, where it has refused ``stream: true``.

    It returns when the answer has ended, raises what went wrong, and is cancelled when it must
    stop. Before that ``answer.stopped`` is set, and ``answer.write`` and ``answer.relay`` raise
    ``UpstreamStopped``.
    """

    async def __call__(self, body: bytes, answer: Answer, /) -> None: ...


class Answer:
    """The answer of one upstream to one request."""

    def __init__(
        self,
        attempt: Attempt,
        intake: Intake,
        *,
        changed: Callable[[float], None],
        wait_for_capacity: Callable[[], Awaitable[None]],
        timers: Timers,
        buffer_bytes: int,
    ) -> None:
        """What is written goes to *intake*; *attempt* is what the job knows of it.

        *changed* is called with the time when there is something to write to the store. *timers*
        may fire early when a chunk comes: *changed* sees to it. While more than *buffer_bytes*
        wait for the store, a writer is held back by *wait_for_capacity*.
        """
        self._attempt = attempt
        self._intake = intake
        self._changed = changed
        self._wait_for_capacity = wait_for_capacity
        self._timers = timers
        self._buffer_bytes = buffer_bytes
        self._time = attempt.time
        self._traffic = attempt.traffic
        self._backlog = intake.backlog
        self._yield_at = MAX_BACKLOG_BYTES
        self.stopped: anyio.Event = attempt.stopped  # set when nobody wants the rest
        self.left: anyio.Event = attempt.left  # set then, and by adapters when the app has ended

    @property
    def id(self) -> str:
        """The id of the response that this answers."""
        return self._intake.so_far.id

    def admitted(self) -> None:
        """The upstream has accepted the request, though its headers have not come yet."""
        self._attempt.admit()

    def refusing(self) -> None:
        """The upstream means to refuse the request, though its headers have not come yet.

        A client that waits for the outcome waits a few seconds longer. ``start`` decides; without
        it the answer is the failure of the upstream.
        """
        self._attempt.refusing()

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status line and headers have come. The body follows, by ``write`` or ``relay``."""
        self._attempt.start(status, headers)

    def finish(self) -> None:
        """The body has ended; a response that it left open has failed. May be called twice."""
        self._attempt.finish()

    def require_wanted(self) -> None:
        """Raise ``UpstreamStopped`` when the rest is not wanted."""
        if self._traffic.is_stopped:
            raise UpstreamStopped("the response was ended")

    def note(self, name: str, value: Any) -> None:
        """Keep something about the run as JSON: for operators (``RecordView.notes``), not clients.

        It is stored with the next events. What comes after the terminal event is too late: it is
        dropped. A later value of the same name replaces the earlier one.
        """
        if not self._intake.so_far.is_over:
            self._intake.so_far.note(name, value)

    async def relay(self, chunks: AsyncIterable[bytes]) -> None:
        """Write each of *chunks* as it comes, which costs less than to call ``write`` for each.

        The caller closes *chunks* when this raises.

        Raises:
            UpstreamStopped: the rest is not wanted.
        """
        async for chunk in chunks:
            if not self._put_in_backlog(chunk):
                await self._write(chunk)

    async def write(self, chunk: bytes) -> None:
        """A piece of the body. Waits while the store is behind by more than the buffer.

        Raises:
            UpstreamStopped: the rest is not wanted.
        """
        if not self._put_in_backlog(chunk):
            await self._write(chunk)

    def _put_in_backlog(self, chunk: bytes) -> bool:
        """Whether *chunk* ends nothing and only went to the backlog.

        Little else is done so often, and mostly by a process that has just woken up for it. For
        bytes, ``partition`` finds faster than ``in`` and ``find``, which spend it on arguments.
        """
        traffic = self._traffic
        length = len(chunk)
        size = traffic.size + length
        if size > traffic.plain_until or (
            length > SHORTEST_TERMINAL_EVENT and chunk.partition(TERMINAL_MARKER)[1]
        ):
            return False
        traffic.size = size
        traffic.heard_at = now = self._time()
        is_first = not self._backlog
        self._backlog.append(chunk)
        if is_first or now >= self._timers.earliest:
            self._changed(now)
        return True

    async def _write(self, chunk: bytes) -> None:
        """The same with every question asked."""
        traffic, intake = self._traffic, self._intake
        if traffic.is_stopped:
            self.require_wanted()
        traffic.heard_at = now = self._time()
        body = self._attempt.body
        if intake.so_far.is_over or body is None:
            await anyio.lowlevel.checkpoint()  # a task that is about to stop it must get to it
            return
        traffic.size += len(chunk)
        if traffic.size <= traffic.limit:
            body.feed(chunk)
        else:
            self._attempt.fail(too_long(traffic.limit))
        self._changed(now)
        traffic.plain_until = -1
        if self._attempt.body is intake and intake.so_far.status is Status.IN_PROGRESS:
            stride = min(MAX_BACKLOG_BYTES, self._buffer_bytes)
            traffic.plain_until = min(traffic.size + stride, traffic.limit)
        if intake.pending_bytes > self._buffer_bytes:
            await self._hold()
        elif traffic.size >= self._yield_at:
            self._yield_at = traffic.size + MAX_BACKLOG_BYTES
            await anyio.lowlevel.checkpoint()

    async def _hold(self) -> None:
        traffic = self._traffic
        traffic.is_held = True
        try:
            await self._wait_for_capacity()
        finally:
            traffic.is_held = False
            traffic.heard_at = self._time()
