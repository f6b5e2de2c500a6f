"""Where the servers are: one server, or the nodes of a cluster.

A store sends pipelines to one node at a time, and has one connection more to each node for
messages. A server that was named by a URL is reached over connections of the store's own. A client
that was handed in is used through its pool, which the application may use as well.

Nothing is repeated here. A caller that gets no answer repeats its call under the same token.
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
from response_cache.stores.redis.callbacks import CallbackTasks, Cancel, OnReplies, replies_to
from response_cache.stores.redis.connection import Connections, exchanged
from response_cache.stores.redis.errors import DRIVER_ERRORS
from response_cache.stores.redis.scripts import Command

__all__ = ("MAX_CONNECTIONS", "SOCKET_TIMEOUT", "Cluster", "Servers", "SingleServer")

SOCKET_TIMEOUT: Final = 1.25  # plus a recorder's longest back-off: below `orphan_confirmation`
MAX_CONNECTIONS: Final = 8
SCAN_COUNT: Final = 1000  # keys that a server looks at for one reply

_ADDRESS: Final = ("path", "host", "port", "db")
# After one of these errors, the cluster's map of slots and nodes may be out of date.
_MISROUTED: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    exceptions.ReadOnlyError,
)
_MOVED: Final = (exceptions.MovedError, exceptions.AskError, exceptions.TryAgainError)


class Servers(Protocol):
    """What a store needs to know about its servers."""

    # The names of the commands: a cluster has its own.
    publish: str
    subscribe: str
    unsubscribe: str

    async def open(self) -> None:
        """Connect, and refuse a server that is too old."""
        ...

    async def aclose(self) -> None:
        """Close all connections, and the clients that were made for the store."""
        ...

    def node_of(self, key: str) -> str:
        """The name of the node that has *key*; empty when it is not known now."""
        ...

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        """Send *commands*, and call *on_replies* with their replies."""
        ...

    def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """All keys that match *pattern*, on all nodes; a key may come twice."""
        ...

    def connection_to(self, node: str) -> AbstractConnection:
        """A new connection to *node*, not connected yet, in no pool; the caller closes it."""
        ...

    async def refresh(self) -> None:
        """Ask again which node has which key."""
        ...


class SingleServer:
    """One server, or the primary that Sentinel names at the moment."""

    publish = "PUBLISH"
    subscribe = "SUBSCRIBE"
    unsubscribe = "UNSUBSCRIBE"

    def __init__(self, client: Redis, *, owned: Iterable[Redis] = ()) -> None:
        """*owned* are the clients to close at the end. Without them *client* is another's."""
        self._client = client
        self._owned = tuple(owned)
        self._connections = Connections(self._new_driver, through_pool=self._send_through_pool)
        self._tasks = CallbackTasks()
        _require_bytes(client.connection_pool.connection_kwargs)

    def __repr__(self) -> str:
        return f"SingleServer({_address(self._client.connection_pool)})"

    async def open(self) -> None:
        """See ``Servers.open``."""
        (info,) = await replies_to(self.send, [("INFO", "server")])
        _require_version(info, (6, 2))

    async def aclose(self) -> None:
        """See ``Servers.aclose``."""
        await self._connections.aclose()
        await self._tasks.aclose()
        for client in self._owned:
            await client.aclose()

    def node_of(self, key: str) -> str:
        """See ``Servers.node_of``."""
        return ""

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        """See ``Servers.send``."""
        if self._owned:
            return self._connections.send(commands, on_replies)
        return self._tasks.start(self._send_through_pool(commands), on_replies)

    async def _send_through_pool(self, commands: Sequence[Command]) -> list[Any]:
        pool = self._client.connection_pool
        connection: AbstractConnection
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's
        try:
            return await exchanged(connection, commands)
        finally:  # redis-py has closed a connection with replies still to come
            await pool.release(connection)

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """See ``Servers.scan``."""
        cursor, is_over = b"0", False
        while not is_over:
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            (reply,) = await replies_to(self.send, [command])
            if isinstance(reply, Exception):
                raise reply
            cursor, keys = reply
            is_over = int(cursor) == 0
            for key in keys:
                yield key

    def connection_to(self, node: str) -> AbstractConnection:
        """See ``Servers.connection_to``."""
        return self._new_driver()

    def _new_driver(self) -> AbstractConnection:
        pool = self._client.connection_pool
        connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        return connection

    async def refresh(self) -> None:
        """See ``Servers.refresh``. There is nothing to ask for."""


