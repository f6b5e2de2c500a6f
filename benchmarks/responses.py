"""One response from a stream of chunks into a store, the whole way that the library goes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

import anyio

from response_cache import ANYBODY, Answer, Refusal, ResponseCache
from response_cache._protocol.requests import parse_create

__all__ = ("Recording", "record")

BODY: Final = json.dumps({"model": "m", "input": "x", "background": True}).encode()
WAIT_TIMEOUT: Final = 120.0


class Recording:
    """A response that is recorded from chunks."""

    def __init__(self, cache: ResponseCache, chunks: AsyncIterator[bytes]) -> None:
        self._cache = cache
        self._chunks = chunks
        self._ended = anyio.Event()
        self.id = ""

    async def begin(self) -> str:
        """Create it; the rest happens in the background. Its id."""
        created = await self._cache.create(parse_create(BODY), BODY, self._answer, owner=ANYBODY)
        assert not isinstance(created, Refusal), created
        self.id = created.id
        return self.id

    async def end(self) -> None:
        """Return when the store has all of it. Until the last chunk this costs nothing."""
        with anyio.fail_after(WAIT_TIMEOUT):
            await self._ended.wait()
            await self._cache.finished(self.id)

    async def _answer(self, _body: bytes, answer: Answer) -> None:
        answer.start(200, [(b"content-type", b"text/event-stream")])
        await answer.relay(self._chunks)
        answer.finish()
        self._ended.set()


async def record(cache: ResponseCache, chunks: AsyncIterator[bytes]) -> str:
    """Record all of *chunks* while nobody reads; the id of the response, which is over then."""
    recording = Recording(cache, chunks)
    await recording.begin()
    await recording.end()
    return recording.id
