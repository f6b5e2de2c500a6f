"""One call from a thread into the event loop: there, back, and nothing else.

It does the work of ``asyncio.run_coroutine_threadsafe``, which has two futures, in two thirds of
the time. Most polls take little more than the way to the loop and back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

__all__ = ("Abandoned", "Call")

R = TypeVar("R")


class Abandoned(Exception):
    """There is no result: the event loop has ended, or the work was cancelled."""


class Call(Generic[R]):
    """A coroutine that runs in a loop while a thread waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, R]) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[R] | None = None
        self._is_abandoned = False
        self._waiting = threading.Lock()
        self._waiting.acquire()

    def result(self) -> R:
        """Run the work in the loop and in the context of this thread.

        Raises what it raises, and ``Abandoned``.
        """
        try:
            if not self._soon(self._begin):
                self.abandon()
            self._waiting.acquire()
        except BaseException:  # raised by a signal handler in this thread: the result is not wanted
            self._soon(self._cancel)
            raise
        return self._outcome()

    def abandon(self) -> None:
        """Give up: the event loop ends, so there will be no result."""
        self._is_abandoned = True
        if self._task is None:
            self._work.close()
        self._release()

    def _soon(self, step: Callable[[], None]) -> bool:
        """Have *step* run in the event loop; False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(step)
        except RuntimeError:
            return False
        return True

    def _outcome(self) -> R:
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise Abandoned
        return self._task.result()

    def _begin(self) -> None:
        if self._is_abandoned:
            return
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._release)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _release(self, _task: object = None) -> None:
        with suppress(RuntimeError):  # it is released already
            self._waiting.release()
