"""A thread with an event loop, for everything of a process that is async.

The threads of a server call into it and wait; one call is one hop to the loop and one back. The
thread is a daemon: it never keeps the interpreter alive.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

import anyio

from response_cache.hosting import shutting_down
from response_cache_wsgi.threads.calls import Abandoned, Call

__all__ = ("Portal",)

T = TypeVar("T")
R = TypeVar("R")


class Portal(Generic[T]):
    """Hosts something in an event loop of its own, from ``start`` to ``close``."""

    def __init__(self, hosting: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """*hosting* is entered and left in the loop."""
        self.pid = os.getpid()
        self._hosting = hosting
        self._hosted: Future[T] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._calls: set[Call[Any]] = set()
        self._spawned: set[Future[Any]] = set()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="response_cache", daemon=True)

    def start(self) -> None:
        """Start the thread; returns at once. If it does not start, ``hosted`` tells why."""
        try:
            self._thread.start()
        except RuntimeError as error:  # there can be no more threads
            self._has_ended = True
            self._hosted.set_exception(error)

    @property
    def hosted(self) -> T:
        """What is hosted, as soon as it is open. Raises what opening it raises."""
        return self._hosted.result()

    @property
    def is_open(self) -> bool:
        """Whether it was opened and the loop still runs."""
        return self._hosted.done() and not self._hosted.exception() and not self._has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the loop has ended, or never began."""
        return self._has_ended

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, once something is hosted in it."""
        if self._loop is None:
            raise RuntimeError("the portal is not open")
        return self._loop

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of *work*, run in the loop and in the context of the caller.

        Raises:
            Unavailable: the loop has ended, or ends meanwhile.
        """
        call = Call(self.loop, work)
        self._calls.add(call)
        try:
            if self._has_ended:
                call.abandon()
            return call.result()
        except Abandoned:
            raise shutting_down() from None
        finally:
            self._calls.discard(call)

    def spawn(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Have *work* run in the loop; the future that is returned can cancel it.

        Raises:
            Unavailable: the loop has ended.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise shutting_down() from None
        self._spawned.add(future)
        future.add_done_callback(self._spawned.discard)
        if self._has_ended:
            future.cancel()
        return future

    def close(self, within: float) -> None:
        """Leave what is hosted; returns when the thread has ended or *within* seconds are over."""
        with suppress(Exception):
            self._hosted.result(within)  # it cannot be left before it was entered
        with suppress(RuntimeError):  # the loop has ended, or never began
            self.loop.call_soon_threadsafe(self._closing.set)
        with suppress(RuntimeError):  # the thread was never started
            self._thread.join(within)

    def _run(self) -> None:
        try:
            anyio.run(self._live, backend="asyncio")
        except BaseException as error:
            if self._hosted.done():
                raise
            self._hosted.set_exception(error)  # also where there was no loop: somebody waits
        finally:
            self._end()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self._hosting() as hosted:
                self._hosted.set_result(hosted)
                await self._closing.wait()
        finally:
            self._end()  # what began from here on would not be seen to its end

    def _end(self) -> None:
        self._has_ended = True
        for call in tuple(self._calls):
            call.abandon()
        for future in tuple(self._spawned):
            future.cancel()
