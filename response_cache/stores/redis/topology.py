"""Where the servers are: one, or the nodes of a cluster; how they are asked and listened to.

A store asks by pipelines, one node at a time, and listens on one connection more for each node. A
server that it reached itself it asks by pipes of its own, and one that a client was handed in for
through the pool of that client, which others may use as well.
Neither side repeats anything by itself: what was not answered is repeated by whoever knows what it
was, under the same token.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool

from response_cache.errors import StoreUnavailable
from response_cache.sockets import is_readable
from response_cache.stores.redis.asking import Asking, GiveUp, Then, replies_to
from response_cache.stores.redis.connection import Pipes, packed
from response_cache.stores.redis.scripts import Command

__all__ = ("MAX_CONNECTIONS", "SOCKET_TIMEOUT", "Cluster", "Servers", "SingleServer")

SOCKET_TIMEOUT: Final = 1.25  # plus a recorder's longest back-off: below `orphan_confirmation`
MAX_CONNECTIONS: Final = 8
SCAN: Final = 1000  # keys that a server looks at for one reply

_PLACE: Final = ("path", "host", "port", "db")
_MISROUTED: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    exceptions.ReadOnlyError,
)


class Servers(Protocol):
    """All that a store needs to know of where its keys are."""

    publish: str
    subscribe: str
    unsubscribe: str

    async def open(self) -> None:
        """Connect, and refuse what is too old."""
        ...

    async def aclose(self) -> None:
        """Close what was made for the store."""
        ...

    def node_of(self, key: str) -> str:
        """The name of the node that has *key*; empty where that is not known now."""
        ...

    def send(self, commands: Sequence[Command], then: Then) -> GiveUp:
        """Send *commands*, and *then* hand on their replies."""
        ...

    def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """All keys that match, wherever they are; some may come twice."""
        ...

    def listen_to(self, node: str) -> AbstractConnection:
        """A new connection to *node*, not connected yet; the caller's to close."""
        ...

    async def refresh(self) -> None:
        """Find out anew which node has which key."""
        ...


class SingleServer:
    """One server, also the one that Sentinel names at the moment."""

    publish = "PUBLISH"
    subscribe = "SUBSCRIBE"
    unsubscribe = "UNSUBSCRIBE"

    def __init__(self, client: Redis, *, owned: Iterable[Redis] = ()) -> None:
        """*owned* are the clients to close at the end: nobody else has them."""
        self._client = client
        self._owned = tuple(owned)
        self._pipes = Pipes(self._connection)
        self._asking = Asking()
        _require_bytes(client.connection_pool.connection_kwargs)

    def __repr__(self) -> str:
        return f"SingleServer({_place(self._client.connection_pool)})"

    async def open(self) -> None:
        """See ``Servers.open``."""
        (info,) = await replies_to(self.send, [("INFO", "server")])
        _require_version(info, (6, 2))

    async def aclose(self) -> None:
        """See ``Servers.aclose``."""
        await self._pipes.aclose()
        await self._asking.aclose()
        for client in self._owned:
            await client.aclose()

    def node_of(self, key: str) -> str:
        """See ``Servers.node_of``."""
        return ""

    def send(self, commands: Sequence[Command], then: Then) -> GiveUp:
        """See ``Servers.send``."""
        if self._owned:
            return self._pipes.send(commands, then)
        return self._asking.start(self._send_through_pool(commands), then)

    async def _send_through_pool(self, commands: Sequence[Command]) -> list[Any]:
        pool = self._client.connection_pool
        connection: AbstractConnection
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # the driver's
        try:
            if _has_come(connection):  # unasked, and it would be the next reply
                await connection.disconnect(nowait=True)
                await connection.connect()  # type: ignore[no-untyped-call]  # the driver's
            # By hand: a pipeline of the driver may repeat itself, and packs in Python.
            await connection.send_packed_command(packed(commands))
            return [await _reply_on(connection) for _ in commands]
        finally:  # a connection that has replies to come was closed by the driver
            await pool.release(connection)

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """See ``Servers.scan``."""
        cursor, is_over = b"0", False
        while not is_over:
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN)
            (reply,) = await replies_to(self.send, [command])
            if isinstance(reply, Exception):
                raise reply
            cursor, keys = reply
            is_over = int(cursor) == 0
            for key in keys:
                yield key

    def listen_to(self, node: str) -> AbstractConnection:
        """See ``Servers.listen_to``. It is none of the pool's."""
        return self._connection()

    def _connection(self) -> AbstractConnection:
        pool = self._client.connection_pool
        connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        return connection

    async def refresh(self) -> None:
        """There is nothing to find out."""


