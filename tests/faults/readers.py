"""Two kinds of readers: one that polls, and one that follows the stream. Neither gives up.

What they are told is judged as it comes: an answer is either true or a refusal that says when to
come back, and the events of a stream are numbered without a gap.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import httpx
from httpx_sse import aconnect_sse

from response_cache._protocol.lifecycle import TERMINAL
from response_cache.testing._http_suite.site import JsonObject, text_of
from tests.faults.lengths import WAIT_TIMEOUT
from tests.faults.talker import Talker

__all__ = ("Follower", "Look", "Poller", "Reader")

PAUSE: Final = 0.02  # seconds between two polls


class Reader(ABC):
    """Reads one response at one address to its end."""

    def __init__(self, client: httpx.AsyncClient, url: str, upstream: Talker) -> None:
        self.client = client
        self.url = url
        self.upstream = upstream
        self._changed = anyio.Event()

    @abstractmethod
    async def run(self) -> None:
        """Read until the response is over."""

    @abstractmethod
    def has_read(self, text: str, since: float) -> bool:
        """Whether it was told *text*, or more, after the time *since* by the loop's clock."""

    async def reads(self, text: str, since: float) -> None:
        """Return when it was told *text* after the time *since*."""
        await self.until(lambda: self.has_read(text, since))

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when *condition* holds, which only news can bring about."""
        async with asyncio.timeout(WAIT_TIMEOUT):
            while not condition():
                await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@dataclass(frozen=True, slots=True)
class Look:
    """One poll: when, by the loop's clock, and what it was answered."""

    asked: float
    answered: float
    status: int
    length: int = 0  # of the text
    is_over: bool = False


class Poller(Reader):
    """Polls all the time."""

    def __init__(self, client: httpx.AsyncClient, url: str, upstream: Talker) -> None:
        super().__init__(client, url, upstream)
        self.looks: list[Look] = []
        self.last: JsonObject = {}  # the response as it was last seen

    async def run(self) -> None:
        """See ``Reader.run``."""
        while not (self.looks and self.looks[-1].is_over):
            self.looks.append(await self._look())
            self._tell()
            await asyncio.sleep(PAUSE)

    async def _look(self) -> Look:
        clock = asyncio.get_running_loop().time
        asked = clock()
        reply = await self.client.get(self.url)
        answered = clock()
        if reply.status_code == 200:
            self.last = reply.json()
            text = text_of(self.last)
            assert self.upstream.text.startswith(text), "a made-up answer"
            return Look(asked, answered, 200, len(text), self.last["status"] in TERMINAL)
        assert reply.status_code in (404, 503), reply.content
        assert reply.status_code == 404 or reply.headers["retry-after"] == "1"
        return Look(asked, answered, reply.status_code)

    def has_read(self, text: str, since: float) -> bool:
        """See ``Reader.has_read``."""
        look = self.looks[-1] if self.looks else None
        return look is not None and look.length >= len(text) and look.asked >= since

    async def is_refused(self, since: float) -> None:
        """Return when a poll made after *since* was answered 503."""
        await self.until(
            lambda: any(look.status == 503 and look.asked >= since for look in self.looks[-1:])
        )

    async def is_over(self) -> None:
        """Return when it knows the end."""
        await self.until(lambda: self.looks[-1].is_over)

    def statuses(self, since: float = 0.0, until: float = float("inf")) -> set[int]:
        """What the polls were answered that were made and answered between these times."""
        return {look.status for look in self.looks if since <= look.asked <= look.answered < until}

    def longest_absence(self) -> float:
        """The longest time for which all that it was told was 404."""
        longest, began = 0.0, None
        for look in self.looks:
            if look.status == 404:
                began = look.asked if began is None else began
                longest = max(longest, look.answered - began)
            else:
                began = None
        return longest


class Follower(Reader):
    """Follows one stream, which must not end before the response does."""

    def __init__(self, client: httpx.AsyncClient, url: str, upstream: Talker) -> None:
        super().__init__(client, url, upstream)
        self.events: list[JsonObject] = []
        self.text = ""

    async def run(self) -> None:
        """See ``Reader.run``."""
        query = {"stream": "true"}
        async with aconnect_sse(self.client, "GET", self.url, params=query) as source:
            source.response.raise_for_status()
            async for message in source.aiter_sse():
                self._take(message.json())

    def _take(self, event: JsonObject) -> None:
        assert event["sequence_number"] == len(self.events), "a gap, or one event twice"
        self.events.append(event)
        if event["type"] == "response.output_text.delta":
            self.text += event["delta"]
            assert self.upstream.text.startswith(self.text), "out of order"
        self._tell()

    def has_read(self, text: str, since: float) -> bool:
        """See ``Reader.has_read``. What it was told before *since* it is not told again."""
        return len(self.text) >= len(text)
