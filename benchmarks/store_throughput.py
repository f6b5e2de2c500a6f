"""How many events a second does one process get through its recorder into each store?

Nothing paces the streams: events come one a chunk, as fast as they are taken.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import anyio

from benchmarks.responses import Recording
from benchmarks.sample import frames
from benchmarks.table import interleaved, show
from response_cache import ResponseCache

__all__ = ("measure",)

DELTAS: Final = 40_000  # of all responses together
TARGETS: Final = {"Redis": 50_000, "SQLite": 40_000}


async def _at_once(stream: Sequence[bytes]) -> AsyncIterator[bytes]:
    for frame in stream:
        yield frame


def events_a_second(url: str, responses: int) -> float:
    """Of *responses* that are recorded side by side, until the store has the last event."""
    stream = frames(DELTAS // responses)

    async def run() -> float:
        async with ResponseCache(url) as cache:
            recordings = [Recording(cache, _at_once(stream)) for _ in range(responses)]
            start = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for recording in recordings:
                    tasks.start_soon(recording.begin)
            for recording in recordings:
                await recording.end()
            return responses * len(stream) / (time.perf_counter() - start)

    return anyio.run(run)


def measure(urls: Mapping[str, str], *, rounds: int) -> None:
    """Print the table."""

    def rate(url: str, responses: int) -> Callable[[], float]:
        return lambda: events_a_second(url, responses)

    measures = {
        f"{name}, {responses} at once": rate(url, responses)
        for name, url in urls.items()
        for responses in (1, 100)
    }
    targets = {
        row: f"target: at least {TARGETS[name]:,}"
        for row in measures
        if (name := row.partition(",")[0]) in TARGETS
    }
    results = interleaved(measures, rounds=rounds)
    show("Events through recorder and store", results, unit="events/s", targets=targets)
