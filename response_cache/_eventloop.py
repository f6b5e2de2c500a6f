"""What differs between asyncio and trio: which event loop runs, its clock, its tasks and threads.

Each function is for code that runs in an event loop, and is about that loop. Finding out which one
it is costs more than using it, so keep what ``clock`` and ``call_soon`` return.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import anyio.to_thread

__all__ = ("CallSoon", "call_soon", "clock", "current_loop", "run_in_thread", "start_detached")

T = TypeVar("T")

THREAD_NAME: Final = "response_cache work"

CallSoon: TypeAlias = Callable[[Callable[[], object]], object]
"""Has a function called in an event loop. Raises ``RuntimeError`` when that loop has ended."""


def current_loop() -> object:
    """The running event loop: the same object each time, hashable and weakly referenceable."""
    if trio := _running_trio():
        token: object = trio.lowlevel.current_trio_token()
        return token
    return asyncio.get_running_loop()


def clock() -> Callable[[], float]:
    """What gives the seconds of the running event loop; for use in that loop alone."""
    if _running_trio():
        return anyio.current_time
    loop = asyncio.get_running_loop()
    # What the method does where nobody has changed it, as virtual clocks do.
    is_plain = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
    return time.monotonic if is_plain else loop.time


def call_soon() -> CallSoon:
    """What has a function called in the running event loop, from any thread or signal handler.

    The call returns at once. The function runs outside of any task: it must not block, and can
    set an event but not await.
    """
    if trio := _running_trio():
        soon: CallSoon = trio.lowlevel.current_trio_token().run_sync_soon
        return soon
    return asyncio.get_running_loop().call_soon_threadsafe


def start_detached(run: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that belongs to the event loop itself and is cancelled when the loop ends.

    The task sees no context variables of the caller. Keep what is returned for as long as the task
    shall run: asyncio refers to its tasks weakly.
    """
    if trio := _running_trio():
        task: object = trio.lowlevel.spawn_system_task(run)
        return task
    return asyncio.get_running_loop().create_task(run(), context=contextvars.Context())


async def run_in_thread(work: Callable[[], T]) -> T:
    """The result of *work*, run in a thread; raises what it raises.

    A caller that is cancelled waits for the end of the work. The thread never keeps the interpreter
    alive. On asyncio, anyio's own threads do: each of them ends with a task, and some servers stop
    their event loop without ending the tasks in it.
    """
    if _running_trio():
        return await anyio.to_thread.run_sync(work)
    outcomes: list[T | _Raised] = []
    is_done, soon = asyncio.Event(), call_soon()

    def run() -> None:
        outcomes.append(_outcome(work))
        with suppress(RuntimeError):  # the loop has ended, and the caller with it
            soon(is_done.set)

    in_context = contextvars.copy_context().run
    threading.Thread(target=in_context, args=(run,), name=THREAD_NAME, daemon=True).start()
    with anyio.CancelScope(shield=True):
        await is_done.wait()
    return _result(outcomes.pop())


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


def _outcome(work: Callable[[], T]) -> T | _Raised:
    """The result of *work*, or the error that it raises as a value.

    A future of the event loop would keep the error, and all that its frames refer to, in memory
    until the next garbage collection.
    """
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - raised by the caller of the work
        return _Raised(error)


def _result(outcome: T | _Raised) -> T:
    if not isinstance(outcome, _Raised):
        return outcome
    try:
        raise outcome.error
    finally:
        del outcome  # the error refers to this frame, and would be kept by it with all its work


def _running_trio() -> ModuleType | None:
    """The trio module if this code runs in trio. Users of asyncio need not have it installed."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_run() else None
