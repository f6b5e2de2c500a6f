"""SIGTERM under servers that do not handle it: it would end the process before a drain.

waitress and the development servers of frameworks are such servers. Here the signal first drains
the cache, while the server goes on serving. Then the same signal ends the process, so that the
sender sees the exit status that it expects.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ("draining_on_sigterm",)

LAST_BYTES_GRACE: Final = 0.5  # seconds in which the server may send the ends of streams


@contextmanager
def draining_on_sigterm(drain: Callable[[], object]) -> Iterator[None]:
    """While the context lasts, SIGTERM ends this process only when *drain* has returned.

    A second signal ends it at once. In a forked child the first one does. Does nothing if the
    signal has a handler. Must be called in the main thread; *drain* is called in another one.
    """
    pid, has_come = os.getpid(), threading.Event()

    def leave() -> None:
        drain()
        time.sleep(LAST_BYTES_GRACE)
        # Only the main thread may reset the handler; the handler itself does when called again.
        os.kill(pid, signal.SIGTERM)

    def handle(number: int, _frame: FrameType | None) -> None:
        if has_come.is_set() or os.getpid() != pid:
            _die_of(number)
        has_come.set()
        threading.Thread(target=leave, name="response_cache leaving", daemon=True).start()

    is_ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_ours:
        signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if is_ours and signal.getsignal(signal.SIGTERM) is handle:  # no other handler came after it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # process 1 of a container ignores signals without a handler
