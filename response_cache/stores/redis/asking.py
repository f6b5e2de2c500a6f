"""How a server is asked: commands, and whoever is told their replies.

Of the many who ask small things, none should cost a task, a future or a turn of the event loop. So
what comes back is handed on by a call. Asking by a coroutine and asking by such a call lead to each
other here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from response_cache.stores.redis.scripts import Command

__all__ = ("Asking", "GiveUp", "Send", "Then", "replies_to")

# Told once: the replies, an exception in the place of each that is an error, or why there are none.
Then: TypeAlias = Callable[[list[Any] | BaseException], None]
# Nobody is told any more. What was sent may be carried out all the same. Safe to call at any time.
GiveUp: TypeAlias = Callable[[], None]
# Nobody is told before it has returned, nor when it raises.
Send: TypeAlias = Callable[[Sequence[Command], Then], GiveUp]


async def replies_to(send: Send, commands: Sequence[Command]) -> list[Any]:
    """The replies to *commands*, an exception in the place of each that is an error.

    Raises:
        Exception: there are none, for whatever reason.
    """
    told: asyncio.Future[list[Any] | BaseException] = asyncio.get_running_loop().create_future()

    def tell(result: list[Any] | BaseException) -> None:
        if not told.done():  # whoever asked may have been cancelled a moment ago
            told.set_result(result)

    give_up = send(commands, tell)
    try:
        result = await told
    except asyncio.CancelledError:
        give_up()
        raise
    if isinstance(result, BaseException):
        raise result
    return result


class Asking:
    """Those who ask by a task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[list[Any]]] = set()

    def start(self, asking: Coroutine[Any, Any, list[Any]], then: Then) -> GiveUp:
        """Tell *then* what *asking* returns or raises."""
        task = asyncio.create_task(asking)
        self._tasks.add(task)

        def tell(task: asyncio.Task[list[Any]]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                then(task.exception() or task.result())

        def give_up() -> None:
            task.remove_done_callback(tell)
            task.add_done_callback(self._forget)
            task.cancel()

        task.add_done_callback(tell)
        return give_up

    async def aclose(self) -> None:
        """Give up all that is on its way."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[list[Any]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is warned of it
