"""Subscriptions to channels: one connection for each node, however many readers wait.

A process receives messages only for responses that a task in it waits for. A channel is subscribed
for the first task that waits, and unsubscribed a moment after the last one, because a reader waits
in a loop and comes back at once. When the connection is lost, messages may be lost as well: then
each waiting task asks the server, and asks again when the connection is restored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as Disconnected

from response_cache.stores.redis._channel import Channel
from response_cache.stores.redis._errors import DRIVER_ERRORS, translated
from response_cache.stores.redis._topology import Servers

__all__ = ("Subscriptions",)

logger = logging.getLogger("response_cache.stores.redis")

UNSUBSCRIBE_DELAY: Final = 2.0  # longer than the pause of a reader that was told of an error
RECONNECT_DELAY: Final = 0.25
PING_INTERVAL: Final = 5.0  # of silence; after one more without an answer the connection is lost


class Subscriptions:
    """The channels of this process, and the listener of each."""

    def __init__(self, servers: Servers, *, timeout: float) -> None:
        """*timeout* is for connecting, in seconds."""
        self._servers = servers
        self._timeout = timeout
        self._channels: dict[str, Channel] = {}
        self._listener_of: dict[str, Listener] = {}  # by channel
        self._listeners: dict[str, Listener] = {}  # by node

    @contextmanager
    def listening(self, name: str) -> Iterator[Channel]:
        """Subscribe to the channel *name* for the length of the context, and a little longer."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name.encode())
            self._subscribe(name, channel)
        try:
            yield channel
        finally:
            channel.waiters -= 1
            if not channel.waiters:
                loop = asyncio.get_running_loop()
                loop.call_later(UNSUBSCRIBE_DELAY, self._unsubscribe, name, channel)

    async def aclose(self) -> None:
        """Close all connections."""
        listeners = [*self._listeners.values()]
        self._listeners.clear()
        self._channels.clear()
        self._listener_of.clear()
        for listener in listeners:
            await listener.aclose()

    def _subscribe(self, name: str, channel: Channel) -> None:
        node = self._servers.node_of(name)
        listener = self._listeners.get(node)
        if listener is None:
            listener = self._listeners[node] = self._new_listener(node)
        self._listener_of[name] = listener
        listener.add(channel)

    def _unsubscribe(self, name: str, channel: Channel) -> None:
        if not channel.waiters and self._channels.get(name) is channel:
            del self._channels[name]
            self._listener_of.pop(name).discard(channel)

    def _new_listener(self, node: str) -> Listener:
        return Listener(
            self._servers,
            node,
            timeout=self._timeout,
            on_loss=self._move_channels,
            on_end=self._remove,
        )

    async def _move_channels(self, lost: Listener) -> None:
        """Move the channels of *lost* that are on another node now to the listener of that node."""
        await self._servers.refresh()
        for name, listener in [*self._listener_of.items()]:
            if listener is lost and self._servers.node_of(name) != lost.node:
                channel = self._channels[name]
                lost.discard(channel)
                self._subscribe(name, channel)

    def _remove(self, ended: Listener) -> None:
        """Forget a listener that has ended: the next channel of its node starts another one."""
        if self._listeners.get(ended.node) is ended:
            del self._listeners[ended.node]


class _NoPong(Disconnected):
    """The server did not answer a PING in time."""


