"""Where the responses of a process live: in the app's lifespan, or in a task of their own.

Servers run a lifespan for the outermost app only, and some run none. Where none reaches the
middleware, the first request that needs a host starts one, which lives as long as its event loop.
Each event loop has its own: test clients run several, one after the other or side by side.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

import anyio

from response_cache import ResponsesAPI
from response_cache.errors import APIError, Misconfigured, ResponseCacheError, Unavailable
from response_cache.eventloop import current_loop, start_detached
from response_cache.redaction import explained
from response_cache_asgi.signals import on_stop_signal
from response_cache_asgi.streams import Streams

__all__ = (
    "LAST_WORDS",
    "NOT_OPEN",
    "RETRY_AFTER",
    "Host",
    "Hosted",
    "log_not_open",
    "why_not_open",
)

logger = logging.getLogger("response_cache.asgi")

LAST_WORDS: Final = 0.5  # seconds that drained streams get to send what they have, then cut off
RETRY_AFTER: Final = 1.0  # seconds after which a store that could not be opened may be asked again
NOT_OPEN: Final = "The response store could not be opened."
"""What clients are told; why is for operators."""


def why_not_open(error: BaseException) -> str:
    """What operators are told, in one line without secrets."""
    if isinstance(error, Misconfigured):
        return explained(error)
    return f"the response store could not be opened: {explained(error)}"


def log_not_open(log: logging.Logger, error: BaseException) -> None:
    """Log why; with a traceback where the words are not ours, which say all."""
    is_ours = isinstance(error, ResponseCacheError)
    log.error("%s", why_not_open(error), exc_info=None if is_ours else error)


class Hosted:
    """An open cache, and the replies that are being sent from it."""

    def __init__(self, api: ResponsesAPI) -> None:
        self.api = api
        self.streams = Streams()
        self.told_to_stop = anyio.Event()

    async def drain_when_told(self) -> None:
        """Wait for ``told_to_stop``, then drain."""
        await self.told_to_stop.wait()
        await self.drain()

    async def drain(self) -> None:
        """Take no more background work and bring to an end what is there."""
        await self.api.cache.drain()
        await self.streams.end(LAST_WORDS)


@dataclass(slots=True)
class _Start:
    """A host that is being started in a task of its own."""

    is_through: anyio.Event = field(default_factory=anyio.Event)  # it is open, or will not be
    task: object = None
    error: Exception | None = None  # why it will not be

    def refusal(self) -> APIError:
        """What is answered to those who wait for it: an error each, with its own traceback."""
        if isinstance(self.error, Misconfigured):
            return Misconfigured(self.error.message)
        return Unavailable(NOT_OPEN, retry_after=RETRY_AFTER)


class Host:
    """Opens a cache for each event loop that asks, once, and closes it again."""

    def __init__(self, make: Callable[[], ResponsesAPI], *, drains_on_signals: bool) -> None:
        """*make* gives the HTTP API of a new cache over the one store."""
        self._make = make
        self._drains_on_signals = drains_on_signals
        self._hosted: WeakKeyDictionary[object, Hosted] = WeakKeyDictionary()
        self._latest: tuple[object, Hosted] | None = None  # of those; most often the only one
        self._starts: WeakKeyDictionary[object, _Start] = WeakKeyDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Hosted]:
        """Host responses in this event loop for as long as the context lasts.

        Raises what opening the store raises.
        """
        loop, hosted = current_loop(), Hosted(self._make())
        try:
            async with hosted.api.cache, anyio.create_task_group() as tasks:
                tasks.start_soon(hosted.drain_when_told)
                with on_stop_signal(hosted.told_to_stop.set, self._drains_on_signals):
                    self._hosted[loop] = hosted
                    self._latest = loop, hosted
                    yield hosted
                tasks.cancel_scope.cancel()
        finally:
            if self._hosted.get(loop) is hosted:
                del self._hosted[loop]
            if self._latest == (loop, hosted):
                self._latest = None

    @property
    def open_here(self) -> Hosted | None:
        """The open cache of this event loop, if there is one."""
        loop, latest = current_loop(), self._latest
        return latest[1] if latest and latest[0] is loop else self._hosted.get(loop)

    async def hosted(self) -> Hosted:
        """The open cache of this event loop; opens one where there is none.

        Raises:
            Unavailable: it could not be opened.
            Misconfigured: it cannot be.
        """
        loop = current_loop()
        hosted = self._hosted.get(loop)
        if hosted is None:
            start = self._starts.get(loop) or self._start(loop)
            await start.is_through.wait()
            hosted = self._hosted.get(loop)
            if hosted is None:
                raise start.refusal() from start.error
        return hosted

    async def start(self) -> None:
        """Open the cache of this event loop now.

        Raises:
            Unavailable: as ``hosted`` does, with the cause in the message.
            Misconfigured: it cannot be.
        """
        try:
            await self.hosted()
        except Unavailable as error:
            if error.__cause__ is None:
                raise
            raise Unavailable(why_not_open(error.__cause__), retry_after=RETRY_AFTER) from None

    @property
    def is_draining(self) -> bool:
        """Whether a cache that is open here takes no more work."""
        return any(hosted.api.cache.is_draining for hosted in tuple(self._hosted.values()))

    async def drain(self) -> None:
        """Drain the open cache of this event loop, if there is one."""
        if hosted := self.open_here:
            await hosted.drain()

    def _start(self, loop: object) -> _Start:
        self._starts[loop] = start = _Start()
        start.task = start_detached(partial(self._live, loop, start))
        return start

    async def _live(self, loop: object, start: _Start) -> None:
        try:
            async with self.running():
                start.is_through.set()
                await anyio.sleep_forever()
        except Exception as error:
            if start.is_through.is_set():
                logger.exception("the response store failed")
                return
            start.error = error
            log_not_open(logger, error)
        finally:
            del self._starts[loop]
            start.is_through.set()
