"""SIGTERM under servers that know nothing of it: it would kill at once, and nothing be drained.

waitress and the development servers are such. Their process gets the time to drain, in which they
go on serving, and is then killed by the signal all the same: to whoever sent it, it came late.
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

LAST_BYTES_GRACE: Final = 0.5  # seconds for the server to send what streams have ended with


@contextmanager
def draining_on_sigterm(drain: Callable[[], object]) -> Iterator[None]:
    """While the context lasts, SIGTERM kills this process only when *drain* has returned.

    A second one kills it at once, and so does the first one a fork. Does nothing where somebody
    handles the signal. For the main thread; *drain* is called in another.
    """
    pid, has_come = os.getpid(), threading.Event()

    def leave() -> None:
        drain()
        time.sleep(LAST_BYTES_GRACE)
        # Not signal.signal, which is for the main thread: the handler kills when it comes again.
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
        if is_ours and signal.getsignal(signal.SIGTERM) is handle:  # else somebody came after us
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is spared by signals
