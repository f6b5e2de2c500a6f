"""Listening: one connection for each node, however many wait.

A process receives only what somebody in it waits for. A channel is subscribed for its first waiter
and given up a moment after its last one, because a reader that waits in a loop comes back at once.
When the connection is lost, so may be messages: then everybody who waits looks for himself, and
again when it is restored.
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

from response_cache.stores.redis.channel import News
from response_cache.stores.redis.errors import TROUBLE, translated
from response_cache.stores.redis.topology import Servers

__all__ = ("Wakeups",)

logger = logging.getLogger("response_cache.stores.redis")

LINGER: Final = 2.0  # longer than the pause of a reader that was told of trouble
BACK_OFF: Final = 0.25
SILENCE: Final = 5.0  # seconds after which we ask for a sign of life; after as many more we go


class Wakeups:
    """The channels that this process listens to, and the listeners they are shared among."""

    def __init__(self, servers: Servers, *, timeout: float) -> None:
        """*timeout* is for connecting."""
        self._servers = servers
        self._timeout = timeout
        self._news: dict[str, News] = {}
        self._places: dict[str, Listener] = {}
        self._listeners: dict[str, Listener] = {}

    @contextmanager
    def listening(self, channel: str) -> Iterator[News]:
        """Listen to *channel* for as long as the context lasts, and a little longer."""
        news = self._news.get(channel)
        if news is None:
            news = self._news[channel] = News(channel.encode())
            self._place(channel, news)
        try:
            yield news
        finally:
            news.waiting -= 1
            if not news.waiting:
                asyncio.get_running_loop().call_later(LINGER, self._drop, channel, news)

    async def aclose(self) -> None:
        """Stop listening."""
        listeners = [*self._listeners.values()]
        self._listeners.clear()
        self._news.clear()
        self._places.clear()
        for listener in listeners:
            await listener.aclose()

    def _drop(self, channel: str, news: News) -> None:
        if not news.waiting and self._news.get(channel) is news:
            del self._news[channel]
            self._places.pop(channel).discard(news)

    def _place(self, channel: str, news: News) -> None:
        """Have the listener of the node that has the channel listen to it."""
        node = self._servers.node_of(channel)
        listener = self._listeners.get(node)
        if listener is None:
            listener = Listener(
                self._servers,
                node,
                timeout=self._timeout,
                on_loss=self._rearrange,
                on_end=self._forget,
            )
            self._listeners[node] = listener
        self._places[channel] = listener
        listener.add(news)

    async def _rearrange(self, lost: Listener) -> None:
        """Find new listeners for channels whose node has changed."""
        await self._servers.refresh()
        for channel, listener in [*self._places.items()]:
            if listener is lost and self._servers.node_of(channel) != lost.node:
                news = self._news[channel]
                lost.discard(news)
                self._place(channel, news)

    def _forget(self, ended: Listener) -> None:
        """Have the next channel of its node start another one."""
        if self._listeners.get(ended.node) is ended:
            del self._listeners[ended.node]


class _Silent(Disconnected):
    """Nothing was heard for too long."""


class Listener:
    """One connection that only listens, and is made again when it is lost and still needed."""

    def __init__(
        self,
        servers: Servers,
        node: str,
        *,
        timeout: float,
        on_loss: Callable[[Listener], Awaitable[None]],
        on_end: Callable[[Listener], None],
    ) -> None:
        """*on_loss* is called after each loss, before it begins anew; *timeout* is for either.

        *on_end* is called when it does not: its node may have left for good.
        """
        self.node = node
        self._servers = servers
        self._timeout = timeout
        self._on_loss = on_loss
        self._on_end = on_end
        self._wanted: dict[bytes, News] = {}
        self._changed: set[bytes] = set()  # channels that are wanted, or not, since we last asked
        self._unconfirmed: Counter[bytes] = Counter()
        self._stirred = asyncio.Event()
        self._is_well = True
        self._task = asyncio.create_task(self._run())

    def add(self, news: News) -> None:
        """Listen to one channel more."""
        self._wanted[news.channel] = news
        self._changed.add(news.channel)
        self._stirred.set()

    def discard(self, news: News) -> None:
        """Listen to it no more."""
        if self._wanted.get(news.channel) is news:
            del self._wanted[news.channel]
            self._changed.add(news.channel)
            self._stirred.set()

    async def aclose(self) -> None:
        """Close the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Listen, and begin anew after each loss, as long as anything is wanted."""
        while self._wanted:
            try:
                await self._listen()
            except* TROUBLE as group:
                self._report(group.exceptions[0])
            for news in [*self._wanted.values()]:
                news.cut()
            await asyncio.sleep(BACK_OFF)
            try:
                async with asyncio.timeout(self._timeout):
                    await self._on_loss(self)
            except TROUBLE as error:
                self._report(error)
        self._on_end(self)

    async def _listen(self) -> None:
        """Keep one connection until it is lost. Does not return."""
        connection = self._servers.listen_to(self.node)
        self._changed = set(self._wanted)
        self._unconfirmed.clear()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()  # type: ignore[no-untyped-call]  # the driver's
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(connection))
                tasks.create_task(self._hear(connection))
        finally:
            await connection.disconnect(nowait=True)

    async def _ask(self, connection: AbstractConnection) -> None:
        """Subscribe to what is wanted, and give up what is not."""
        while True:
            self._stirred.clear()
            commands = self._commands()
            if not connection.is_connected:  # sending would connect it again, without the channels
                raise Disconnected("the connection was lost")
            if commands:
                packed = connection.pack_commands(commands)
                await connection.send_packed_command(packed, check_health=False)
            await self._stirred.wait()

    def _commands(self) -> list[tuple[str, bytes]]:
        """What makes the server send what is wanted. One channel each: slots must not be mixed.

        Who was dropped and is wanted again by somebody else is confirmed to him anew.
        """
        changed, self._changed = self._changed, set()
        new = changed & self._wanted.keys()
        self._unconfirmed.update(new)
        return [
            *((self._servers.unsubscribe, channel) for channel in changed - new),
            *((self._servers.subscribe, channel) for channel in new),
        ]

    async def _hear(self, connection: AbstractConnection) -> None:
        was_asked = False
        while True:
            message = await connection.read_response(
                timeout=SILENCE, disconnect_on_error=False, push_request=True
            )
            if isinstance(message, list):
                self._take(message)
            if message is not None:
                was_asked = False
            elif was_asked:
                raise _Silent("the server is silent")
            else:
                was_asked = True
                await connection.send_command("PING", check_health=False)

    def _take(self, message: list[Any]) -> None:
        kind, channel = message[0], message[1]
        news = self._wanted.get(channel)
        if kind in (b"message", b"smessage"):
            if news is not None and news.is_live:
                news.hear(message[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._unconfirmed[channel] -= 1
            if news is not None and self._unconfirmed[channel] <= 0:
                self._confirm(news)
        elif kind == b"sunsubscribe" and news is not None and not self._unconfirmed[channel]:
            raise Disconnected("the channel has moved to another node")

    def _confirm(self, news: News) -> None:
        del self._unconfirmed[news.channel]
        news.confirm()
        if not self._is_well:
            self._is_well = True
            logger.info("Redis sends wake-ups again")

    def _report(self, error: BaseException) -> None:
        if self._is_well:
            self._is_well = False
            logger.warning(
                "no wake-ups, looking from time to time: %s", translated(error, ("listen",))
            )
