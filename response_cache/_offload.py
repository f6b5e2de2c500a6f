"""Long work in a thread, so that the event loop can run meanwhile.

A step of work that holds the interpreter's lock stops the loop also from a thread. So a step must
be bounded. One piece of work is done at a time, so that the loop runs between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import anyio

from response_cache._eventloop import run_in_thread

__all__ = ("LARGE", "Offload")

T = TypeVar("T")

LARGE: Final = 32 * 2**10
"""Bytes of JSON. Above this, changing to a thread takes little time beside the work."""


class Offload:
    """One thread at a time, for the long work of one event loop."""

    def __init__(self) -> None:
        self._turns = anyio.CapacityLimiter(1)

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """The result of *work* on *size* bytes of JSON; raises what *work* raises.

        Short work (up to ``LARGE``) is done at once, in the loop. Long work runs to its end, also
        when the caller is cancelled.
        """
        if size <= LARGE:
            return work()
        async with self._turns:
            return await run_in_thread(work)
