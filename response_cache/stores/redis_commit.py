"""Group commit: calls that many responses make at the same time travel in one pipeline.

All that is asked of one node in one turn of the event loop goes out together. While as many
pipelines are on their way as there are connections for them, what is asked meanwhile gathers for
the next, so that the busier a process is, the less each call costs.

Whoever waits for a reply may be cancelled: the pipeline is not theirs and goes on. Each call is
answered, or given up, within one time-out from when it was made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import NoScriptError

from response_cache.stores.redis_errors import TROUBLE
from response_cache.stores.redis_scripts import Call, Command

__all__ = ("GroupCommit", "Send")

Send: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]

# Past these a pipeline gains nothing more, and keeps its first calls waiting for its last.
PIPELINE_BYTES: Final = 1 << 20
PIPELINE_CALLS: Final = 200


class _Waiting(NamedTuple):
    call: Call
    reply: asyncio.Future[Any]


class GroupCommit:
    """Sends calls to one node, many at a time."""

    def __init__(self, send: Send, *, pipelines: int, timeout: float) -> None:
        """At most *pipelines* are on their way at a time; *timeout* is for each call."""
        self._send = send
        self._pipelines = pipelines
        self._timeout = timeout
        self._waiting: deque[_Waiting] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._is_due = False

    async def reply_to(self, call: Call) -> Any:
        """The reply to *call*.

        Raises:
            TROUBLE: it was not answered, or with an error; it may have been carried out.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(call, loop.create_future())
        self._waiting.append(waiting)
        self._schedule(loop)
        async with asyncio.timeout(self._timeout):
            reply = await waiting.reply
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def aclose(self) -> None:
        """Give up what is on its way, and what has not been sent."""
        self._waiting.clear()
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send at the end of this turn of the loop: what others ask in it goes along."""
        if not self._is_due and len(self._sending) < self._pipelines:
            self._is_due = True
            loop.call_soon(self._start)

    def _start(self) -> None:
        self._is_due = False
        while len(self._sending) < self._pipelines and (group := self._next_group()):
            task = asyncio.create_task(self._deliver(group))
            self._sending.add(task)
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting:
            self._schedule(task.get_loop())

    def _next_group(self) -> list[_Waiting]:
        """What goes next; whoever was cancelled before it was sent is left out."""
        group: list[_Waiting] = []
        size = 0
        while self._waiting and size < PIPELINE_BYTES and len(group) < PIPELINE_CALLS:
            waiting = self._waiting.popleft()
            if not waiting.reply.done():
                group.append(waiting)
                size += waiting.call.size
        return group

    async def _deliver(self, group: Sequence[_Waiting]) -> None:
        """Send *group* and hand out the replies; the same error to all where there are none."""
        replies: Sequence[Any] = [ConnectionError("the pipeline was given up")] * len(group)
        try:
            async with asyncio.timeout(self._timeout):
                replies = await self._exchange([waiting.call for waiting in group])
        except TROUBLE as error:
            replies = [error] * len(group)
        finally:
            for waiting, reply in zip(group, replies, strict=True):
                if not waiting.reply.done():
                    waiting.reply.set_result(reply)

    async def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        """The replies; scripts that the server does not know (any more) are taught to it."""
        replies = await self._send([call.by_digest for call in calls])
        unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._send([calls[n].by_source for n in unknown])
            for n, reply in zip(unknown, again, strict=True):
                replies[n] = reply
        return replies
