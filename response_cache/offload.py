"""Long work of a process, in a thread, so that its event loop goes on.

What holds the interpreter's lock stops the loop from a thread, too, so each step of such work is to
be bounded; and it is done one at a time, so that the loop gets its turn between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.to_thread

__all__ = ("LARGE", "Offload")

T = TypeVar("T")

LARGE: Final = 32 * 2**10
"""Bytes of JSON from which on the way to a thread and back is short beside the work."""


class Offload:
    """One thread at a time, for the work of one event loop."""

    def __init__(self) -> None:
        self._turns = anyio.CapacityLimiter(1)

    async def run(self, size: int, work: Callable[[], T]) -> T:
        """The result of *work*, which is about *size* bytes of JSON; raises what it raises.

        Short work is done at once. Long work is seen to its end also when the caller is cancelled.
        """
        if size <= LARGE:
            return work()
        outcome = await anyio.to_thread.run_sync(partial(_outcome, work), limiter=self._turns)
        if not isinstance(outcome, _Raised):
            return outcome
        try:
            raise outcome.error
        finally:
            del outcome  # it and this frame would keep each other, and all that *work* has


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


def _outcome(work: Callable[[], T]) -> T | _Raised:
    """What *work* gives, or raises.

    Carried by a future of the event loop, an error stays in memory until the garbage collector
    comes, and with it the request that it is about.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised by whoever waits for the work
        return _Raised(error)
