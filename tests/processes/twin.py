"""A recorder whose claim another one holds as well: same response, same incarnation, epoch 1.

It is told the store's URL and the response's id, and then does as it is told, a word a line:
``say`` some events, make ``sure`` that the store has them, ``complete``. It says ``sure`` when it
is, and at last how the writing ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from response_cache._protocol.jsontext import dump
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.writer import LEAST_LIFE, Creation, Outcome, Writer
from response_cache.options import Options
from response_cache.store import NewRecord
from response_cache.stores import store_from_url
from tests import deadlines
from tests.record_headers import header

ROOT: Final = Path(__file__).resolve().parents[2]
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
LIFE: Final = 600.0
WORDS: Final = 100  # of one ``say``
WORD_INTERVAL: Final = 0.001  # between two of them, so that many batches are made
TOLD: Final = b'{"type":"response.completed","response":{"id":"upstream"}}'


class Twin:
    """The test's end of the line."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def do(self, *orders: str) -> None:
        """Tell it what to do."""
        await self._orders.send("".join(f"{order}\n" for order in orders).encode())

    async def answer(self) -> str:
        """The next line that it says."""
        with anyio.fail_after(WAIT_TIMEOUT):
            return (await self._answers.receive_until(b"\n", 100)).decode()


@asynccontextmanager
async def twin(store: str, id: str) -> AsyncIterator[Twin]:
    """A process that holds the claim; killed at the end."""
    async with await anyio.open_process(
        [sys.executable, "-m", __name__, store, id],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
    ) as process:
        try:
            yield Twin(process)
        finally:
            if process.returncode is None:
                process.kill()


async def _live() -> None:
    url, id = sys.argv[1:]
    store = store_from_url(url)
    await store.open()
    try:
        recorder = _queued(id)
        creation, intake = _creation(id, recorder), Intake(recorder)
        writer = Writer(store, creation, intake, Options(flush_interval=0.0))
        await writer.create()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey, intake, writer)
            _say((await writer.run()).name)
            tasks.cancel_scope.cancel()
    finally:
        await store.aclose()


def _queued(id: str) -> Recorder:
    queued = {"id": id, "status": "queued", "metadata": {}, "output": []}
    return Recorder.begin(queued, now=lambda: 0.0, max_events=10_000)


def _creation(id: str, recorder: Recorder) -> Creation:
    record = NewRecord(
        id=id,
        incarnation="the only one",
        header=header(),
        request=b"{}",
        snapshot=recorder.snapshot(),
        events=recorder.take(),
        status=recorder.status,
        ttl=max(LIFE, LEAST_LIFE),
    )
    return Creation(record, ttl=LIFE, stream_ttl=LIFE)


async def _obey(intake: Intake, writer: Writer) -> None:
    while order := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        match order.strip():
            case "say":
                for _ in range(WORDS):
                    intake.record(dump({"type": "twin.word", "by": os.getpid()}))
                    writer.wake()
                    await anyio.sleep(WORD_INTERVAL)
            case "sure":
                await writer.confirm()
                _say("sure")
            case "complete":
                intake.record(TOLD)
                writer.wake()


def _say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


CLOSED: Final = Outcome.CLOSED.name
TAKEN: Final = Outcome.TAKEN.name

if __name__ == "__main__":
    anyio.run(_live)
    os._exit(0)  # a thread may still wait for a line