def _has_come(connection: AbstractConnection) -> bool:
    """Whether something is there that the driver has not seen, which only looks at its own.

    False for a connection that has no socket, such as one of ``fakeredis``.
    """
    writer = getattr(connection, "_writer", None)
    socket = None if writer is None else writer.get_extra_info("socket")
    return socket is not None and is_readable(socket.fileno())


async def _reply_on(connection: AbstractConnection) -> Any:
    """The next reply, also when it is an error of the one command."""
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


class Cluster:
    """The nodes of a Redis Cluster."""

    publish = "SPUBLISH"
    subscribe = "SSUBSCRIBE"
    unsubscribe = "SUNSUBSCRIBE"

    def __init__(self, client: RedisCluster, *, is_owned: bool = False) -> None:
        """*is_owned*: close it at the end."""
        self._client = client
        self._is_owned = is_owned
        self._asking = Asking()
        self._is_stale = False
        _require_bytes(client.connection_kwargs)

    def __repr__(self) -> str:
        nodes = sorted(self._client.nodes_manager.startup_nodes)
        return f"Cluster({', '.join(nodes)})"

    async def open(self) -> None:
        """See ``Servers.open``."""
        await self._client.initialize()
        node = self._client.get_default_node()
        info = await self._client.execute_command("INFO", "server", target_nodes=node)
        _require_version(info, (7, 0))

    async def aclose(self) -> None:
        """See ``Servers.aclose``."""
        await self._asking.aclose()
        if self._is_owned:
            await self._client.aclose()

    def node_of(self, key: str) -> str:
        """See ``Servers.node_of``."""
        try:
            node = self._client.get_node_from_key(key)
        except exceptions.SlotNotCoveredError:
            node = None  # whoever sends to it finds out
        return "" if node is None else str(node.name)

    def send(self, commands: Sequence[Command], then: Then) -> GiveUp:
        """See ``Servers.send``. What has moved to another node is sent on to it."""
        return self._asking.start(self._send(commands), then)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if self._is_stale:
            await self.refresh()
        pipeline = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        was_answered = False
        try:
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            was_answered = not any(isinstance(reply, _MISROUTED) for reply in replies)
        finally:  # also when the time is up: the node may have been replaced
            self._is_stale = self._is_stale or not was_answered
        return replies

    def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """See ``Servers.scan``."""
        return self._client.scan_iter(pattern, count=SCAN)

    def listen_to(self, node: str) -> AbstractConnection:
        """See ``Servers.listen_to``. It is none of the node's pool."""
        found = self._client.get_node(node_name=node) if node else None
        if found is None:
            raise exceptions.SlotNotCoveredError("the node has left the cluster")
        connection: AbstractConnection = found.connection_class(**found.connection_kwargs)
        return connection

    async def refresh(self) -> None:
        """See ``Servers.refresh``."""
        await self._client.nodes_manager.initialize()
        self._is_stale = False


def _place(pool: ConnectionPool) -> str:
    """Where *pool* connects to, without the credentials."""
    if isinstance(pool, SentinelConnectionPool):
        return f"service={pool.service_name!r}"
    given = pool.connection_kwargs
    return ", ".join(f"{name}={given[name]!r}" for name in _PLACE if given.get(name) is not None)


def _require_bytes(connecting: Mapping[str, Any]) -> None:
    if connecting.get("decode_responses"):
        raise ValueError("the client must return bytes: make it with decode_responses=False")


def _require_version(info: Any, least: tuple[int, int]) -> None:
    """Refuse a server that is too old; one that does not tell is taken as it is."""
    if isinstance(info, exceptions.ConnectionError | exceptions.TimeoutError):
        raise info
    found = re.search(r"redis_version\W+(\d+)\.(\d+)", str(info))
    if found and _numbers(found) < least:
        raise StoreUnavailable(
            "cannot use Redis {}.{}: the store needs {}.{} or newer".format(
                *_numbers(found), *least
            )
        )


def _numbers(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, found.groups()))
