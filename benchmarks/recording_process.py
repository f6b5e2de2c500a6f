"""Records responses in a process of its own: ``... STORE_URL FLUSH_INTERVAL`` and a ``paced.Load``.

A flush interval of 0 stands for what suits the store.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from benchmarks.paced import Load, measure_alone
from benchmarks.responses import record
from response_cache import Options, ResponseCache


async def run(url: str, flush_interval: float, load: Load) -> None:
    """See ``paced.measure_alone``."""
    options = (
        Options(flush_interval=flush_interval, max_flush_interval=flush_interval)
        if flush_interval
        else Options()
    )
    async with ResponseCache(url, options) as cache:

        async def work(chunks: AsyncIterator[bytes]) -> None:
            await record(cache, chunks)

        await measure_alone(work, load)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], float(sys.argv[2]), Load.of(*sys.argv[3:])))
