"""Another process on the same file: does what the test tells it, one line of JSON at a time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from response_cache.errors import StoreError
from response_cache.store import Append, Claim
from response_cache.stores.sqlite._store import SQLiteStore
from tests import deadlines
from tests.stores.sqlite.subject import LEASE, TTL, create

ROOT: Final = Path(__file__).resolve().parents[3]
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
NOBODY: Final = 65534


class Peer:
    """The test's end of the line."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._orders = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def ask(self, order: str, **arguments: Any) -> Any:
        """Have *order* done; its result, or the name of the error that it raised."""
        await self._orders.send(json.dumps({"order": order, **arguments}).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        """The next line that the process has written."""
        with anyio.fail_after(WAIT_TIMEOUT):
            return json.loads(await self._answers.receive_until(b"\n", 2**20))


@asynccontextmanager
async def peer_on(path: Path, **options: Any) -> AsyncIterator[Peer]:
    """A process that has not opened the file yet; ended by its own handle."""
    async with await anyio.open_process(
        [sys.executable, "-m", __name__, str(path), json.dumps(options)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
    ) as process:
        try:
            yield Peer(process)
        finally:
            if process.returncode is None:
                process.kill()


class _Orders:
    """What the process can do; every method is an order."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self._claims: dict[str, Claim] = {}

    async def open(self) -> None:
        await self._store.open()

    async def create(self, id: str) -> None:
        self._claims[id] = await create(self._store, id)

    async def append(self, id: str, *events: str, close: bool = False) -> float:
        """The time just before the append was asked for."""
        before = time.time()
        claim = self._claims[id]
        append = Append(
            events=[event.encode() for event in events],
            token=f"at {claim.tail}",
            close=close,
            ttl=TTL,
        )
        self._claims[id] = (await self._store.append(claim, append, LEASE)).claim
        return before

    async def flood(self, id: str) -> None:
        """Append for ever, and say after each acknowledgement what was acknowledged."""
        while True:
            tail = self._claims[id].tail
            await self.append(id, *[str(n) for n in range(tail, tail + 25)])
            _say(self._claims[id].tail)

    async def take(self, id: str) -> None:
        taken = await self._store.take(id, lease=LEASE)
        assert taken.claim is not None
        self._claims[id] = taken.claim

    async def delete(self, id: str) -> bool:
        return await self._store.delete(id)

    async def give_up_rights(self) -> None:
        """Be nobody, for whom a read-only file is read-only, where this process is root."""
        if os.geteuid() == 0:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)

    async def limit_files(self, spare: int | None) -> None:
        """Let no file grow by more than *spare* bytes; None: let them grow again."""
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        files = self._path.parent.glob(f"{self._path.name}*")
        largest = max(file.stat().st_size for file in files)
        soft = hard if spare is None else largest + spare
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @property
    def _path(self) -> Path:
        return Path(sys.argv[1])


async def _obey() -> None:
    orders = _Orders(SQLiteStore(sys.argv[1], **json.loads(sys.argv[2])))
    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        request = json.loads(line)
        events = request.pop("events", ())
        order, id = request.pop("order"), [request.pop("id")] if "id" in request else []
        try:
            _say(await getattr(orders, order)(*id, *events, **request))
        except StoreError as error:
            _say(f"{type(error).__name__}: {error}")


def _say(answer: Any) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    anyio.run(_obey)
