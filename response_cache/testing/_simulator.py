"""A simulation of processes, an upstream and readers over one store, with faults that a test plans.

For tests on a virtual clock (``trio.testing.MockClock(autojump_threshold=0)``), where hours pass at
once and the same script always has the same result:

* ``FaultyStore`` is shared by all processes. It loses acknowledgements, applies writes late, is
  slow or does not answer, and loses its newest writes or all of them, as in a fail-over or a
  restart. Its clock can be set.
* ``Connection`` is the store as one process sees it: a ``Store`` whose network can be cut.
* ``Process`` hosts a ``ResponseCache`` over a connection, and can crash.
* ``ScriptedAnswer`` is an upstream that answers when the test says so.
* ``Reader`` follows one response to its end, and resumes each stream that breaks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import anyio.lowlevel

from response_cache._protocol.events import TERMINAL
from response_cache._protocol.ids import ANYBODY, Owner
from response_cache._protocol.jsontext import JsonObject, dump, load
from response_cache._protocol.sse import frame, payload
from response_cache._recording.answer import Answer
from response_cache.cache import ResponseCache
from response_cache.errors import (
    NotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StreamBroken,
    Unavailable,
)
from response_cache.options import Options
from response_cache.store import (
    Append,
    Appended,
    Claim,
    Link,
    NewRecord,
    RecordView,
    Store,
    Taken,
)

__all__ = ("Connection", "Fault", "FaultyStore", "Process", "Reader", "ScriptedAnswer")

T = TypeVar("T")
Call: TypeAlias = Callable[[Store], Awaitable[T]]
Clock: TypeAlias = Callable[[], float]

EPOCH: Final = 1_700_000_000.0  # Unix seconds at which the virtual clocks begin


class Fault(Enum):
    """The fault of one operation."""

    BEFORE = auto()  # no answer, no effect
    AFTER = auto()  # no answer, but an effect: the acknowledgement was lost
    LATE = auto()  # no answer, and an effect after some more operations
    SLOW = auto()  # the answer comes after ``slowness`` seconds


@dataclass(slots=True)
class _Late:
    """A write that has not reached the store yet."""

    id: str
    call: Call[Any]
    remaining: int  # operations that reach the store before it


class FaultyStore:
    """A store that processes share over a bad network, and that loses writes.

    It keeps a journal of all writes. To lose some of them, it performs the others again on a new
    store, each at its own time, so that leases and expiry are as they were.
    """

    def __init__(
        self,
        make: Callable[[Clock], Store],
        *,
        clock: Clock = anyio.current_time,
        lateness: int = 2,
        slowness: float = 1.0,
    ) -> None:
        """*make* returns an empty store on the clock that it is given; it needs no ``open``.

        A late write takes effect after *lateness* more operations. A slow answer comes after
        *slowness* seconds.
        """
        self._make = make
        self._now = clock
        self._offset = 0.0
        self._replayed_at: float | None = None
        self._lateness = lateness
        self._slowness = slowness
        self._journal: list[tuple[float, str, Call[Any]]] = []
        self._late: list[_Late] = []
        self._planned: dict[str, deque[Fault | None]] = {}
        self._shaken = anyio.Event()
        self.is_down = False
        self.is_full = False  # refuses writes that need room; the end of a response frees room
        self.operations: Counter[str] = Counter()
        self.truth = make(self._time)

    def plan(self, operation: str, *faults: Fault | None) -> None:
        """Plan the *faults* of the next calls of *operation*, one for each; None is no fault."""
        self._planned.setdefault(operation, deque()).extend(faults)

    @property
    def planned(self) -> int:
        """How many calls still have a plan."""
        return sum(map(len, self._planned.values()))

    def go_down(self) -> None:
        """Do not answer until ``come_back``."""
        self.is_down = True
        self.shake()

    def come_back(self) -> None:
        """Answer again, with room for writes."""
        self.is_down = self.is_full = False
        self.shake()

    def step_clock(self, seconds: float) -> None:
        """Set the store's clock forward, or back where *seconds* are negative."""
        self._offset += seconds

    async def lose(self, newest: int | None = None, *, id: str | None = None) -> None:
        """Lose the *newest* acknowledged writes (None: all of them), of one *id* or of all ids."""
        concerned = [n for n, (_, of, _) in enumerate(self._journal) if id in (None, of)]
        lost = set(concerned if newest is None else concerned[len(concerned) - newest :])
        kept = [entry for n, entry in enumerate(self._journal) if n not in lost]
        self._journal, self.truth = kept, self._make(self._time)
        for self._replayed_at, _, call in kept:
            await call(self.truth)
        self._replayed_at = None
        self.shake()

    async def perform(
        self,
        name: str,
        id: str,
        call: Call[T],
        *,
        writes: bool = False,
        takes_room: bool = False,
    ) -> T:
        """One operation of a process, with the fault that is planned for it."""
        await anyio.lowlevel.checkpoint()
        self.operations[name] += 1
        await self._let_late_ones_in()
        planned = self._planned.get(name)
        fault = planned.popleft() if planned else None
        if self.is_down or fault is Fault.BEFORE or (fault is Fault.LATE and not writes):
            raise StoreUnavailable(f"{name}: the store does not answer")
        if self.is_full and takes_room:
            raise StoreFull(f"{name}: there is no room")
        if fault is Fault.LATE:
            self._late.append(_Late(id, call, self._lateness))
            raise StoreUnavailable(f"{name}: the store does not answer yet")
        if fault is Fault.SLOW:
            await anyio.sleep(self._slowness)
        result = await self._apply(id, call) if writes else await call(self.truth)
        if fault is Fault.AFTER:
            raise StoreUnavailable(f"{name}: the answer was lost")
        return result

    async def until_shaken(self) -> None:
        """Return at the next call of ``shake``."""
        await self._shaken.wait()

    def shake(self) -> None:
        """End every ``Store.wait``, as a connection does that breaks or is mended."""
        self._shaken.set()
        self._shaken = anyio.Event()

    def _time(self) -> float:
        if self._replayed_at is not None:
            return self._replayed_at
        return self._now() + self._offset

    async def _apply(self, id: str, call: Call[T]) -> T:
        result = await call(self.truth)
        self._journal.append((self._time(), id, call))
        return result

    async def _let_late_ones_in(self) -> None:
        for late in self._late:
            late.remaining -= 1
        due = [late for late in self._late if late.remaining <= 0]
        self._late = [late for late in self._late if late.remaining > 0]
        for late in due:
            with suppress(StoreError):  # no caller waits for the answer any more
                await self._apply(late.id, late.call)


