"""Automatic pipelining: calls of many responses at the same time travel in one pipeline.

All calls to one node in one turn of the event loop are sent together. When as many pipelines are
on their way as there are connections, further calls wait and go with the next one. So the busier a
process is, the less each call costs. When the last pipeline had one call, the next call is sent at
once and does not wait for the end of the turn.

When a caller is cancelled, the pipeline goes on for the other calls. Each call gets its reply, or
fails, within one time-out. A pipeline has as much time as its oldest call has left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from redis.exceptions import NoScriptError

from response_cache.stores.redis._callbacks import Cancel, Send
from response_cache.stores.redis._errors import DRIVER_ERRORS, Attempt, safe_cause, translated
from response_cache.stores.redis._scripts import Argument, Command, Script

__all__ = ("AutoPipeline",)

# A larger pipeline is no more efficient, and its first call waits for its last.
PIPELINE_BYTES: Final = 1 << 20
PIPELINE_CALLS: Final = 200


@dataclass(slots=True)
class _Call:
    """One call of a script, and the future of its reply."""

    script: Script
    command: Command  # EVALSHA
    attempt: Attempt
    reply: asyncio.Future[Any]
    deadline: float  # by the clock of the event loop

    def fail(self, error: BaseException) -> None:
        if self.reply.done():  # the caller was cancelled
            return
        if isinstance(error, DRIVER_ERRORS):
            raised = translated(error, self.attempt)
            raised.__cause__ = safe_cause(error)
            self.reply.set_exception(raised)
        else:
            self.reply.set_exception(error)


@dataclass(slots=True, eq=False)
class _Pipeline:
    """Calls that are sent together, the oldest first."""

    calls: Sequence[_Call]
    commands: Sequence[Command]
    cancel: Cancel | None = None  # while it is on its way

    @property
    def deadline(self) -> float:
        return self.calls[0].deadline


class AutoPipeline:
    """Sends calls of scripts to one node, many at a time."""

    def __init__(self, send: Send, *, pipelines: int, timeout: float) -> None:
        """At most *pipelines* are on their way at a time; each call has *timeout* seconds."""
        self._send = send
        self._pipelines = pipelines
        self._timeout = timeout
        self._waiting: deque[_Call] = deque()
        self._in_flight: set[_Pipeline] = set()
        self._is_scheduled = False
        self._was_single = False  # the last pipeline had one call
        self._timer: asyncio.TimerHandle | None = None  # at or before the first deadline

    def call(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], attempt: Attempt
    ) -> asyncio.Future[Any]:
        """The reply of *script*, to be awaited. *attempt* stands in the messages of errors.

        Raises:
            StoreUnavailable: when it is awaited: no reply, or an error reply. The script may have
                been carried out.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        command = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
        call = _Call(script, command, attempt, reply, loop.time() + self._timeout)
        if self._was_single and not (self._in_flight or self._waiting):
            self._start(loop, _Pipeline((call,), (command,)))
        else:
            self._waiting.append(call)
            self._schedule(loop)
        return reply

    def close(self) -> None:
        """Cancel all pipelines; every call without a reply fails."""
        closed = ConnectionError("the store was closed")
        for pipeline in [*self._in_flight]:
            self._cancel(pipeline, closed)
        _fail(self._waiting, closed)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send at the end of this turn of the loop, together with the other calls of the turn."""
        if not self._is_scheduled and len(self._in_flight) < self._pipelines:
            self._is_scheduled = True
            loop.call_soon(self._send_waiting, loop)

    def _send_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        while self._waiting and len(self._in_flight) < self._pipelines:
            calls = self._next_calls()
            self._was_single = len(calls) == 1
            if calls:
                self._start(loop, _Pipeline(calls, [call.command for call in calls]))

    def _next_calls(self) -> list[_Call]:
        """The calls of the next pipeline, without cancelled ones."""
        calls: list[_Call] = []
        size = 0
        while self._waiting and size < PIPELINE_BYTES and len(calls) < PIPELINE_CALLS:
            call = self._waiting.popleft()
            if not call.reply.done():
                calls.append(call)
                size += _size(call.command)
        return calls

    def _start(self, loop: asyncio.AbstractEventLoop, pipeline: _Pipeline) -> None:
        try:
            on_replies = partial(self._on_replies, loop, pipeline)
            pipeline.cancel = self._send(pipeline.commands, on_replies)
        except Exception as error:  # noqa: BLE001 - whatever it is, no caller must wait for ever
            _fail(pipeline.calls, error)
            return
        self._in_flight.add(pipeline)
        if self._timer is None:
            self._timer = loop.call_at(pipeline.deadline, self._check_deadlines, loop)

    def _on_replies(
        self,
        loop: asyncio.AbstractEventLoop,
        pipeline: _Pipeline,
        replies: list[Any] | BaseException,
    ) -> None:
        """Hand out the replies, or the same error to all calls.

        A script that the server does not know (any more) is sent again with its source.
        """
        self._in_flight.discard(pipeline)
        pipeline.cancel = None
        if isinstance(replies, BaseException):
            _fail(pipeline.calls, replies)
        else:
            unknown = []
            for call, reply in zip(pipeline.calls, replies, strict=True):
                if isinstance(reply, NoScriptError):
                    unknown.append(call)
                elif isinstance(reply, BaseException):
                    call.fail(reply)
                elif not call.reply.done():
                    call.reply.set_result(reply)
            if unknown:
                commands = [("EVAL", call.script.source, *call.command[2:]) for call in unknown]
                self._start(loop, _Pipeline(unknown, commands))
        if self._waiting:
            self._schedule(loop)

    def _check_deadlines(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel late pipelines. There is one timer for all: most are back long before it fires."""
        now = loop.time()
        for pipeline in [*self._in_flight]:
            if pipeline.deadline <= now:
                self._cancel(pipeline, TimeoutError())
        first = min((pipeline.deadline for pipeline in self._in_flight), default=None)
        self._timer = None if first is None else loop.call_at(first, self._check_deadlines, loop)
        if self._waiting:
            self._schedule(loop)

    def _cancel(self, pipeline: _Pipeline, error: Exception) -> None:
        self._in_flight.discard(pipeline)
        if pipeline.cancel is not None:
            pipeline.cancel()
            pipeline.cancel = None
        _fail(pipeline.calls, error)


def _fail(calls: Iterable[_Call], error: BaseException) -> None:
    for call in calls:
        call.fail(error)


def _size(command: Command) -> int:
    """About how many bytes the command has."""
    return sum(len(word) for word in command if isinstance(word, bytes)) + 512
