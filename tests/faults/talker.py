"""An upstream that streams steadily, so that every moment of a fault falls into an answer."""

from __future__ import annotations

from typing import Final

import anyio

from response_cache.testing._upstream import Call, ScriptedUpstream

__all__ = ("Talker",)

PACE: Final = 0.01  # seconds between two deltas


class Talker(ScriptedUpstream):
    """Counts aloud until it is told that this is enough."""

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.enough = anyio.Event()
        self.is_silent = False  # for the moment
        self.said = 0
        self.text = ""  # all of it; no reader may have more

    async def _talk(self, call: Call) -> None:
        await call.begin()
        while not self.enough.is_set():
            if not self.is_silent:
                await self._say_more(call)
            await anyio.sleep(PACE)
        await call.complete()

    async def _say_more(self, call: Call) -> None:
        piece = f"{self.said} "
        self.text += piece
        self.said += 1
        await call.say(piece)