class Cluster:
    """The nodes of a Redis Cluster."""

    publish = "SPUBLISH"
    subscribe = "SSUBSCRIBE"
    unsubscribe = "SUNSUBSCRIBE"

    def __init__(self, client: RedisCluster, *, is_owned: bool = False) -> None:
        """*is_owned*: close *client* at the end."""
        self._client = client
        self._is_owned = is_owned
        self._tasks = CallbackTasks()
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
        await self._tasks.aclose()
        if self._is_owned:
            await self._client.aclose()

    def node_of(self, key: str) -> str:
        """See ``Servers.node_of``."""
        try:
            node = self._client.get_node_from_key(key)
        except exceptions.SlotNotCoveredError:
            node = None  # an error of its own when something is sent there
        return "" if node is None else str(node.name)

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        """See ``Servers.send``. Commands for keys that have moved follow them."""
        return self._tasks.start(self._send(commands), on_replies)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        await self._client.initialize()  # does nothing the second time
        if self._is_stale:
            await self.refresh()
        was_answered = False
        try:
            replies = await self._exchanged(commands)
            was_answered = not any(isinstance(reply, _MISROUTED) for reply in replies)
        finally:  # also when it was cancelled after its time: the node may have been replaced
            self._is_stale = self._is_stale or not was_answered
        return replies

    async def _exchanged(self, commands: Sequence[Command]) -> list[Any]:
        """Exchange *commands*, which call scripts, with the node that has the first one's key."""
        _, _, _, key, *_ = commands[0]
        node = self._client.get_node_from_key(str(key))
        if node is None:
            raise exceptions.SlotNotCoveredError("no node serves the slot")
        connection = node.acquire_connection()
        try:
            await node.disconnect_if_needed(connection)
            replies = await exchanged(connection, commands)
        finally:  # redis-py has closed a connection with replies still to come
            node.release(connection)
        for index, reply in enumerate(replies):
            if isinstance(reply, _MOVED):
                replies[index] = await self._follow(commands[index])
        return replies

    async def _follow(self, command: Command) -> Any:
        """The reply to *command* from the node that has its key now; an error is returned."""
        try:
            return await self._client.execute_command(*command)
        except DRIVER_ERRORS as error:
            return error

    def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """See ``Servers.scan``."""
        return self._client.scan_iter(pattern, count=SCAN_COUNT)

    def connection_to(self, node: str) -> AbstractConnection:
        """See ``Servers.connection_to``."""
        found = self._client.get_node(node_name=node) if node else None
        if found is None:
            raise exceptions.SlotNotCoveredError("the node has left the cluster")
        connection: AbstractConnection = found.connection_class(**found.connection_kwargs)
        return connection

    async def refresh(self) -> None:
        """See ``Servers.refresh``."""
        await self._client.nodes_manager.initialize()
        self._is_stale = False


def _address(pool: ConnectionPool) -> str:
    """Where *pool* connects to, without credentials."""
    if isinstance(pool, SentinelConnectionPool):
        return f"service={pool.service_name!r}"
    given = pool.connection_kwargs
    return ", ".join(f"{name}={given[name]!r}" for name in _ADDRESS if given.get(name) is not None)


def _require_bytes(connecting: Mapping[str, Any]) -> None:
    if connecting.get("decode_responses"):
        raise ValueError("the client must return bytes: make it with decode_responses=False")


def _require_version(info: Any, least: tuple[int, int]) -> None:
    """Refuse a server that is too old; one that tells no version is accepted."""
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
