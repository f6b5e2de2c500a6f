"""How many upstream events a second can one core take from SSE bytes into the memory store?

The whole way: bytes written by an upstream -> decoder -> recorder -> reducer -> batches -> store,
with the job's tasks around it. The ceiling is the decoder and a JSON parser alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import anyio

from benchmarks.sample import DELTA_HEAD, frames
from benchmarks.table import interleaved, show
from response_cache import ANYBODY, Answer, ResponseCache
from response_cache._protocol.jsontext import load
from response_cache._protocol.requests import parse_create
from response_cache._protocol.sse import Decoder
from response_cache.stores.memory import MemoryStore

DELTAS = 50_000
BODY = json.dumps({"model": "m", "input": "x", "background": True}).encode()


def in_chunks(stream: Sequence[bytes], size: int) -> list[bytes]:
    """The same bytes in chunks of *size*."""
    whole = b"".join(stream)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def recorded(chunks: Sequence[bytes]) -> float:
    """Events a second through the library."""

    async def upstream(body: bytes, answer: Answer) -> None:
        assert body
        answer.start(200, [(b"content-type", b"text/event-stream")])
        for chunk in chunks:
            await answer.write(chunk)
        answer.finish()

    async def run() -> float:
        async with ResponseCache(MemoryStore(max_bytes=2**30)) as cache:
            start = time.perf_counter()
            created = await cache.create(parse_create(BODY), BODY, upstream, owner=ANYBODY)
            assert not hasattr(created, "status")
            view = await cache.retrieve(created.id, ANYBODY)
            while not view.closed:
                await cache.change(view, 10)
                view = await cache.retrieve(created.id, ANYBODY, after=view.tail - 1)
            took = time.perf_counter() - start
            assert view.tail == DELTAS + 7, view.tail
            return view.tail / took

    return anyio.run(run)


def decoded(chunks: Sequence[bytes]) -> float:
    """Events a second when they are only decoded and parsed."""
    decoder, count = Decoder(), 0
    start = time.perf_counter()
    for chunk in chunks:
        for event in decoder.feed(chunk):
            load(event.data)
            count += 1
    return count / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    single = frames(DELTAS)
    large = in_chunks(single, 64 * 1024)
    mended = [single[0], *single[1 + len(DELTA_HEAD) :]]  # the item and its part are not announced
    results = interleaved(
        {
            "recorded, one event a chunk": lambda: recorded(single),
            "recorded, 64 KiB chunks": lambda: recorded(large),
            "recorded and mended, one event a chunk": lambda: recorded(mended),
            "decoded and parsed only, one event a chunk": lambda: decoded(single),
            "decoded and parsed only, 64 KiB chunks": lambda: decoded(large),
        },
        rounds=5,
    )
    target = "target: at least 100,000"
    show(
        "SSE bytes in, events stored in memory",
        results,
        unit="events/s",
        targets={
            "recorded, one event a chunk": target,
            "recorded, 64 KiB chunks": target,
            "recorded and mended, one event a chunk": target,
        },
    )


if __name__ == "__main__":
    main()
