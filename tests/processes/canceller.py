"""A process that takes a response and never gets to its closing append.

It is told the store's URL, the response's id and the lease to take it with.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from response_cache.stores import store_from_url

ROOT: Final = Path(__file__).resolve().parents[2]
TAKEN: Final = b"taken\n"


async def kill_between_the_steps_of_a_cancel(store: str, id: str, *, lease: float) -> None:
    """Have a process take the response, and kill it as soon as it has."""
    command = [sys.executable, "-m", __name__, store, id, str(lease)]
    async with await anyio.open_process(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=None
    ) as process:
        try:
            assert await _first_words(process) == TAKEN
        finally:
            process.kill()


async def _first_words(process: Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.receive()


async def _take() -> None:
    url, id, lease = sys.argv[1:]
    store = store_from_url(url)
    await store.open()
    taken = await store.take(id, lease=float(lease))
    assert taken.claim is not None
    os.write(1, TAKEN)
    await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(_take)