class Connection:
    """A ``FaultyStore`` as one process sees it."""

    def __init__(
        self, shared: FaultyStore, *, flush_interval: float = 0.05, may_lose_writes: bool = True
    ) -> None:
        self._shared = shared
        self.flush_interval = flush_interval
        self.may_lose_writes = may_lose_writes
        self.id_tag = ""
        self.tombstone_ttl = shared.truth.tombstone_ttl
        self.is_cut = False

    def __repr__(self) -> str:
        return "Connection(FaultyStore)"

    def cut(self) -> None:
        """Break the network: no operation succeeds from now on."""
        self.is_cut = True
        self._shared.shake()

    def mend(self) -> None:
        """Mend the network: operations succeed again."""
        self.is_cut = False
        self._shared.shake()

    async def open(self) -> None:
        """There is nothing to open."""

    async def aclose(self) -> None:
        """There is nothing to close: other processes use the shared store."""

    async def create(self, new: NewRecord, lease: float) -> Claim:
        """See ``Store.create``."""
        return await self._write(
            "create", new.id, lambda store: store.create(new, lease), takes_room=True
        )

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """See ``Store.append``."""
        brings = append.events or append.snapshot is not None or append.notes is not None
        return await self._write(
            "append",
            claim.id,
            lambda store: store.append(claim, append, lease),
            takes_room=bool(brings) and not append.close,
        )

    async def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """See ``Store.take``."""
        return await self._write(
            "take",
            id,
            lambda store: store.take(
                id, lease=lease, only_orphaned=only_orphaned, raise_by=raise_by
            ),
        )

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        self._require_whole()
        return await self._shared.perform(
            "read", id, lambda store: store.read(id, after=after, limit=limit)
        )

    async def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        self._require_whole()
        return await self._shared.perform("request", id, lambda store: store.request(id))

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """See ``Store.wait``. It also ends when the connection is cut or mended."""

        async def call(store: Store) -> None:
            async with anyio.create_task_group() as tasks:

                async def wake_up() -> None:
                    await self._shared.until_shaken()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(wake_up)
                await store.wait(
                    id, after=after, epoch=epoch, incarnation=incarnation, closed=closed
                )
                tasks.cancel_scope.cancel()

        self._require_whole()
        await self._shared.perform("wait", id, call)
        self._require_whole()

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``."""
        return await self._write("delete", id, lambda store: store.delete(id, claim=claim))

    async def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """See ``Store.renew``. Each link has its own place among the writes, as on a server."""
        found: list[bool] = []
        for link in links:
            found += await self._write("renew", link.id, partial(_renewed, link, ttl))
        return found

    async def _write(self, name: str, id: str, call: Call[T], *, takes_room: bool = False) -> T:
        self._require_whole()
        result = await self._shared.perform(name, id, call, writes=True, takes_room=takes_room)
        self._require_whole()  # cut meanwhile: the answer does not arrive
        return result

    def _require_whole(self) -> None:
        if self.is_cut:
            raise StoreUnavailable("the connection is cut")


async def _renewed(link: Link, ttl: float, store: Store) -> Sequence[bool]:
    return await store.renew([link], ttl=ttl)


class Process:
    """One process, with a cache and a connection of its own."""

    def __init__(
        self, shared: FaultyStore, options: Options | None = None, *, may_lose_writes: bool = True
    ) -> None:
        self._scope = anyio.CancelScope()
        self._clock_offset = EPOCH - anyio.current_time()
        self.connection = Connection(shared, may_lose_writes=may_lose_writes)
        self.cache = ResponseCache(
            self.connection, options, now=lambda: anyio.current_time() + self._clock_offset
        )
        self.has_ended = anyio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ResponseCache]:
        """Run until the context ends or ``crash`` is called."""
        started = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, started)
            await started.wait()
            yield self.cache
            self._scope.cancel()

    def crash(self) -> None:
        """Crash: cancel all that runs. Nothing that it still sends reaches the store."""
        self.connection.cut()
        self._scope.cancel()

    async def _run(self, started: anyio.Event) -> None:
        try:
            with self._scope:
                async with self.cache:
                    started.set()
                    await anyio.sleep_forever()
        finally:
            self.has_ended.set()


class ScriptedAnswer:
    """An upstream that answers what the test tells it."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._more = anyio.Event()
        self._is_complete = False
        self.bodies: list[bytes] = []  # of the requests that it got
        self.has_ended = anyio.Event()  # a call has ended, in whatever way
        self.was_told = False  # that it is stopped, before it was cancelled

    def send(self, event: JsonObject) -> None:
        """Send one more event."""
        self._chunks.append(frame(event["type"], dump(event)))
        self._more.set()

    def finish(self) -> None:
        """End the answer after the events that were sent."""
        self._is_complete = True
        self._more.set()

    async def __call__(self, body: bytes, answer: Answer) -> None:
        """See ``response_cache._recording.answer.Upstream``."""
        self.bodies.append(body)
        try:
            answer.start(200, ((b"content-type", b"text/event-stream"),))
            while self._chunks or not self._is_complete:
                if self._chunks:
                    await answer.write(self._chunks.popleft())
                else:
                    self._more = anyio.Event()
                    await self._more.wait()
        finally:
            self.was_told = answer.stopped.is_set()
            self.has_ended.set()


