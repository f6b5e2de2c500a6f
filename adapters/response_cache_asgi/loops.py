"""What differs between event loops: which one this is, and how something is started in it."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, TypeAlias

__all__ = ("RunSoon", "current_loop", "run_soon", "start_detached")

RunSoon: TypeAlias = Callable[[Callable[[], object]], object]


def current_loop() -> object:
    """The running event loop, as something that can be told from others and weakly referenced."""
    if trio := _running_trio():
        token: object = trio.lowlevel.current_trio_token()
        return token
    return asyncio.get_running_loop()


def run_soon() -> RunSoon:
    """How a signal handler gets something run in this event loop."""
    if trio := _running_trio():
        soon: RunSoon = trio.lowlevel.current_trio_token().run_sync_soon
        return soon
    return asyncio.get_running_loop().call_soon_threadsafe


def start_detached(run: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that belongs to the event loop itself and is cancelled when that ends.

    It sees no context variables of the caller. Keep what is returned as long as the task shall run:
    asyncio refers to its tasks weakly.
    """
    if trio := _running_trio():
        task: object = trio.lowlevel.spawn_system_task(run)
        return task
    return asyncio.get_running_loop().create_task(run(), context=contextvars.Context())


def _running_trio() -> ModuleType | None:
    """The trio module if this code runs in it; asyncio users need not have it."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_run() else None
