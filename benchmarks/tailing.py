"""Follows responses and tells how old their events are when a reader has them.

As a process of its own (``... STORE_URL``) it reads the ids from the standard input, says ``ready``
when it follows all of them, and prints the milliseconds as JSON when they are over.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio

from benchmarks.sample import as_frame, delta, frames
from response_cache import ANYBODY, ResponseCache

__all__ = ("delays", "stamped")

STAMP: Final = re.compile(rb'"delta":"(\d+\.\d+)"')


async def stamped(
    events: int, pause: float, offset: float, begin: anyio.Event
) -> AsyncIterator[bytes]:
    """A response whose deltas tell when they came: *offset* after *begin*, then each *pause*."""
    whole = frames(0)
    for frame in whole[:3]:
        yield frame
    await begin.wait()
    await anyio.sleep(offset)
    for number in range(events):
        yield as_frame({**delta(number + 3), "delta": f"{time.monotonic():.6f}"})
        await anyio.sleep(pause)
    for frame in whole[3:]:
        yield frame


async def delays(
    cache: ResponseCache, ids: Sequence[str], on_ready: Callable[[], None]
) -> list[float]:
    """Milliseconds from where an event was stamped to where the reader of its response had it.

    *on_ready* is called when every response has a reader. Returns when all responses are over.
    """
    found: list[float] = []
    coming = set(ids)

    async def follow(id: str) -> None:
        async for chunk in await cache.stream(id, ANYBODY):
            now = time.monotonic()
            found.extend((now - float(stamp)) * 1000 for stamp in STAMP.findall(chunk))
            if id in coming:
                coming.remove(id)
                if not coming:
                    on_ready()

    async with anyio.create_task_group() as tasks:
        for id in ids:
            tasks.start_soon(follow, id)
    return found


async def _run(url: str) -> None:
    ids = sys.stdin.readline().split()
    async with ResponseCache(url) as cache:
        found = await delays(cache, ids, lambda: print("ready", flush=True))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
