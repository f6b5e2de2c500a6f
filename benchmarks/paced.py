"""A stream at the pace of a model, and what a process spends on what is done with it.

Imports nothing of the library, so that the peer's interpreter can measure with it, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.sample import frames
from benchmarks.spending import InOneStream, InTurns

__all__ = ("Load", "measure_alone", "paced")

WARM_UP: Final = 50  # deltas: imports, connections and scripts are there before it counts


async def paced(stream: Sequence[bytes], a_second: float) -> AsyncIterator[bytes]:
    """*stream* one by one, each at its time; what is late comes at once."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, frame in enumerate(stream):
        ahead = start + number / a_second - loop.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        yield frame


@dataclass(frozen=True, slots=True)
class Load:
    """Streams of as many deltas, side by side, each at its pace."""

    deltas: int
    a_second: float
    responses: int = 1

    @property
    def words(self) -> tuple[str, ...]:
        """On a command line."""
        return str(self.deltas), f"{self.a_second:g}", str(self.responses)

    @classmethod
    def of(cls, deltas: str, a_second: str, responses: str) -> Load:
        """What ``words`` said."""
        return cls(int(deltas), float(a_second), int(responses))


async def measure_alone(
    work: Callable[[AsyncIterator[bytes]], Awaitable[object]], load: Load
) -> None:
    """Print the CPU seconds of *work* on each stream, less what waking up for each delta costs.

    Says ``ready`` before, and begins at a line from the standard input: whoever runs this process
    then looks at the server.
    """
    await work(paced(frames(WARM_UP), 1000))
    stream = frames(load.deltas)
    print("ready", flush=True)
    sys.stdin.readline()
    spending = InOneStream() if load.responses == 1 else InTurns()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(load.responses):
            tasks.create_task(_awaited(work(spending.stream(stream, load.a_second))))
            await asyncio.sleep(1 / load.a_second / load.responses)  # not all at the same time
    print(json.dumps(spending.result()), flush=True)


async def _awaited(work: Awaitable[object]) -> None:
    await work
