"""How much memory does a running response take, in its process and in the Redis server?

Measured after its deltas came at the pace of a model, while its upstream is silent. What the
process holds includes the batches that are kept in case Redis loses them; with ``memory://`` it is
the whole store.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from typing import Final

import anyio

from benchmarks.paced import paced
from benchmarks.responses import Recording
from benchmarks.sample import frames
from benchmarks.table import show
from response_cache import ANYBODY, ResponseCache
from tests.stores.servers import Server

__all__ = ("measure",)

RESPONSES: Final = 50
DELTAS: Final = 1000
A_SECOND: Final = 200
WORDS: Final = f"{DELTAS:,} deltas at {A_SECOND}/s"
STREAM: Final = frames(DELTAS)  # one for all: it is not what is measured


async def _open_ended(silent: anyio.Event) -> AsyncIterator[bytes]:
    async for frame in paced(STREAM[:-2], A_SECOND):
        yield frame
    await silent.wait()
    for frame in STREAM[-2:]:
        yield frame


async def _recorded(cache: ResponseCache, silent: anyio.Event) -> list[Recording]:
    """Responses that the store has all but the end of."""
    recordings = [Recording(cache, _open_ended(silent)) for _ in range(RESPONSES)]
    for recording in recordings:
        await recording.begin()
    for recording in recordings:
        view = await cache.retrieve(recording.id, ANYBODY)
        while view.tail < DELTAS:
            await cache.change(view, 10)
            view = await cache.retrieve(recording.id, ANYBODY, after=view.tail - 1)
    return recordings


async def _kilobytes(url: str, server: Server) -> tuple[float, float]:
    """KB of the process and of the server, for each response."""
    silent = anyio.Event()
    async with ResponseCache(url) as cache:
        gc.collect()
        tracemalloc.start()
        before = _used(server)
        recordings = await _recorded(cache, silent)
        gc.collect()
        own, served = tracemalloc.get_traced_memory()[0], _used(server) - before
        tracemalloc.stop()
        silent.set()
        for recording in recordings:
            await recording.end()
    return own / RESPONSES / 1000, served / RESPONSES / 1000


def _used(server: Server) -> int:
    with server.client() as client:
        return int(client.info("memory")["used_memory"])


def measure(urls: Mapping[str, str], server: Server, *, rounds: int) -> None:
    """Print the table."""
    results: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, url in urls.items():
            own, served = anyio.run(_kilobytes, url, server)
            results.setdefault(f"{name}, in the process", []).append(own)
            if name == "Redis":
                results.setdefault("Redis, in the server", []).append(served)
    show(f"Memory of a running response of {WORDS}", results, unit="KB a response")
