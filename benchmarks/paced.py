"""A stream at the pace of a model, and what a process spends on what is done with it.

Imports nothing of the library, so that the peer's interpreter can measure with it, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from benchmarks.sample import frames

__all__ = ("Load", "measure_alone", "paced")

WARM_UP: Final = 50  # deltas: imports, connections and scripts are there before it counts

# A process's time goes in turns of these seconds, because a machine is not as fast in one minute as
# in the next: what waking up costs is measured within seconds of what is to be measured.
SPEAKING: Final = 2.0
SETTLING: Final = 0.3  # what was said is written
RESTING: Final = 1.0  # the process wakes up as often, for nothing


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


class Turns:
    """The CPU time of this process, all its threads, while streams speak and rest in turns."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._start = self._clock()
        self._is_resting = False
        self._seen = time.process_time()
        self._spent = {False: 0.0, True: 0.0}  # by whether it was resting
        self._ticks = {False: 0, True: 0}

    async def stream(self, frames: Sequence[bytes], a_second: float) -> AsyncIterator[bytes]:
        """*frames* one by one at their pace, with rests that are ticked through."""
        start, sent = self._clock(), 0
        for tick in count():
            ahead = start + tick / a_second - self._clock()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self._may_speak():
                yield frames[sent]
                sent += 1
                if sent == len(frames):
                    return

    def _may_speak(self) -> bool:
        position = (self._clock() - self._start) % (SPEAKING + SETTLING + RESTING)
        is_resting = position >= SPEAKING + SETTLING
        if is_resting != self._is_resting:
            self._add_up()
            self._is_resting = is_resting
        self._ticks[is_resting] += 1
        return position < SPEAKING

    def _add_up(self) -> None:
        now = time.process_time()
        self._spent[self._is_resting] += now - self._seen
        self._seen = now

    def result(self) -> dict[str, float]:
        """Seconds spent beside the rests, with (``whole``) and without (``net``) the ticks."""
        self._add_up()
        a_tick = self._spent[True] / max(1, self._ticks[True])
        whole = self._spent[False]
        return {"whole": whole, "net": whole - a_tick * self._ticks[False]}


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
    turns = Turns()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(load.responses):
            tasks.create_task(_awaited(work(turns.stream(stream, load.a_second))))
            await asyncio.sleep(1 / load.a_second / load.responses)  # not all at the same time
    print(json.dumps(turns.result()), flush=True)


async def _awaited(work: Awaitable[object]) -> None:
    await work
