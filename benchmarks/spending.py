"""What a process spends, all its threads, beside what its streams cost themselves.

A stream ticks: the process wakes up for each of its pieces, and that alone is most of what it
spends. A machine is not as fast in one second as in the next, so what a tick costs is measured
within seconds of what is to be measured, in the same process.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Final

__all__ = ("InOneStream", "InTurns")

COOLING: Final = 2  # ticks after something else that are not counted as quiet

SPEAKING: Final = 2.0  # seconds
SETTLING: Final = 0.3  # what was said is written
RESTING: Final = 1.0  # the process wakes up as often, for nothing


class InOneStream:
    """While one stream speaks without a rest: most of its ticks are quiet.

    In a quiet one the process wakes up once, hands the piece over and sleeps again. What it costs,
    less the handing over, is what every tick costs; in rests it was found to cost the same.
    """

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._start = self._seen = time.process_time()
        self._sleeps = _sleeps()
        self._handing = 0.0  # seconds, of the last tick
        self._cooling = COOLING
        self._ticks = 0
        self._quiet: list[float] = []  # seconds of each quiet tick

    async def stream(self, frames: Sequence[bytes], a_second: float) -> AsyncIterator[bytes]:
        """*frames* one by one at their pace."""
        start = self._clock()
        for number, frame in enumerate(frames):
            ahead = start + number / a_second - self._clock()
            if ahead > 0:
                await asyncio.sleep(ahead)
            self._tick()
            before = time.perf_counter()  # cheaper to read than the time of the process
            yield frame
            self._handing = time.perf_counter() - before

    def _tick(self) -> None:
        spent, sleeps = time.process_time(), _sleeps()
        if sleeps - self._sleeps > 1:
            self._cooling = COOLING
        elif self._cooling:
            self._cooling -= 1
        else:
            self._quiet.append(spent - self._seen - self._handing)
        self._seen, self._sleeps = spent, sleeps
        self._ticks += 1

    def result(self) -> dict[str, float]:
        """Seconds spent, with (``whole``) and without (``net``) the ticks."""
        whole = time.process_time() - self._start
        a_tick = sum(self._quiet) / len(self._quiet)
        return {"whole": whole, "net": whole - a_tick * self._ticks}


class InTurns:
    """While streams speak and rest in turns: what they cost themselves is measured in the rests.

    What comes after a rest goes to the store at once, so this has a few batches more than streams
    without. For many streams, which are never quiet, and whose ticks are cheap.
    """

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


def _sleeps() -> int:
    """How often this process went to sleep."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
