"""The nodes of a Redis Cluster, over the connections of redis-py's client for clusters.

The client of redis-py knows which node has which slot, and follows a key that has moved. Its
pipelines are not used: they may repeat commands, and encode them in Python.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection

from response_cache.stores.redis._callbacks import CallbackTasks, Cancel, OnReplies
from response_cache.stores.redis._connection import exchanged
from response_cache.stores.redis._errors import DRIVER_ERRORS
from response_cache.stores.redis._scripts import Argument, Command
from response_cache.stores.redis._topology import SCAN_COUNT, require_bytes, require_version

__all__ = ("Cluster",)

# After one of these errors, the cluster's map of slots and nodes may be out of date.
_MISROUTED: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    exceptions.ReadOnlyError,
)
_MOVED: Final = (exceptions.MovedError, exceptions.AskError, exceptions.TryAgainError)


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
        require_bytes(client.connection_kwargs)

    def __repr__(self) -> str:
        nodes = sorted(self._client.nodes_manager.startup_nodes)
        return f"Cluster({', '.join(nodes)})"

    async def open(self) -> None:
        """See ``Servers.open``."""
        await self._client.initialize()
        node = self._client.get_default_node()
        info = await self._client.execute_command("INFO", "server", target_nodes=node)
        require_version(info, (7, 0))

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
        """See ``Servers.send``. Commands are sent again to the node that a key has moved to."""
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
        """Exchange *commands* with the node that has the key of the first one."""
        node = self._client.get_node_from_key(str(_first_key(commands[0])))
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


def _first_key(command: Command) -> Argument:
    """The first key of *command*; of a script it comes after the digest and the number of keys."""
    return command[3] if command[0] in ("EVALSHA", "EVAL") else command[1]
