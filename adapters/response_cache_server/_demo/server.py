"""The sidecar of the demonstration: a process of its own, from its start to its end."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

__all__ = ("DemoServerFailed", "running_sidecar")

START_TIMEOUT: Final = 30.0
STOP_TIMEOUT: Final = 10.0
LISTENS: Final = re.compile(rb"listens on (http://\S+)")


class DemoServerFailed(Exception):
    """The server did not start, or did not end when it was told to."""


@asynccontextmanager
async def running_sidecar(*flags: str) -> AsyncIterator[str]:
    """A sidecar on a free port of this machine, for as long as the block runs; gives its URL.

    Raises:
        DemoServerFailed: it did not listen in time. Its own messages are on the standard error.
    """
    command = [sys.executable, "-m", "response_cache_server", "serve", "--port", "0", *flags]
    env = {"RESPONSE_CACHE_SECRET": secrets.token_hex(16), **os.environ}
    async with await anyio.open_process(command, stderr=None, env=env) as process:
        try:
            yield await _address(process)
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


async def _address(process: Process) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe, as open_process makes it
    try:
        with anyio.fail_after(START_TIMEOUT):
            lines = BufferedByteReceiveStream(process.stdout)
            while not (found := LISTENS.search(await lines.receive_until(b"\n", 10_000))):
                pass
    except (TimeoutError, anyio.IncompleteRead):
        raise DemoServerFailed("the server did not start") from None
    return found[1].decode()


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    with anyio.move_on_after(STOP_TIMEOUT):
        await process.wait()
        return
    process.kill()
    raise DemoServerFailed(f"the server did not end {STOP_TIMEOUT:.0f} s after SIGTERM")
