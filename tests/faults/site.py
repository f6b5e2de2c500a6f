"""Two processes over one Redis, as far as Redis can tell: one records, the other only reads.

They share an event loop, but nothing else: each is a middleware of its own on a port of its own,
and knows of the other's jobs what the store says. So the one that only reads is free to take a live
response for an orphan, which it must not.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from redis import Redis

from response_cache import Store
from response_cache.stores.redis._subscriptions import Listener
from response_cache.testing._http_suite.site import JsonObject, text_of
from response_cache.testing._upstream import Call
from response_cache_asgi import ResponseCacheMiddleware
from tests.adapters.servers import eventually, serving
from tests.faults.lengths import WAIT_TIMEOUT, Lengths
from tests.faults.readers import Follower, Poller, Reader
from tests.faults.talker import Talker

__all__ = ("Live", "Site", "site_over", "store_url")

A_FEW: Final = 8  # deltas
CONNECTIONS: Final = 2  # that each process may have for its pipelines, besides one to listen
LISTENING: Final = {f"{Listener.__qualname__}.{name}" for name in vars(Listener)}
"""Tasks that stay when nothing is recorded or read: a process keeps its ear at the server."""


def store_url(url: str, lengths: Lengths) -> str:
    """The URL of a store at the server's *url* that tries no longer than *lengths* say."""
    return f"{url}?socket_timeout={lengths.socket_timeout}&max_connections={CONNECTIONS}"


@dataclass
class Site:
    """Both processes, ready to be asked."""

    upstream: Talker
    client: httpx.AsyncClient
    recording: str  # where the process is that records
    reading: str  # where the other is

    @asynccontextmanager
    async def response(
        self, *, follow_at: str = "", poll_at: tuple[str, ...] = (), ends: str = "completed"
    ) -> AsyncIterator[Live]:
        """A response that is being made while the context lasts, and is read all the time.

        It must have begun to be heard when the context is entered; when it is left, the upstream
        comes to its end. Then the response must be over as *ends* says, with nothing lost, doubled
        or left behind.
        """
        before = asyncio.all_tasks()
        live = await self._begin(follow_at or self.reading, poll_at or self.addresses)
        async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as tasks:
            for reader in live.readers:
                tasks.create_task(reader.run())
            await live.goes_on()
            yield live
            self.upstream.enough.set()
            patience.reschedule(asyncio.get_running_loop().time() + WAIT_TIMEOUT)
        live.assert_ended(ends)
        await self._until_only(before)

    @property
    def addresses(self) -> tuple[str, str]:
        """Where both are."""
        return self.recording, self.reading

    async def create(self) -> httpx.Response:
        """The reply to a create."""
        body = {"model": "scripted-1", "input": "hi", "background": True}
        return await self.client.post(f"{self.recording}/v1/responses", json=body)

    async def is_refused(self) -> None:
        """A create is, politely."""
        reply = await self.create()
        assert reply.status_code == 503, reply.content
        assert reply.headers["retry-after"] == "1"

    async def _begin(self, follow_at: str, poll_at: tuple[str, ...]) -> Live:
        reply = await self.create()
        assert reply.status_code == 200, reply.content
        id = reply.json()["id"]
        path = f"/v1/responses/{id}"
        return Live(
            id,
            self.upstream,
            await self.upstream.next_call(),
            [Poller(self.client, base + path, self.upstream) for base in poll_at],
            Follower(self.client, follow_at + path, self.upstream),
        )

    async def _until_only(self, before: set[asyncio.Task[Any]]) -> None:
        """Return when all tasks have ended that were not there *before*."""
        clock = asyncio.get_running_loop().time
        until = clock() + WAIT_TIMEOUT
        while (left := self._since(before)) and clock() < until:  # noqa: ASYNC110 - of all tasks
            await asyncio.sleep(0.01)
        assert not left, f"tasks that nobody needs any more: {left}"

    def _since(self, before: set[asyncio.Task[Any]]) -> Counter[str]:
        """The tasks that have come since, by name."""
        tasks = asyncio.all_tasks() - before
        names = Counter(getattr(task.get_coro(), "__qualname__", "") for task in tasks)
        ours = Counter({name: n for name, n in names.items() if not name.startswith("Proxy.")})
        return ours - Counter(dict.fromkeys(LISTENING, len(self.addresses)))


@dataclass
class Live:
    """A response that is being made, and its readers."""

    id: str
    upstream: Talker
    call: Call
    pollers: list[Poller]
    follower: Follower

    @property
    def readers(self) -> list[Reader]:
        """All of them."""
        return [*self.pollers, self.follower]

    async def goes_on(self) -> None:
        """Return when every reader is told of what has not been said yet."""
        goal = self.upstream.said + A_FEW
        await eventually(lambda: self.upstream.said >= goal)
        await self.is_back()

    async def is_back(self) -> float:
        """Return when every reader is told what had been said by now; the seconds it took."""
        clock = asyncio.get_running_loop().time
        began, text = clock(), self.upstream.text
        for reader in self.readers:
            await reader.reads(text, began)
        return clock() - began

    async def is_refused(self) -> None:
        """Return when every reader that polls was refused once more."""
        began = asyncio.get_running_loop().time()
        for poller in self.pollers:
            await poller.is_refused(began)

    async def is_over(self) -> None:
        """Return when every reader that polls knows the end."""
        for poller in self.pollers:
            await poller.is_over()

    @property
    def key(self) -> str:
        """The first of its keys, from which the others are named."""
        return f"response_cache:{self.id}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it has while it is made."""
        return self.key, *(f"{{{self.key}}}:{part}" for part in ("log", "meta", "request"))

    def statuses(self, since: float = 0.0, until: float = float("inf")) -> set[int]:
        """What polls were answered that were made and answered between these times."""
        return set().union(*(poller.statuses(since, until) for poller in self.pollers))

    def assert_ended(self, status: str) -> None:
        """Judge the end, and all that led to it."""
        last = self.follower.events[-1]
        assert last["type"] == f"response.{status}"
        for poller in self.pollers:
            assert poller.last == last["response"]
        if status == "completed":
            assert text_of(last["response"]) == self.follower.text == self.upstream.text
            assert not self.call.is_stopped
        assert len(self.upstream.calls) == 1

    def assert_stored_once(self, client: Redis) -> None:
        """What everybody can read in the server is what readers were told."""
        stored: JsonObject = json.loads(client.get(self.key) or b"")
        assert stored == self.follower.events[-1]["response"]


@asynccontextmanager
async def site_over(
    recording: Store | str, reading: Store | str, lengths: Lengths, **options: Any
) -> AsyncIterator[Site]:
    """A site whose processes reach Redis as *recording* and *reading* say."""
    upstream = Talker()
    given = {"drain_on_signals": False, **lengths.options, **options}
    recorder = ResponseCacheMiddleware(upstream, recording, **given)
    reader = ResponseCacheMiddleware(upstream, reading, **given)
    async with (
        serving(recorder, lifespan="on") as recording_at,
        serving(reader, lifespan="on") as reading_at,
        httpx.AsyncClient(timeout=None) as client,
    ):
        yield Site(upstream, client, recording_at, reading_at)
