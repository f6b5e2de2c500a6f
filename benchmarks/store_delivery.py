"""How long after it came from the upstream has a reader an event, in this or another process?

Nothing waits for a flush interval here: it is the way of a batch through recorder, store and tail.
The thousand tails are of a thousand responses, all read by one process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Final

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.responses import Recording
from benchmarks.table import show
from benchmarks.tailing import delays, stamped
from response_cache import Options, ResponseCache
from response_cache.stores.redis._topology import MAX_CONNECTIONS
from tests.stores.servers import Server

__all__ = ("measure", "measure_a_thousand")

OPTIONS: Final = Options(flush_interval=0, max_flush_interval=0)
TARGETS: Final = {
    "Redis, the same process, p50": "target: below 5",
    "Redis, another process, p50": "target: below 5",
    "Redis, 1,000 tails in another process, p50": "target: below 5",
    "SQLite, another process, p50": "target: below 50",
}
MOST_CONNECTIONS: Final = 2 * (MAX_CONNECTIONS + 1)  # of each process: to ask, and to listen
LONGEST_LINE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Load:
    """Responses side by side, and their events."""

    responses: int
    events: int  # of each response
    pause: float  # between two events of a response

    @asynccontextmanager
    async def recorded(self, cache: ResponseCache) -> AsyncIterator[tuple[list[str], anyio.Event]]:
        """The ids of responses, whose events begin to come with the event, and their end."""
        begin = anyio.Event()
        offsets = [number * self.pause / self.responses for number in range(self.responses)]
        recordings = [
            Recording(cache, stamped(self.events, self.pause, offset, begin)) for offset in offsets
        ]
        yield [await recording.begin() for recording in recordings], begin
        for recording in recordings:
            await recording.end()


ONE: Final = Load(responses=1, events=200, pause=0.02)
THOUSAND: Final = Load(responses=1000, events=4, pause=4.0)  # 250 events a second in all


async def in_this_process(url: str, load: Load) -> list[float]:
    """Milliseconds from the upstream to a reader in the same process."""
    async with ResponseCache(url, OPTIONS) as cache, load.recorded(cache) as (ids, begin):
        return await delays(cache, ids, begin.set)


async def in_another(
    url: str, load: Load, while_live: Callable[[], None] = lambda: None
) -> list[float]:
    """The same with all readers in a process of their own; *while_live* is called amid it."""
    command = [sys.executable, "-m", "benchmarks.tailing", url]
    async with (
        ResponseCache(url, OPTIONS) as cache,
        load.recorded(cache) as (ids, begin),
        await anyio.open_process(command, stderr=None) as reader,
    ):
        assert reader.stdin is not None
        assert reader.stdout is not None
        await reader.stdin.send(" ".join(ids).encode() + b"\n")
        lines = BufferedByteReceiveStream(reader.stdout)
        said = await lines.receive_until(b"\n", LONGEST_LINE)
        assert said == b"ready", said
        begin.set()
        await anyio.sleep(load.pause)
        while_live()
        said = await lines.receive_until(b"\n", LONGEST_LINE)
    return [float(delay) for delay in json.loads(said)]


def measure(urls: Mapping[str, str], *, rounds: int) -> None:
    """Print the table of both."""
    results: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, url in urls.items():
            _add(results, f"{name}, the same process", anyio.run(in_this_process, url, ONE))
            if name != "memory":
                _add(results, f"{name}, another process", anyio.run(in_another, url, ONE))
    show("From the upstream to a reader", results, unit="ms", targets=TARGETS)


def measure_a_thousand(server: Server, *, rounds: int) -> None:
    """Print the tables of a thousand tails in one process."""
    late: dict[str, list[float]] = {}
    connections: dict[str, list[float]] = {}
    for _ in range(rounds):
        for load in (ONE, THOUSAND):
            clients: list[float] = []
            look = partial(_count_clients, server, clients)
            found = anyio.run(in_another, server.url, load, look)
            connections.setdefault(f"{load.responses:,} tails", []).extend(clients)
            assert len(found) == load.responses * load.events, len(found)
            if load is THOUSAND:
                _add(late, "Redis, 1,000 tails in another process", found)
    show("From the upstream to a reader", late, unit="ms", targets=TARGETS)
    targets = dict.fromkeys(connections, f"target: at most {MOST_CONNECTIONS}, however many")
    title = "Connections of the recording and the reading process"
    show(title, connections, unit="connections", targets=targets)


def _add(results: dict[str, list[float]], row: str, found: list[float]) -> None:
    results.setdefault(f"{row}, p50", []).append(median(found))
    results.setdefault(f"{row}, p99", []).append(quantiles(found, n=100)[98])


def _count_clients(server: Server, counts: list[float]) -> None:
    with server.client() as client:
        counts.append(int(client.info("clients")["connected_clients"]) - 1)
