"""What differs between asyncio and trio: which event loop runs, its clock, how to reach it.

Each function is for code that runs in an event loop, and is about that loop. Finding out which one
it is costs more than using it, so keep what ``clock`` and ``call_soon`` return.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, TypeAlias

import anyio

__all__ = ("CallSoon", "call_soon", "clock", "current_loop", "start_detached")

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


def _running_trio() -> ModuleType | None:
    """The trio module if this code runs in trio. Users of asyncio need not have it installed."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_run() else None
