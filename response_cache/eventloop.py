"""The clock of an event loop, found once: asking which loop runs costs more than reading it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio
from anyio.lowlevel import current_token

__all__ = ("clock",)


def clock() -> Callable[[], float]:
    """What gives the seconds of the event loop that runs now; for use in that one alone."""
    loop = current_token().native_token
    if not isinstance(loop, asyncio.AbstractEventLoop):
        return anyio.current_time
    # What the method does where nobody has changed it, as virtual clocks do.
    is_plain = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
    return time.monotonic if is_plain else loop.time
