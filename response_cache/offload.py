"""Long work in a thread, so that the event loop can run meanwhile.

A step of work that holds the interpreter's lock stops the loop also from a thread. So a step must
be bounded. One piece of work is done at a time, so that the loop runs between two of them.
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
        outcome = await anyio.to_thread.run_sync(partial(_outcome, work), limiter=self._turns)
        if not isinstance(outcome, _Raised):
            return outcome
        try:
            raise outcome.error
        finally:
            del outcome  # else a cycle of it and this frame keeps all that *work* refers to


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


def _outcome(work: Callable[[], T]) -> T | _Raised:
    """The result of *work*, or the error that it raises as a value.

    A future of the event loop would keep the error, and the request in its frames, in memory until
    the next garbage collection.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised again by run()
        return _Raised(error)
