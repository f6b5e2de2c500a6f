"""Where the responses of a process live: in the app's lifespan, or in a task of their own.

Servers run a lifespan for the outermost app only, and some run none. Where none reaches the
middleware, the first request that needs a host starts one, which lives as long as its event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio

from response_cache import Face, ResponseCache
from response_cache.errors import Unavailable

__all__ = ("Host",)

logger = logging.getLogger("response_cache.asgi")

RETRY_AFTER: Final = 1.0


class Host:
    """Opens a cache for the event loop that asks, once, and closes it again."""

    def __init__(self, make: Callable[[], Face]) -> None:
        """*make* gives the face of a new cache over the one store."""
        self._make = make
        self._starting: anyio.Event | None = None
        self._task: asyncio.Task[None] | None = None  # a strong reference: loops keep weak ones
        self.face: Face | None = None  # of the open cache; None while there is none

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ResponseCache]:
        """Host responses for as long as the context lasts. Raises what opening the store raises."""
        face = self._make()
        try:
            async with face.cache:
                self.face = face
                yield face.cache
        finally:
            self.face = None

    async def started(self) -> Face:
        """The face of the open cache; opens one in the background where nobody hosts it yet.

        Raises:
            Unavailable: it could not be opened.
        """
        if self.face is None:
            if self._starting is None:
                self._starting = anyio.Event()
                self._start(self._starting)
            await self._starting.wait()
        if self.face is None:
            raise Unavailable("The response store could not be opened.", retry_after=RETRY_AFTER)
        return self.face

    def _start(self, opened: anyio.Event) -> None:
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_run():
            trio.lowlevel.spawn_system_task(self._live, opened)
            return
        self._task = asyncio.get_running_loop().create_task(
            self._live(opened), context=contextvars.Context()
        )

    async def _live(self, opened: anyio.Event) -> None:
        try:
            async with self.running():
                opened.set()
                await anyio.sleep_forever()
        except Exception:
            logger.exception("the response store could not be opened")
        finally:
            self._starting = None
            opened.set()
