"""The open cache of one event loop, and what runs beside it: stop signals, a watch on the loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio

from response_cache._hosting.signals import on_stop_signal
from response_cache._hosting.streams import Streams
from response_cache.http import ResponsesAPI

__all__ = ("STREAM_END_GRACE", "HostedCache", "hosting")

logger = logging.getLogger("response_cache")

STREAM_END_GRACE: Final = 0.5
"""Seconds that streams get after a drain to send what they have; then they are broken off."""


class HostedCache:
    """An open cache in one event loop, as ``hosting`` gives it."""

    def __init__(self, api: ResponsesAPI) -> None:
        """*api* speaks HTTP for the cache. Must be made in the event loop that serves."""
        self.api = api
        self.streams = Streams()
        self.draining = anyio.Event()
        """Set when a drain begins: from then on no task waits for a thread that blocks."""

    async def drain(self) -> None:
        """Take no more background work; bring running responses and streams to their end.

        May be called again and from several tasks: all drains share one ``drain_timeout``.
        """
        self.draining.set()
        await self.api.cache.drain()
        await self.streams.end(STREAM_END_GRACE)


@asynccontextmanager
async def hosting(
    api: ResponsesAPI, *, drain_on_signals: bool = True
) -> AsyncGenerator[HostedCache]:
    """Open the cache of *api*; drain and close it when the context is left.

    Signals are heard in the main thread only, and only where a server has set a handler.
    Raises what opening the store raises, ``StoreUnavailable`` above all.
    """
    hosted, stopped = HostedCache(api), anyio.Event()

    async def drain_when_stopped() -> None:
        await stopped.wait()
        await hosted.drain()

    watch = partial(_warn_when_blocked, api.cache.options.lease)
    async with api.cache, _beside(drain_when_stopped, watch):
        with on_stop_signal(stopped.set, drain_on_signals):
            yield hosted
        await hosted.drain()


@asynccontextmanager
async def _beside(*runs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
    """Run *runs* while the context lasts. An exception of its body is raised as it came."""
    tasks = await anyio.create_task_group().__aenter__()
    for run in runs:
        tasks.start_soon(run)
    try:
        yield
    finally:
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)  # without the exception: a group would wrap it


async def _warn_when_blocked(lease: float) -> None:
    """Warn when this event loop was blocked for so long that a *lease* may have run out.

    A block of half a lease is always seen. A block of a quarter is seen if it begins just before
    this function looks.
    """
    interval = lease / 4
    while True:
        before = anyio.current_time()
        await anyio.sleep(interval)
        late = anyio.current_time() - before - interval
        if late > interval:
            logger.warning(
                "the event loop was blocked for %.1f s: leases last %g s, and other processes may"
                " take this one for dead",
                late,
                lease,
            )
