"""A thread with an event loop, for everything in a process that is async.

The threads of a server call into the loop and wait; a call is one hop there and one back. The
portal's thread is a daemon: it never keeps the interpreter alive.
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

from response_cache._hosting import shutting_down
from response_cache_wsgi._threads.calls import Abandoned, Call

__all__ = ("Portal",)

T = TypeVar("T")
R = TypeVar("R")


class Portal(Generic[T]):
    """Keeps an async context open in an event loop of its own, from ``start`` to ``close``."""

    def __init__(self, hosting: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        """*hosting* gives the context, which is entered and left in the event loop."""
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
        except RuntimeError as error:  # the system allows no more threads
            self._has_ended = True
            self._hosted.set_exception(error)

    @property
    def hosted(self) -> T:
        """What the context gives, once it is entered. Raises what entering it raises."""
        return self._hosted.result()

    @property
    def is_open(self) -> bool:
        """Whether the context was entered and the event loop still runs."""
        return self._hosted.done() and not self._hosted.exception() and not self._has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the event loop has ended, or never began."""
        return self._has_ended

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, once the context is entered."""
        if self._loop is None:
            raise RuntimeError("the portal is not open")
        return self._loop

    def call(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of *work*, run in the event loop with the context variables of the caller.

        Raises:
            Unavailable: the event loop has ended, or ends meanwhile.
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
        """Have *work* run in the event loop; the future that is returned can cancel it.

        Raises:
            Unavailable: the event loop has ended.
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
        """Leave the context; returns when the thread has ended, at the latest *within* seconds."""
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
            self._hosted.set_exception(
                error
            )  # ``hosted`` waits for it, also if there was no event loop
        finally:
            self._end()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self._hosting() as hosted:
                self._hosted.set_result(hosted)
                await self._closing.wait()
        finally:
            self._end()  # work that began after this point would not reach its end

    def _end(self) -> None:
        self._has_ended = True
        for call in tuple(self._calls):
            call.abandon()
        for future in tuple(self._spawned):
            future.cancel()
