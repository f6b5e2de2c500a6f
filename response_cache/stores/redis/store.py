"""Responses in Redis or Valkey: one server, Sentinel, or a cluster. Needs asyncio.

Each response has five keys in one slot, after its own key ``{key_prefix}{id}``:

* the key itself: the snapshot, exactly as given, so that ``redis-cli GET`` shows the response;
* ``{<key>}:meta``, a hash: *the* record; with any other part missing, the record is lost;
* ``{<key>}:log``, a stream: one packed entry for each batch; its id is the number of the batch's
  last event + 1, so that a batch can never stand there twice;
* ``{<key>}:request``, and ``{<key>}:deleted``, the tombstone.

Each operation is one script (``lua/``), judged by the server's clock. What many responses ask
at the same time travels together (``redis_commit``); who waits is woken by messages
(``redis_listener``), and looks for himself from time to time in case that one was lost.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn

from response_cache.errors import (
    AlreadyExists,
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreError,
    StoreUnavailable,
)
from response_cache.log.batches import pack, repacked, unpack
from response_cache.store import Claim, RecordView, Taken

try:
    from redis.asyncio import Redis, RedisCluster
except ImportError as error:
    raise ImportError("RedisStore needs redis: pip install 'response-cache[redis]'") from error

from response_cache.stores.redis.channel import News, Position
from response_cache.stores.redis.errors import TROUBLE, Doing, cause, said, translated
from response_cache.stores.redis.pipelining import GroupCommit
from response_cache.stores.redis.scripts import (
    APPEND,
    COMPACT,
    CREATE,
    DELETE,
    POSITION,
    READ,
    REQUEST,
    TAKE,
    Argument,
    Script,
)
from response_cache.stores.redis.subscriptions import Wakeups
from response_cache.stores.redis.topology import (
    MAX_CONNECTIONS,
    SOCKET_TIMEOUT,
    Cluster,
    Servers,
    SingleServer,
)

__all__ = ("RedisStore",)

logger = logging.getLogger("response_cache.stores.redis")

KEY_PREFIX: Final = "response_cache:"
TOMBSTONE_TTL: Final = 3600.0
LOOK: Final = 5.0  # seconds after which who waits looks, in case that a message was lost
RARELY: Final = 6  # times as long for who holds a claim: each renewal tells whether he still does
LONGEST_KEPT: Final = 128  # characters of an id whose keys are kept: ours are shorter
NO_EVENT: Final = 10**9  # who waits for an event numbered above it waits for none
BLOCK_EVENTS: Final = 1000  # of a closed log, in one entry: what one page of a reader takes
FEW_ENTRIES: Final = 4  # so many entries are not worth packing again
IN_KEYS: Final = str.maketrans({"{": "%7B", "}": "%7D", "%": "%25"})  # braces would be hash tags


class RedisStore:
    """A ``Store`` in Redis 6.2 or newer (a cluster: 7.0), or Valkey."""

    flush_interval: float = 0.05
    may_lose_writes: bool = True
    id_tag: str = ""

    def __init__(
        self,
        client: Redis | RedisCluster | Servers,
        *,
        key_prefix: str = KEY_PREFIX,
        tombstone_ttl: float = TOMBSTONE_TTL,
        socket_timeout: float = SOCKET_TIMEOUT,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """*client* stays the caller's, who closes it after the store.

        *socket_timeout* is what one attempt of an operation may take altogether. With a back-off
        of half a second it must stay below ``Options.orphan_confirmation``. *max_connections*
        bounds the pipelines that are on their way to one node at a time.

        Raises:
            ValueError: an argument is out of its range, or the client decodes what it reads.
        """
        if "{" in key_prefix or "}" in key_prefix:
            raise ValueError("key_prefix must have no braces: a cluster takes them for a hash tag")
        if not (tombstone_ttl > 0 and socket_timeout > 0 and max_connections > 0):
            raise ValueError("tombstone_ttl, socket_timeout, max_connections must be positive")
        self.tombstone_ttl = tombstone_ttl
        self.servers = _servers(client)
        self._prefix = key_prefix
        self._timeout = socket_timeout
        self._pipelines = max_connections
        self._commits: dict[str, GroupCommit] = {}
        self._compacting: set[asyncio.Task[None]] = set()
        self._wakeups = Wakeups(self.servers, timeout=socket_timeout)

    def __repr__(self) -> str:
        return f"RedisStore({self.servers!r}, key_prefix={self._prefix!r})"

    async def open(self) -> None:
        """See ``Store.open``. Connects, so that a wrong address or password is told at once.

        Raises:
            RuntimeError: the event loop is not asyncio's.
            StoreUnavailable: the server cannot be used; the message says why.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("RedisStore runs on asyncio only") from None
        try:
            async with asyncio.timeout(2 * self._timeout):
                await self.servers.open()
        except TROUBLE as error:
            raise translated(error, ("open the store",)) from cause(error)

    async def aclose(self) -> None:
        """See ``Store.aclose``."""
        for task in self._compacting:
            task.cancel()
        await asyncio.gather(*self._compacting, return_exceptions=True)
        await self._wakeups.aclose()
        for commit in self._commits.values():
            commit.close()
        self._commits.clear()
        await self.servers.aclose()

    async def create(
        self,
        id: str,
        *,
        incarnation: str,
        header: bytes,
        request: bytes,
        snapshot: bytes,
        events: Sequence[bytes],
        status: str,
        lease: float,
        ttl: float,
    ) -> Claim:
        """See ``Store.create``. The repeat of a create that is still open renews its lease."""
        doing = ("create %s", id)
        answer = await self._call(
            CREATE,
            id,
            doing,
            incarnation,
            header,
            status,
            snapshot,
            request,
            len(events),
            pack(events) if events else b"",
            _milliseconds(lease),
            _milliseconds(ttl),
        )
        if answer[0] != b"done":
            _refuse(doing, answer)
        return Claim(id, incarnation, 1, int(answer[1]))

    async def append(
        self,
        claim: Claim,
        events: Sequence[bytes],
        *,
        batch: str = "",
        close: bool = False,
        snapshot: bytes | None = None,
        status: str | None = None,
        notes: bytes | None = None,
        lease: float,
        ttl: float,
        stream_ttl: float | None = None,
    ) -> Claim:
        """See ``Store.append``. A repeated batch renews the lease, as a heartbeat does.

        Raises:
            ValueError: there are events and no *batch*.
        """
        count = len(events)
        if count and not batch:
            raise ValueError("an append that brings events needs a batch token")
        doing = ("append to %s at %d, epoch %d", claim.id, claim.tail, claim.epoch)
        given = "c" if close else ""
        if snapshot is not None:
            given += "s"
        if status is not None:
            given += "t"
        if notes is not None:
            given += "n"
        answer = await self._call(
            APPEND,
            claim.id,
            doing,
            claim.incarnation,
            claim.epoch,
            claim.tail,
            batch,
            count,
            pack(events) if count else b"",
            given,
            snapshot or b"",
            status or "",
            notes or b"",
            *_lives(lease, ttl, stream_ttl),
            self.servers.publish,
        )
        if answer[0] != b"done":
            _refuse(doing, answer)
        if close:
            self._compact_later(claim)
        is_watched = len(answer) < 3 or answer[2] > 0
        return Claim(claim.id, claim.incarnation, claim.epoch, answer[1], is_watched=is_watched)

    async def take(self, id: str, *, only_orphaned: bool = False, lease: float) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        doing = ("take %s", id)
        answer = await self._call(
            TAKE,
            id,
            doing,
            1 if only_orphaned else 0,
            _milliseconds(lease),
            self.servers.publish,
        )
        if answer[0] not in (b"done", b"refused"):
            _refuse(doing, answer)
        view = _page(id, answer[1])
        is_taken = answer[0] == b"done"
        claim = Claim(id, view.incarnation, view.epoch, view.tail) if is_taken else None
        return Taken(claim, view)

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        after = None if after is None else max(after, -1)
        answer = await self._call(
            READ,
            id,
            ("read %s", id),
            "" if after is None else after,
            "" if limit is None else limit,
        )
        return None if answer[0] != b"done" else _page(id, answer[1], after, limit)

    async def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        answer = await self._call(REQUEST, id, ("read the request of %s", id))
        return None if answer[0] != b"done" else bytes(answer[1])

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """See ``Store.wait``. Also returns when wake-ups come again after they did not.

        That a record expired, or that a message was lost, is noticed within ``LOOK`` seconds; if
        only its claim is waited for, later.
        """
        channel, look = self.keys(id)[2], LOOK
        if after >= NO_EVENT:
            channel, look = channel.removesuffix("log") + "claim", LOOK * RARELY
        with self._wakeups.listening(channel) as news:
            entered = news.enter()
            was_heard = False
            while True:
                position = known = news.known(look)
                if position is None:
                    position = await self._position(id, news)
                if position is None or news.is_restored(entered):
                    return
                # The word of the end is on its way to us when our own process closed the record.
                is_behind = known is not None and closed and not known.closed
                if not is_behind and position.has_news(
                    after=after, epoch=epoch, incarnation=incarnation, closed=closed
                ):
                    if known and not was_heard:
                        news.forget()  # should the reader find none, the server knows better
                    return
                is_sure = news.is_live and not is_behind
                was_heard = await news.change(look if is_sure else self._timeout)
                if not was_heard:
                    news.forget()

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``. Without *claim* it leaves a tombstone also where nothing was."""
        if claim is not None and claim.id != id:
            return False
        of_claim = () if claim is None else (claim.incarnation, claim.epoch)
        tombstone_ttl = _milliseconds(self.tombstone_ttl)
        arguments = (tombstone_ttl, self.servers.publish, *of_claim)
        answer = await self._call(DELETE, id, ("delete %s", id), *arguments)
        return bool(answer[1])

    async def ids(self, beginning: str = "") -> AsyncIterator[str]:
        """The ids with this *beginning* of all that is stored, in no order; for operators' tools.

        What comes or goes meanwhile may be among them or not, and some may come twice.
        """
        pattern = (
            re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix + beginning.translate(IN_KEYS)) + "*"
        )
        async for key in self.servers.scan(pattern):
            id = key.decode().removeprefix(self._prefix)
            yield id.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")

    def keys(self, id: str) -> tuple[str, ...]:
        """The key of a response, and then those of its companions."""
        return _keys(self._prefix, id)

    def _call(
        self, script: Script, id: str, doing: Doing, *arguments: Argument
    ) -> asyncio.Future[Any]:
        """The answer of *script*: a word, and what belongs to it.

        Raises:
            StoreUnavailable: there is none, now or when it is awaited.
        """
        keys = _keys(self._prefix, id)
        try:
            node = self.servers.node_of(keys[0])
        except TROUBLE as error:
            raise translated(error, doing) from cause(error)
        commit = self._commits.get(node)
        if commit is None:
            commit = self._commits[node] = self._new_commit()
        return commit.ask(script, keys, arguments, doing)

    def _new_commit(self) -> GroupCommit:
        return GroupCommit(self.servers.send, pipelines=self._pipelines, timeout=self._timeout)

    async def _position(self, id: str, news: News) -> Position | None:
        """How far the response is, as the server says; None when there is reason to look."""
        await news.go_live(self._timeout)
        gap = news.gap
        answer = await self._call(POSITION, id, ("wait for %s", id))
        if answer[0] != b"done":
            return None
        incarnation, epoch, tail, closed = answer[1:]
        position = Position(incarnation.decode(), int(epoch), int(tail), bool(closed))
        return news.learn(position, gap)

    # A log that is over takes a third of the memory when its events are packed together.

    def _compact_later(self, claim: Claim) -> None:
        task = asyncio.create_task(self._compact(claim))
        self._compacting.add(task)
        task.add_done_callback(self._compacting.discard)

    async def _compact(self, claim: Claim) -> None:
        """Pack the log of a closed record anew. Readers do not notice, and a failure costs room."""
        doing = ("compact %s", claim.id)
        try:
            answer = await self._call(READ, claim.id, doing, -1, "")
            if answer[0] != b"done" or len(entries := answer[1][-1]) <= 2 * FEW_ENTRIES:
                return
            blocks: list[Argument] = []
            tail = 0
            for batch in repacked(entries[1::2], BLOCK_EVENTS):
                tail += len(batch)
                blocks += (tail, batch.block)
            length = len(entries) // 2
            await self._call(COMPACT, claim.id, doing, claim.incarnation, length, *blocks)
        except StoreUnavailable as error:
            logger.info("left as it is: %s", error)


def _keys(prefix: str, id: str) -> tuple[str, ...]:
    return (_names if len(id) <= LONGEST_KEPT else _names.__wrapped__)(prefix, id)


@lru_cache(maxsize=1024)  # the same few are asked for again and again
def _names(prefix: str, id: str) -> tuple[str, ...]:
    key = prefix + id.translate(IN_KEYS)
    return (key, *(f"{{{key}}}:{part}" for part in ("meta", "log", "request", "deleted")))


def _servers(client: Redis | RedisCluster | Servers) -> Servers:
    match client:
        case RedisCluster():
            return Cluster(client)
        case Redis():
            return SingleServer(client)
        case _:
            return client


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


@lru_cache(maxsize=64)  # the same ones with each append
def _lives(lease: float, ttl: float, stream_ttl: float | None) -> tuple[Argument, ...]:
    of_log = "" if stream_ttl is None else _milliseconds(stream_ttl)
    return _milliseconds(lease), _milliseconds(ttl), of_log


REFUSALS: Final[dict[bytes, tuple[type[StoreError], str]]] = {
    b"deleted": (Deleted, "it was deleted"),
    b"missing": (Missing, "there is no such record"),
    b"exists": (AlreadyExists, "another incarnation exists"),
    b"fenced": (Fenced, "it was taken or created anew"),
    b"closed": (Closed, "it is closed"),
}


def _refuse(doing: Doing, answer: Sequence[Any]) -> NoReturn:
    """Raise what a script answered instead of doing it."""
    if answer[0] == b"gap":
        tail = int(answer[1])
        raise SequenceGap(f"cannot {said(doing)}: its tail is {tail}", tail=tail)
    error, reason = REFUSALS[answer[0]]
    raise error(f"cannot {said(doing)}: {reason}")


def _page(
    id: str, fields: Sequence[Any], after: int | None = None, limit: int | None = None
) -> RecordView:
    """The page that ``lua/view.lua`` made."""
    incarnation, epoch, status, header, notes, through = fields[:6]
    tail, closed, orphaned, log_expired, snapshot, entries = fields[6:]
    first = (int(through) if after is None else after) + 1
    return RecordView(
        id=id,
        incarnation=incarnation.decode(),
        epoch=int(epoch),
        status=status.decode(),
        header=header,
        notes=notes,
        snapshot=snapshot if after is None else None,
        snapshot_through=int(through),
        first=first,
        events=_events(entries, first, limit),
        tail=int(tail),
        closed=bool(closed),
        orphaned=bool(orphaned),
        log_expired=bool(log_expired),
    )


def _events(entries: Sequence[bytes], first: int, limit: int | None) -> list[bytes]:
    """The events from number *first* on in *entries*: the number after each block, the block."""
    events: list[bytes] = []
    for end, block in zip(entries[::2], entries[1::2], strict=True):
        unpacked = unpack(block)
        start = int(end) - len(unpacked)
        events += unpacked[max(0, first - start) :]
    return events if limit is None else events[:limit]