class Reader:
    """Reads the stream of one response to its end, and resumes as often as necessary."""

    PAUSE: Final = 0.5  # seconds until it tries again

    def __init__(
        self,
        cache: ResponseCache,
        id: str,
        *,
        owner: Owner = ANYBODY,
        patience: float = 0.0,
        seen: Callable[[bytes, int], Awaitable[None]] | None = None,
    ) -> None:
        """*seen* is called with each frame and its index in ``frames``.

        A response that is not found is asked for again for *patience* seconds.
        """
        self._cache = cache
        self._id = id
        self._owner = owner
        self._patience = patience
        self._seen = seen
        self.frames: list[bytes] = []
        self.breaks = 0  # how often it had to try again
        self.is_done = False  # the terminal event came, or the response was not found

    @property
    def events(self) -> list[JsonObject]:
        """The events that were read, as values."""
        return [load(payload(one)) for one in self.frames]

    async def run(self) -> None:
        """Read until ``is_done``."""
        while not self.is_done:
            try:
                await self._follow()
            except (StreamBroken, Unavailable):
                self.breaks += 1
            except NotFound:
                self._patience -= self.PAUSE
                self.is_done = self._patience < 0
            await anyio.sleep(0 if self.is_done else self.PAUSE)

    async def _follow(self) -> None:
        stream = await self._cache.stream(self._id, self._owner, after=len(self.frames) - 1)
        async with aclosing(stream):
            async for chunk in stream:
                for one in chunk.split(b"\n\n")[:-1]:
                    await self._take(one + b"\n\n")

    async def _take(self, one: bytes) -> None:
        self.frames.append(one)
        if self._seen is not None:
            await self._seen(one, len(self.frames) - 1)
        self.is_done = load(payload(one))["type"] in TERMINAL
