"""Stop signals, heard before the server acts on them.

A server that gets SIGTERM or SIGINT waits for open connections before it tells an app to shut down.
So the cache must be drained on the signal itself: our handler is put before the server's own, and
calls it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from response_cache._eventloop import CallSoon, call_soon

__all__ = ("on_stop_signal",)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(
    then: Callable[[], object], is_wanted: bool = True, *, soon: CallSoon | None = None
) -> Iterator[None]:
    """While the context lasts, call *then* in this event loop at a signal that a server handles.

    The server's own handler is called afterwards. *then* runs outside of any task: it can set an
    event, but not await. *soon* has it called elsewhere than in this event loop. A signal
    without a handler keeps its default effect. Does nothing outside of the main thread.
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
            if signal.getsignal(number) is handle:  # else another handler was set after ours
                signal.signal(number, server)


def _handled() -> dict[int, Callable[[int, FrameType | None], Any]]:
    """The handlers that a server has set, by signal. Only the main thread may set others."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    return {
        number: handler
        for number, handler in handlers.items()
        if callable(handler) and handler is not signal.default_int_handler
    }
