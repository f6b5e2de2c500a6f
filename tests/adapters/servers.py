"""Real servers for tests: in this event loop, or as a process; always on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anyio
import uvicorn
from anyio.abc import ByteReceiveStream, Process

from tests import deadlines

DEADLINE: Final = deadlines.WAIT_TIMEOUT
"""Seconds after which a test that waits for something has failed."""

LISTENS: Final = re.compile(r"listens on (http://\S+)")


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()
        self.stop = anyio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stop.wait()


@asynccontextmanager
async def serving(
    app: Any, *, lifespan: Literal["on", "off"] = "off", **options: Any
) -> AsyncIterator[str]:
    """Serve *app* in this (asyncio) event loop while the block runs; gives the base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio cannot tell it is TCP
    config = uvicorn.Config(
        app, lifespan=lifespan, log_level="critical", timeout_graceful_shutdown=1, **options
    )
    server = _Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener])
        with anyio.fail_after(DEADLINE):
            await server.up.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop.set()


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; fail when that takes too long."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - it may be about another process
            await anyio.sleep(0.01)


@dataclass
class Program:
    """A running command line and what it has printed."""

    process: Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def stdout(self) -> str:
        return "".join(self.out)

    @property
    def stderr(self) -> str:
        return "".join(self.err)

    @property
    def url(self) -> str:
        """Where it says that it listens."""
        found = LISTENS.search(self.stdout)
        assert found, self.stdout + self.stderr
        return found[1]

    async def listening(self) -> str:
        """Wait until it says where it listens; fail with its words when it ends instead."""
        with anyio.fail_after(DEADLINE):
            while not LISTENS.search(self.stdout):
                assert self.process.returncode is None, self.stdout + self.stderr
                await anyio.sleep(0.01)
        return self.url

    async def ended(self) -> int:
        """Wait for its end; gives the exit code."""
        with anyio.fail_after(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def program(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Program]:
    """``response-cache`` with *arguments*, as a process; killed when the block is left."""
    own = {name: v for name, v in os.environ.items() if not name.startswith("RESPONSE_CACHE_")}
    command = [sys.executable, "-m", "response_cache_server", *arguments]
    process = await anyio.open_process(command, env={**own, **(env or {})})
    running = Program(process)
    async with process, anyio.create_task_group() as group:
        assert process.stdout is not None
        assert process.stderr is not None
        group.start_soon(_collect, process.stdout, running.out)
        group.start_soon(_collect, process.stderr, running.err)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()


async def run_program(*arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, Program]:
    """Run ``response-cache`` to its end: the exit code, and what it printed."""
    async with program(*arguments, env=env) as running:
        code = await running.ended()
    return code, running


async def _collect(stream: ByteReceiveStream, into: list[str]) -> None:
    async for chunk in stream:
        into.append(chunk.decode())  # noqa: PERF401 - others look at it meanwhile
