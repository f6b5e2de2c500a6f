"""What a store needs from its servers, and the one server that is no cluster (``cluster``).

A pipeline goes to one node. Messages come over one more connection to each node. A server that was
named by a URL is reached over connections of the store's own. A client that the application handed
in is used through its pool, which the application may use as well.

Nothing is sent twice here. A caller without an answer repeats its call under the same token.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool

from response_cache.errors import StoreUnavailable
from response_cache.stores.redis._callbacks import CallbackTasks, Cancel, OnReplies, replies_to
from response_cache.stores.redis._connection import Connections, exchanged
from response_cache.stores.redis._scripts import Command

__all__ = (
    "MAX_CONNECTIONS",
    "SCAN_COUNT",
    "SOCKET_TIMEOUT",
    "Servers",
    "SingleServer",
    "require_bytes",
    "require_version",
)

SOCKET_TIMEOUT: Final = 1.25  # plus a recorder's longest back-off: below `orphan_confirmation`
MAX_CONNECTIONS: Final = 8
SCAN_COUNT: Final = 1000  # keys that a server looks at for one reply

_ADDRESS: Final = ("path", "host", "port", "db")


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
        """Send *commands*, and call *on_replies* with their replies.

        Each command has a key, and best all of them on one node: a cluster is asked by the first.
        """
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
        """*owned* are the clients to close at the end; none of them when *client* was handed in."""
        self._client = client
        self._owned = tuple(owned)
        self._connections = Connections(self._new_driver, through_pool=self._send_through_pool)
        self._tasks = CallbackTasks()
        require_bytes(client.connection_pool.connection_kwargs)

    def __repr__(self) -> str:
        return f"SingleServer({_address(self._client.connection_pool)})"

    async def open(self) -> None:
        """See ``Servers.open``."""
        (info,) = await replies_to(self.send, [("INFO", "server")])
        require_version(info, (6, 2))

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


def _address(pool: ConnectionPool) -> str:
    """Where *pool* connects to, without credentials."""
    if isinstance(pool, SentinelConnectionPool):
        return f"service={pool.service_name!r}"
    given = pool.connection_kwargs
    return ", ".join(f"{name}={given[name]!r}" for name in _ADDRESS if given.get(name) is not None)


def require_bytes(connecting: Mapping[str, Any]) -> None:
    """Refuse a client that decodes replies, by its keyword arguments for connections.

    Raises:
        ValueError: it does.
    """
    if connecting.get("decode_responses"):
        raise ValueError("the client must return bytes: make it with decode_responses=False")


def require_version(info: Any, least: tuple[int, int]) -> None:
    """Refuse a server that is too old, by its reply to INFO; one without a version is accepted.

    Raises:
        StoreUnavailable: it is older than *least*.
        RedisError: *info* is an error of the connection.
    """
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
