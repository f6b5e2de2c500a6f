"""The clock of an event loop, found once: asking which loop runs costs more than reading it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
from anyio.lowlevel import current_token

__all__ = ("clock",)


def clock() -> Callable[[], float]:
    """What gives the seconds of the event loop that runs now; for use in that one alone."""
    loop = current_token().native_token
    return loop.time if isinstance(loop, asyncio.AbstractEventLoop) else anyio.current_time
