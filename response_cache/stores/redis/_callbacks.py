"""Commands with a callback for their replies, and the bridges to and from coroutines.

The store sends many small commands. A callback costs neither a task, nor a future, nor a turn of
the event loop for each. ``replies_to`` awaits a function that takes a callback; ``CallbackTasks``
calls a callback with the result of a coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from response_cache.stores.redis._scripts import Command

__all__ = ("CallbackTasks", "Cancel", "OnReplies", "Send", "replies_to")

OnReplies: TypeAlias = Callable[[list[Any] | BaseException], None]
"""Called once, with the replies or with the error that prevented them.

An error reply to one command is an exception in the list, in the place of that reply.
"""

Cancel: TypeAlias = Callable[[], None]
"""Withdraws the callback: it is not called any more. May be called at any time.

The server may carry out the commands all the same.
"""

Send: TypeAlias = Callable[[Sequence[Command], OnReplies], Cancel]
"""Sends commands. The callback is not called before ``Send`` returns, nor when it raises."""


async def replies_to(send: Send, commands: Sequence[Command]) -> list[Any]:
    """The replies to *commands*; an error reply is an exception in the list.

    Raises:
        Exception: there are no replies; any error of *send* or of its callback.
    """
    outcome: asyncio.Future[list[Any] | BaseException]
    outcome = asyncio.get_running_loop().create_future()

    def on_replies(result: list[Any] | BaseException) -> None:
        if not outcome.done():  # the caller may have been cancelled a moment ago
            outcome.set_result(result)

    cancel = send(commands, on_replies)
    try:
        result = await outcome
    except asyncio.CancelledError:
        cancel()
        raise
    if isinstance(result, BaseException):
        raise result
    return result


class CallbackTasks:
    """Tasks that give their result to a callback."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[list[Any]]] = set()

    def start(self, coroutine: Coroutine[Any, Any, list[Any]], on_replies: OnReplies) -> Cancel:
        """Run *coroutine* in a task; call *on_replies* with what it returns or raises."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)

        def on_done(task: asyncio.Task[list[Any]]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                on_replies(task.exception() or task.result())

        def cancel() -> None:
            task.remove_done_callback(on_done)
            task.add_done_callback(self._discard)
            task.cancel()

        task.add_done_callback(on_done)
        return cancel

    async def aclose(self) -> None:
        """Cancel all tasks, and wait for their end."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _discard(self, task: asyncio.Task[list[Any]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not warn about it
