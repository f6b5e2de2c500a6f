"""A TCP proxy in front of a server, for connections that break at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

__all__ = ("Fault", "Proxy", "proxy_to")


class Fault(Enum):
    """What becomes of the next reply; its connection is closed then."""

    LOST = auto()  # the server has done what it was asked; nobody is told
    CUT = auto()  # half of it arrives


class Proxy:
    """Passes bytes on, late if *latency* (seconds for each reply) says so."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.latency = 0.0
        self.fault: Fault | None = None
        self.replies = 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if task := asyncio.current_task():
            self.serving.add(task)
            task.add_done_callback(self.serving.discard)
        remote_reader, remote_writer = await asyncio.open_connection("127.0.0.1", self.target)
        ends = {writer, remote_writer}
        self.connections |= ends
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self.pump(reader, remote_writer, is_reply=False))
                pumps.create_task(self.pump(remote_reader, writer, is_reply=True))
        except* ConnectionError:
            pass  # the other end has closed it, as both may
        finally:
            self.connections -= ends
            for end in ends:
                end.close()

    async def pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        """One direction of it."""
        while data := await source.read(1 << 16):
            if is_reply:
                await asyncio.sleep(self.latency)
                self.replies += 1
                if fault := self.fault:
                    self.fault = None
                    sink.write(data[: len(data) // 2] if fault is Fault.CUT else b"")
                    break
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError("closed")

    def cut_all(self) -> None:
        """Close every connection."""
        for connection in self.connections:
            connection.close()


@asynccontextmanager
async def proxy_to(target: int) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut_all()
        await asyncio.gather(*proxy.serving, return_exceptions=True)
