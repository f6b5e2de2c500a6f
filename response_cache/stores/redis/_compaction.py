"""Compaction: the log of a closed record is packed anew, into few large entries.

The log takes a third of the memory then. The events stay the same. After a failure the log stays as
it was, which costs memory and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from response_cache._log.batches import repacked
from response_cache.errors import StoreUnavailable
from response_cache.store import Claim
from response_cache.stores.redis._errors import Attempt
from response_cache.stores.redis._scripts import COMPACT, READ, Argument, Script

__all__ = ("CallScript", "Compaction")

logger = logging.getLogger("response_cache.stores.redis")

ENTRY_EVENTS: Final = 1000  # in one entry of a closed log: as many as one page of a reader
MIN_ENTRIES: Final = 5  # a log of fewer entries is left as it is


class CallScript(Protocol):
    """Calls a script on the keys of one response."""

    def __call__(
        self, script: Script, id: str, attempt: Attempt, *arguments: Argument
    ) -> Awaitable[Any]:
        """The answer of *script*, to be awaited.

        Raises:
            StoreUnavailable: there is no answer.
        """
        ...


class Compaction:
    """Compacts logs in tasks of its own."""

    def __init__(self, call: CallScript) -> None:
        self._call = call
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, claim: Claim) -> None:
        """Compact the log of *claim*'s record, which was closed under it."""
        task = asyncio.create_task(self._compact(claim))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Cancel all compactions that have not ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _compact(self, claim: Claim) -> None:
        attempt = ("compact %s", claim.id)
        try:
            answer = await self._call(READ, claim.id, attempt, -1, "")
            entries = answer[1][-1] if answer[0] == b"done" else ()
            length = len(entries) // 2
            if length < MIN_ENTRIES:
                return
            blocks: list[Argument] = []
            tail = 0
            for batch in repacked(entries[1::2], ENTRY_EVENTS):
                tail += len(batch)
                blocks += (tail, batch.block)
            await self._call(COMPACT, claim.id, attempt, claim.incarnation, length, *blocks)
        except StoreUnavailable as error:
            logger.info("the log stays as it is: %s", error)
