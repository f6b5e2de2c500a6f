"""Group commit: calls that many responses make at the same time travel in one pipeline.

All that is asked of one node in one turn of the event loop goes out together. While as many
pipelines are on their way as there are connections for them, what is asked meanwhile gathers for
the next, so that the busier a process is, the less each call costs. Where the last pipeline had
one call to carry, the next one does not wait for company until the turn is over.

Whoever waits for a reply may be cancelled: the pipeline is not theirs and goes on. Each call is
answered, or given up, within one time-out from when it was made: a pipeline has as long as the
oldest of its calls has left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from redis.exceptions import NoScriptError

from response_cache.stores.redis.asking import GiveUp, Send
from response_cache.stores.redis.errors import TROUBLE, Doing, cause, translated
from response_cache.stores.redis.scripts import Argument, Command, Script

__all__ = ("GroupCommit",)

# Past these a pipeline gains nothing more, and keeps its first calls waiting for its last.
PIPELINE_BYTES: Final = 1 << 20
PIPELINE_CALLS: Final = 200


@dataclass(slots=True)
class _Asked:
    """A call of a script, and whoever awaits the reply."""

    script: Script
    command: Command  # by its digest
    doing: Doing
    reply: asyncio.Future[Any]
    until: float

    def fail(self, error: BaseException) -> None:
        if self.reply.done():  # whoever asked was cancelled
            return
        if isinstance(error, TROUBLE):
            told = translated(error, self.doing)
            told.__cause__ = cause(error)
            self.reply.set_exception(told)
        else:
            self.reply.set_exception(error)


@dataclass(slots=True, eq=False)
class _Pipeline:
    """Calls that are on their way together, the oldest first."""

    calls: Sequence[_Asked]
    commands: Sequence[Command]
    give_up: GiveUp | None = None  # as long as it is on its way

    @property
    def until(self) -> float:
        return self.calls[0].until


class GroupCommit:
    """Sends calls to one node, many at a time."""

    def __init__(self, send: Send, *, pipelines: int, timeout: float) -> None:
        """At most *pipelines* are on their way at a time; *timeout* is for each call."""
        self._send = send
        self._pipelines = pipelines
        self._timeout = timeout
        self._waiting: deque[_Asked] = deque()
        self._sending: set[_Pipeline] = set()
        self._is_due = False
        self._is_alone = False  # the last pipeline carried one call
        self._watch: asyncio.TimerHandle | None = None  # never later than the first has to be back

    def ask(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], doing: Doing
    ) -> asyncio.Future[Any]:
        """The reply of *script*, to be awaited; *doing* is what an error says that we were doing.

        Raises:
            StoreUnavailable: when it is awaited: there is none, or an error; the script may have
                been carried out.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        command = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
        asked = _Asked(script, command, doing, reply, loop.time() + self._timeout)
        if self._is_alone and not (self._sending or self._waiting):
            self._carry(loop, _Pipeline((asked,), (command,)))
        else:
            self._waiting.append(asked)
            self._schedule(loop)
        return reply

    def close(self) -> None:
        """Give up what is on its way, and what has not been sent."""
        closed = ConnectionError("the store was closed")
        for pipeline in [*self._sending]:
            self._give_up(pipeline, closed)
        _fail(self._waiting, closed)
        self._waiting.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send at the end of this turn of the loop: what others ask in it goes along."""
        if not self._is_due and len(self._sending) < self._pipelines:
            self._is_due = True
            loop.call_soon(self._start, loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        while self._waiting and len(self._sending) < self._pipelines:
            calls = self._next_calls()
            self._is_alone = len(calls) == 1
            if calls:
                self._carry(loop, _Pipeline(calls, [asked.command for asked in calls]))

    def _next_calls(self) -> list[_Asked]:
        """What goes next; whoever was cancelled before it was sent is left out."""
        calls: list[_Asked] = []
        size = 0
        while self._waiting and size < PIPELINE_BYTES and len(calls) < PIPELINE_CALLS:
            asked = self._waiting.popleft()
            if not asked.reply.done():
                calls.append(asked)
                size += _size(asked.command)
        return calls

    def _carry(self, loop: asyncio.AbstractEventLoop, pipeline: _Pipeline) -> None:
        then = partial(self._arrived, loop, pipeline)
        try:
            pipeline.give_up = self._send(pipeline.commands, then)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody must wait for ever
            _fail(pipeline.calls, error)
            return
        self._sending.add(pipeline)
        if self._watch is None:
            self._watch = loop.call_at(pipeline.until, self._look, loop)

    def _arrived(
        self,
        loop: asyncio.AbstractEventLoop,
        pipeline: _Pipeline,
        replies: list[Any] | BaseException,
    ) -> None:
        """Hand out the replies; the same error to all where there are none.

        Scripts that the server does not know (any more) are taught to it.
        """
        self._sending.discard(pipeline)
        pipeline.give_up = None
        if isinstance(replies, BaseException):
            _fail(pipeline.calls, replies)
        else:
            unknown = []
            for asked, reply in zip(pipeline.calls, replies, strict=True):
                if isinstance(reply, NoScriptError):
                    unknown.append(asked)
                elif isinstance(reply, BaseException):
                    asked.fail(reply)
                elif not asked.reply.done():
                    asked.reply.set_result(reply)
            if unknown:
                commands = [("EVAL", asked.script.source, *asked.command[2:]) for asked in unknown]
                self._carry(loop, _Pipeline(unknown, commands))
        if self._waiting:
            self._schedule(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what should have arrived. One timer for all: most arrive long before."""
        now = loop.time()
        for pipeline in [*self._sending]:
            if pipeline.until <= now:
                self._give_up(pipeline, TimeoutError())
        first = min((pipeline.until for pipeline in self._sending), default=None)
        self._watch = None if first is None else loop.call_at(first, self._look, loop)
        if self._waiting:
            self._schedule(loop)

    def _give_up(self, pipeline: _Pipeline, error: Exception) -> None:
        self._sending.discard(pipeline)
        if pipeline.give_up is not None:
            pipeline.give_up()
            pipeline.give_up = None
        _fail(pipeline.calls, error)


def _fail(calls: Iterable[_Asked], error: BaseException) -> None:
    for asked in calls:
        asked.fail(error)


def _size(command: Command) -> int:
    """About how many bytes it sends."""
    return sum(len(word) for word in command if isinstance(word, bytes)) + 512