class Listener:
    """One connection that only receives messages. It reconnects while any channel is wanted."""

    def __init__(
        self,
        servers: Servers,
        node: str,
        *,
        timeout: float,
        on_loss: Callable[[Listener], Awaitable[None]],
        on_end: Callable[[Listener], None],
    ) -> None:
        """*on_loss* is called after each loss, before it reconnects; *timeout* is for either.

        *on_end* is called when no channel is wanted after a loss: the node may have left for good.
        """
        self.node = node
        self._servers = servers
        self._timeout = timeout
        self._on_loss = on_loss
        self._on_end = on_end
        self._wanted: dict[bytes, Channel] = {}
        self._changed: set[bytes] = set()  # channels to subscribe or to unsubscribe
        self._unconfirmed: Counter[bytes] = Counter()  # SUBSCRIBE commands without their answer
        self._has_changes = asyncio.Event()
        self._is_healthy = True
        self._task = asyncio.create_task(self._run())

    def add(self, channel: Channel) -> None:
        """Subscribe to one channel more."""
        self._wanted[channel.name] = channel
        self._changed.add(channel.name)
        self._has_changes.set()

    def discard(self, channel: Channel) -> None:
        """Unsubscribe from *channel*."""
        if self._wanted.get(channel.name) is channel:
            del self._wanted[channel.name]
            self._changed.add(channel.name)
            self._has_changes.set()

    async def aclose(self) -> None:
        """Close the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Listen, and reconnect after each loss, while any channel is wanted."""
        while self._wanted:
            try:
                await self._listen()
            except* DRIVER_ERRORS as group:
                self._report(group.exceptions[0])
            for channel in [*self._wanted.values()]:
                channel.lost()
            await asyncio.sleep(RECONNECT_DELAY)
            try:
                async with asyncio.timeout(self._timeout):
                    await self._on_loss(self)
            except DRIVER_ERRORS as error:
                self._report(error)
        self._on_end(self)

    async def _listen(self) -> None:
        """Keep one connection until it is lost. Does not return."""
        connection = self._servers.connection_to(self.node)
        self._changed = set(self._wanted)
        self._unconfirmed.clear()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_changes(connection))
                tasks.create_task(self._receive(connection))
        finally:
            await connection.disconnect(nowait=True)

    async def _send_changes(self, connection: AbstractConnection) -> None:
        """Subscribe to each channel that is wanted, and unsubscribe from each other one."""
        while True:
            self._has_changes.clear()
            commands = self._commands()
            if not connection.is_connected:  # sending would reconnect, without the subscriptions
                raise Disconnected("the connection was lost")
            if commands:
                packed = connection.pack_commands(commands)
                await connection.send_packed_command(packed, check_health=False)
            await self._has_changes.wait()

    def _commands(self) -> list[tuple[str, bytes]]:
        """The commands for what has changed. One channel each: a command must not mix slots.

        A channel that was dropped and is wanted again is subscribed again: its confirmation is
        what tells the new ``Channel`` that messages arrive.
        """
        changed, self._changed = self._changed, set()
        new = changed & self._wanted.keys()
        self._unconfirmed.update(new)
        return [
            *((self._servers.unsubscribe, name) for name in changed - new),
            *((self._servers.subscribe, name) for name in new),
        ]

    async def _receive(self, connection: AbstractConnection) -> None:
        """Read messages; after a silence send PING, and after another one give up."""
        was_pinged = False
        while True:
            message = await connection.read_response(
                timeout=PING_INTERVAL, disconnect_on_error=False, push_request=True
            )
            if isinstance(message, list):
                self._dispatch(message)
            if message is not None:
                was_pinged = False
            elif was_pinged:
                raise _NoPong("the server is silent")
            else:
                was_pinged = True
                await connection.send_command("PING", check_health=False)

    def _dispatch(self, message: list[Any]) -> None:
        kind, name = message[0], message[1]
        channel = self._wanted.get(name)
        if kind in (b"message", b"smessage"):
            if channel is not None and channel.is_live:
                channel.receive(message[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._unconfirmed[name] -= 1
            if channel is not None and self._unconfirmed[name] <= 0:
                self._confirm(channel)
        elif kind == b"sunsubscribe" and channel is not None and not self._unconfirmed[name]:
            raise Disconnected("the channel has moved to another node")

    def _confirm(self, channel: Channel) -> None:
        del self._unconfirmed[channel.name]
        channel.subscribed()
        if not self._is_healthy:
            self._is_healthy = True
            logger.info("Redis sends messages again")

    def _report(self, error: BaseException) -> None:
        if self._is_healthy:
            self._is_healthy = False
            reason = translated(error, ("listen",))
            logger.warning("no messages from Redis, readers ask it every few seconds: %s", reason)
