"""Responses in Redis or Valkey: one server, Sentinel, or a cluster. Needs asyncio.

Each response has five keys in one slot (``keys``):

* ``{key_prefix}{id}``: the snapshot as it was given, so that ``redis-cli GET`` shows the response;
* ``...:meta``, a hash: all that is short. A record without this key does not exist; a record
  without one of its other keys is lost, and counts as missing;
* ``...:log``, a stream: one entry for each append with events. The id of an entry is the number of
  its last event + 1, so an append can never be there twice;
* ``...:request``, and ``...:deleted``, the tombstone.

Each operation is one script (``lua/``), and uses the clock of the server. Calls that are made at
the same time travel together (``pipelining``). A waiting task is woken by a message
(``subscriptions``), and asks the server from time to time in case that a message was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from response_cache._log.batches import pack
from response_cache.store import (
    NO_EVENTS,
    Append,
    Appended,
    Claim,
    Link,
    NewRecord,
    RecordView,
    Taken,
)
from response_cache.stores import _rules as rules

try:
    import hiredis  # noqa: F401 - used by `connection`
    from redis.asyncio import Redis, RedisCluster
except ImportError as error:
    raise ImportError(
        "RedisStore needs redis and hiredis: pip install 'response-cache[redis]'"
    ) from error

from response_cache.stores.redis._calls import Calls
from response_cache.stores.redis._channel import Channel, Position
from response_cache.stores.redis._cluster import Cluster
from response_cache.stores.redis._compaction import Compaction
from response_cache.stores.redis._errors import DRIVER_ERRORS, safe_cause, translated
from response_cache.stores.redis._keys import id_of, keys_of, pattern_of
from response_cache.stores.redis._scripts import (
    APPEND,
    CREATE,
    DELETE,
    POSITION,
    READ,
    RENEW,
    REQUEST,
    TAKE,
)
from response_cache.stores.redis._subscriptions import Subscriptions
from response_cache.stores.redis._topology import (
    MAX_CONNECTIONS,
    SOCKET_TIMEOUT,
    Servers,
    SingleServer,
)
from response_cache.stores.redis._wire import (
    arguments_of,
    milliseconds,
    position_from,
    refuse,
    view_from,
)

__all__ = ("RedisStore",)

KEY_PREFIX: Final = "response_cache:"
TOMBSTONE_TTL: Final = 3600.0
# Seconds after which a waiting task asks the server, in case that a message was lost.
CHECK_INTERVAL: Final = 5.0
CLAIM_CHECK_INTERVAL: Final = 30.0  # of a holder: its next append tells as well that it was fenced


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
        """A *client* of redis-py is not closed by the store: the caller closes it afterwards.

        *socket_timeout* is for one call, connecting included, in seconds. Together with half a
        second, a recorder's longest pause between two attempts, it must stay below
        ``Options.orphan_confirmation``. *tombstone_ttl* is in seconds, too. *max_connections* is
        how many pipelines may be on their way to one node at a time.

        Raises:
            ValueError: an argument is out of its range, or the client decodes what it reads.
        """
        if "{" in key_prefix or "}" in key_prefix:
            raise ValueError("key_prefix must have no braces: a cluster takes them for a hash tag")
        if not (tombstone_ttl > 0 and socket_timeout > 0 and max_connections > 0):
            raise ValueError("tombstone_ttl, socket_timeout, max_connections must be positive")
        self.tombstone_ttl = tombstone_ttl
        self.servers: Servers = _servers(client)
        self._prefix = key_prefix
        self._timeout = socket_timeout
        self._calls = Calls(
            self.servers, key_prefix, pipelines=max_connections, timeout=socket_timeout
        )
        self._call = self._calls.call
        self._compaction = Compaction(self._call)
        self._subscriptions = Subscriptions(self.servers, timeout=socket_timeout)

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
        except DRIVER_ERRORS as error:
            raise translated(error, ("open the store",)) from safe_cause(error)

    async def aclose(self) -> None:
        """See ``Store.aclose``."""
        await self._compaction.aclose()
        await self._subscriptions.aclose()
        self._calls.close()
        await self.servers.aclose()

    async def create(self, new: NewRecord, lease: float) -> Claim:
        """See ``Store.create``. A repeat renews the lease of a record that is still open."""
        attempt = ("create %s at epoch %d", new.id, new.epoch)
        answer = await self._call(
            CREATE,
            new.id,
            attempt,
            new.incarnation,
            new.epoch,
            new.header,
            new.status,
            new.snapshot,
            new.request,
            len(new.events),
            pack(new.events) if new.events else b"",
            round(lease * 1000),
            milliseconds(new.ttl),
            self.servers.publish,
            new.private,
            new.owner,
            new.label,
        )
        if answer[0] != b"done":
            refuse(attempt, answer)
        return Claim(new.id, new.incarnation, answer[1], answer[2])

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """See ``Store.append``. A repeated append renews the lease, as a heartbeat does."""
        rules.require_token(append)
        attempt = ("append to %s at %d, epoch %d", claim.id, claim.tail, claim.epoch)
        answer = await self._call(
            APPEND,
            claim.id,
            attempt,
            claim.incarnation,
            claim.epoch,
            claim.tail,
            append.token,
            len(append.events),
            pack(append.events) if append.events else b"",
            round(lease * 1000),
            milliseconds(append.ttl),
            self.servers.publish,
            *arguments_of(append),
        )
        if answer[0] != b"done":
            refuse(attempt, answer)
        if append.close:
            self._compaction.start(claim)
        appended = Claim(claim.id, claim.incarnation, claim.epoch, answer[1])
        return Appended(appended, len(answer) < 3 or answer[2] > 0)

    async def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """See ``Store.take``. It renews the record for the ttl that was given last."""
        attempt = ("take %s", id)
        answer = await self._call(
            TAKE,
            id,
            attempt,
            1 if only_orphaned else 0,
            raise_by,
            round(lease * 1000),
            self.servers.publish,
        )
        if answer[0] not in (b"done", b"refused"):
            refuse(attempt, answer)
        view = view_from(id, answer[1])
        if answer[0] == b"refused":
            return Taken(None, view)
        return Taken(Claim(id, view.incarnation, view.epoch, view.tail), view, answer[2])

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
        return None if answer[0] != b"done" else view_from(id, answer[1], after, limit)

    async def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        answer = await self._call(REQUEST, id, ("read the request of %s", id))
        return None if answer[0] != b"done" else bytes(answer[1])

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """See ``Store.wait``. Also returns when messages arrive again after a loss.

        An expiry and a lost message are noticed within ``CHECK_INTERVAL``. With ``NO_EVENTS`` for
        *after*, which waits for a change of the claim alone, within ``CLAIM_CHECK_INTERVAL``.
        """
        name, interval = self.keys(id)[2], CHECK_INTERVAL
        if after >= NO_EVENTS:
            name, interval = name.removesuffix("log") + "claim", CLAIM_CHECK_INTERVAL
        with self._subscriptions.listening(name) as channel:
            mark = channel.enter()
            was_changed = False
            while True:
                position = known = channel.known(interval)
                if position is None:
                    position = await self._position(id, channel)
                if position is None or channel.is_recovered(mark):
                    return
                # When this process closed the record, the message of that is still on its way.
                is_behind = known is not None and closed and not known.closed
                if not is_behind and position.is_news(
                    after=after, epoch=epoch, incarnation=incarnation, closed=closed
                ):
                    if known and not was_changed:
                        channel.forget()  # a reader that finds nothing new comes back and asks
                    return
                is_sure = channel.is_live and not is_behind
                was_changed = await channel.change(interval if is_sure else self._timeout)
                if not was_changed:
                    channel.forget()

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``."""
        if claim is not None and claim.id != id:
            return False
        held = () if claim is None else (claim.incarnation, claim.epoch)
        arguments = (milliseconds(self.tombstone_ttl), self.servers.publish, *held)
        answer = await self._call(DELETE, id, ("delete %s", id), *arguments)
        return bool(answer[1])

    async def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """See ``Store.renew``. One call of a script for each link, side by side."""
        life = round(ttl * 1000)
        calls = [
            self._call(RENEW, link.id, ("renew %s", link.id), link.incarnation, life)
            for link in links
        ]
        return [answer[0] == b"done" for answer in await asyncio.gather(*calls)]

    async def ids(self, beginning: str = "") -> AsyncIterator[str]:
        """The ids of stored responses with this *beginning*, in no order; for operators' tools.

        An id may come twice. A response that is created or deleted meanwhile may be missing.
        """
        async for key in self.servers.scan(pattern_of(self._prefix, beginning)):
            yield id_of(self._prefix, key.decode())

    def keys(self, id: str) -> tuple[str, ...]:
        """The keys of a response: snapshot, meta, log, request, tombstone."""
        return keys_of(self._prefix, id)

    async def _position(self, id: str, channel: Channel) -> Position | None:
        """The latest position of the response, asked from the server.

        None when the record is not there, or its position is unknown: the caller reads it then.
        """
        await channel.until_live(self._timeout)
        losses = channel.losses
        answer = await self._call(POSITION, id, ("wait for %s", id))
        return None if answer[0] != b"done" else channel.learn(position_from(answer[1:]), losses)


def _servers(client: Redis | RedisCluster | Servers) -> Servers:
    match client:
        case RedisCluster():
            return Cluster(client)
        case Redis():
            return SingleServer(client)
        case _:
            return client
