"""Noticing that the server is told to stop.

Servers wait for open connections before they tell an app to shut down, and a reader of a long
stream keeps its connection open. So the work must be drained on the signal itself: ours is put
before the server's own handler, which is called all the same.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from response_cache.eventloop import CallSoon, call_soon

__all__ = ("on_stop_signal",)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(
    then: Callable[[], object], is_wanted: bool = True, *, soon: CallSoon | None = None
) -> Iterator[None]:
    """While the context lasts, run *then* in this event loop at a signal that a server handles.

    It runs outside of any task: it can set an event, but not start anything. Signals that nobody
    handles keep their default effect. Does nothing outside the main thread.
    *soon* gets it run elsewhere than in this event loop.
    """
    servers = _handled() if is_wanted else {}
    soon = soon or call_soon()
    lasts = True

    def run() -> None:
        if lasts:
            then()

    def handle(number: int, frame: FrameType | None) -> None:
        if lasts:
            soon(run)
        servers[number](number, frame)

    for number in servers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        lasts = False
        for number, server in servers.items():
            if signal.getsignal(number) is handle:  # else somebody came after us
                signal.signal(number, server)


def _handled() -> dict[int, Callable[[int, FrameType | None], Any]]:
    """The handlers that a server has set, by signal; only the main thread may set others."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    return {
        number: handler
        for number, handler in handlers.items()
        if callable(handler) and handler is not signal.default_int_handler
    }
