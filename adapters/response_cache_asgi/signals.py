"""Noticing that the server is told to stop.

Servers wait for open connections before they tell an app to shut down, and a reader of a long
stream keeps its connection open. So the work must be drained on the signal itself: ours is put
before the server's own handler, which is called all the same.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

__all__ = ("on_stop_signal",)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(then: Callable[[], object], is_wanted: bool = True) -> Iterator[None]:
    """Run *then* in this event loop when a signal to stop comes that a server handles.

    Signals that nobody handles keep their default effect. Does nothing outside the main thread.
    """
    if not is_wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    run_soon = _run_soon()
    servers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        run_soon(then)
        servers[number](number, frame)

    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            servers[number] = handler
            signal.signal(number, handle)
    try:
        yield
    finally:
        for stopping, server in servers.items():
            if signal.getsignal(stopping) is handle:
                signal.signal(stopping, server)


def _run_soon() -> Callable[[Callable[[], object]], object]:
    """How a signal handler gets something run in this event loop."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        run_sync_soon: Callable[[Callable[[], object]], object]
        run_sync_soon = trio.lowlevel.current_trio_token().run_sync_soon
        return run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe
