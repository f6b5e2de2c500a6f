"""Where the responses of a process live: in the app's lifespan, or in a task of their own.

Servers run a lifespan for the outermost app only, and some run none. Where none reaches the
middleware, the first request that needs the cache opens it, in a task that lives as long as its
event loop. Each event loop has a cache of its own: test clients run several event loops, one after
the other or side by side.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

import anyio

from response_cache._eventloop import current_loop, start_detached
from response_cache._hosting import (
    HostedCache,
    hosting,
    log_not_open,
    naming_the_cause,
    not_open,
)
from response_cache.errors import APIError, Misconfigured
from response_cache.http import ResponsesAPI

__all__ = ("Host",)

logger = logging.getLogger("response_cache.asgi")


@dataclass(slots=True)
class _Opening:
    """A cache that is being opened in a task of its own."""

    is_over: anyio.Event = field(
        default_factory=anyio.Event
    )  # the cache is open, or failed to open
    task: object = None  # kept so that asyncio does not forget it
    error: Exception | None = None  # why it failed

    def refusal(self) -> APIError:
        """A new error for each request that waited, so that each has a traceback of its own."""
        if isinstance(self.error, Misconfigured):
            return Misconfigured(self.error.message)
        return not_open()


class Host:
    """Opens a cache once for each event loop that asks, and closes it again."""

    def __init__(self, make: Callable[[], ResponsesAPI], *, drains_on_signals: bool) -> None:
        """*make* gives the HTTP API of a new cache over the one store."""
        self._make = make
        self._drains_on_signals = drains_on_signals
        self._hosted: WeakKeyDictionary[object, HostedCache] = WeakKeyDictionary()
        self._latest: tuple[object, HostedCache] | None = None  # looked at first
        self._openings: WeakKeyDictionary[object, _Opening] = WeakKeyDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[HostedCache]:
        """Host responses in this event loop for as long as the context lasts.

        Raises what opening the store raises.
        """
        loop = current_loop()
        hosted: HostedCache | None = None
        try:
            async with hosting(self._make(), drain_on_signals=self._drains_on_signals) as hosted:
                self._hosted[loop] = hosted
                self._latest = loop, hosted
                yield hosted
        finally:
            if hosted is not None and self._hosted.get(loop) is hosted:
                del self._hosted[loop]
            if self._latest == (loop, hosted):
                self._latest = None

    @property
    def open_here(self) -> HostedCache | None:
        """The open cache of this event loop, if there is one."""
        loop, latest = current_loop(), self._latest
        return latest[1] if latest and latest[0] is loop else self._hosted.get(loop)

    async def hosted(self) -> HostedCache:
        """The open cache of this event loop; opens one where there is none.

        Raises:
            Unavailable: it could not be opened.
            Misconfigured: an option or the store is wrong.
        """
        loop = current_loop()
        hosted = self._hosted.get(loop)
        if hosted is None:
            opening = self._openings.get(loop) or self._open(loop)
            await opening.is_over.wait()
            hosted = self._hosted.get(loop)
            if hosted is None:
                raise opening.refusal() from opening.error
        return hosted

    async def start(self) -> None:
        """Open the cache of this event loop now.

        Raises:
            Unavailable: as ``hosted`` does, with the cause in the message.
            Misconfigured: an option or the store is wrong.
        """
        with naming_the_cause():
            await self.hosted()

    @property
    def is_draining(self) -> bool:
        """Whether a cache that is open here takes no more work."""
        return any(hosted.api.cache.is_draining for hosted in tuple(self._hosted.values()))

    async def drain(self) -> None:
        """Drain the open cache of this event loop, if there is one."""
        if hosted := self.open_here:
            await hosted.drain()

    def _open(self, loop: object) -> _Opening:
        self._openings[loop] = opening = _Opening()
        opening.task = start_detached(partial(self._stay_open, loop, opening))
        return opening

    async def _stay_open(self, loop: object, opening: _Opening) -> None:
        try:
            async with self.running():
                opening.is_over.set()
                await anyio.sleep_forever()
        except Exception as error:
            if opening.is_over.is_set():
                logger.exception("the response store failed")
                return
            opening.error = error
            log_not_open(logger, error)
        finally:
            del self._openings[loop]
            opening.is_over.set()
