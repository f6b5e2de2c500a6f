"""A server that goes away for a while and comes back, with what it knew or without."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from tests.faults.site import Live
from tests.stores.servers import Server

__all__ = ("Memory", "Outage")


class Memory(Enum):
    """What a server has that comes back."""

    ALL = auto()
    NOTHING = auto()
    OLDER = auto()  # a copy of its data, made some time before it went


class Outage:
    """A server that goes away, and comes back with as much as it is to remember."""

    def __init__(self, server: Server, live: Live, memory: Memory) -> None:
        self.server = server
        self.live = live
        self.memory = memory
        self.copy = b""

    async def last(self, seconds: float) -> None:
        """Be away for so long; whoever polls meanwhile is refused, and nothing else."""
        await self._copy()
        clock = asyncio.get_running_loop().time
        await asyncio.to_thread(self._stop)
        began = clock()
        await self.live.is_refused()
        await asyncio.sleep(seconds - (clock() - began))
        assert self.live.statuses(began, clock()) == {503}
        await asyncio.to_thread(self._start)

    async def _copy(self) -> None:
        if self.memory is Memory.OLDER:
            self.copy = await asyncio.to_thread(_copy_of, self.server)
            await self.live.goes_on()

    def _stop(self) -> None:
        if self.memory is Memory.ALL:
            _stop_in_order(self.server)
        else:
            self.server.stop()

    def _start(self) -> None:
        if self.copy:
            self.server.data.write_bytes(self.copy)
        self.server.start()


def _copy_of(server: Server) -> bytes:
    with server.client() as client:
        client.save()
    return server.data.read_bytes()


def _stop_in_order(server: Server) -> None:
    """Let it save what it has acknowledged, all of it, and end by itself."""
    assert server.process is not None
    with server.client() as client:
        client.shutdown(save=True)
    server.process.wait()
    server.process = None
