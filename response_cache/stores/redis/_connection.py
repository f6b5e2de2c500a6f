"""Connections of a store's own: opened by redis-py, then used without it.

A recorder sends small commands often. The pool, the streams and the time-outs of redis-py would
cost as much CPU as everything else that a batch needs. So redis-py connects (TLS, credentials,
database, Sentinel), and then its socket is taken over: commands are written straight to it, and
replies are parsed in the order in which they come.

A connection carries one exchange at a time: commands, and their replies. Cancelling an exchange
closes the connection, because the rest of the replies must answer no later command. The next
exchange opens another connection.

In this module, a *driver* is a connection of redis-py. redis-py has no public way to hand over its
socket. This module is the only one that reads private attributes of redis-py (``_writer``,
``_reader``). Where a version of redis-py has them no more, its own pool is used instead, and one
line of the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import hiredis
import redis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, DefaultParser

from response_cache._sockets import is_readable
from response_cache.stores.redis._callbacks import CallbackTasks, Cancel, OnReplies, replies_to
from response_cache.stores.redis._scripts import Command

__all__ = ("Connection", "Connections", "TakeoverUnsupported", "encoded", "exchanged")

logger = logging.getLogger("response_cache.stores.redis")

ThroughPool: TypeAlias = Callable[[Sequence[Command]], Coroutine[Any, Any, list[Any]]]

_INCOMPLETE: Final = object()
_LOST: Final = "the connection was lost"


class TakeoverUnsupported(Exception):
    """This version of redis-py keeps the streams of a connection in another place."""


def encoded(commands: Sequence[Command]) -> bytes:
    """*commands* as they are sent to a server."""
    return b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # its stub


class Connection(asyncio.Protocol):
    """One open connection."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._transport: asyncio.WriteTransport | None = None
        self._writer: asyncio.StreamWriter | None = None  # its destructor closes the transport
        self._replies: list[Any] = []
        self._missing_replies = 0
        self._on_replies: OnReplies | None = None  # set while an exchange is on its way

    @classmethod
    async def taken_from(cls, driver: AbstractConnection) -> Connection:
        """Connect *driver* and take its socket. For redis-py the driver is closed from then on.

        Raises:
            RedisError, OSError: it cannot be connected.
            TakeoverUnsupported: its socket cannot be taken.
        """
        try:
            await driver.connect()  # type: ignore[no-untyped-call]  # redis-py's
            writer = _take_writer(driver)
        except BaseException:
            await driver.disconnect(nowait=True)
            raise
        connection = cls()
        if writer is not None and not writer.transport.is_closing():
            connection._writer, connection._transport = writer, writer.transport
            writer.transport.set_protocol(connection)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether it can carry an exchange, now or later."""
        return self._transport is not None

    @property
    def is_idle(self) -> bool:
        """Whether it can carry an exchange now.

        False when unread bytes are there: they answer nothing, and would be taken for the next
        reply.
        """
        transport = self._transport
        if self._on_replies is not None or transport is None or transport.is_closing():
            return False
        return not is_readable(transport.get_extra_info("socket").fileno())

    def exchange(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        """Send *commands*, and call *on_replies* with their replies.

        The connection is closed when the exchange is cancelled, and when the server says that it
        is no primary any more: the next connection may lead to the new primary.

        Raises:
            ConnectionError: it is not open.
        """
        if self._transport is None:
            raise exceptions.ConnectionError(_LOST)
        self._on_replies = on_replies
        self._replies = []
        self._missing_replies = len(commands)
        self._transport.write(encoded(commands))
        return partial(self._cancel, on_replies)

    def close(self) -> None:
        """Close it; an exchange on its way gets an error. May be called twice."""
        self._end(exceptions.ConnectionError(_LOST))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        parser, replies = self._parser, self._replies
        try:
            parser.feed(data)
            while self._missing_replies and (reply := parser.gets()) is not _INCOMPLETE:
                replies.append(reply)
                self._missing_replies -= 1
        except exceptions.InvalidResponse as error:
            self._end(error)
            return
        if self._missing_replies:
            return
        if parser.has_data():  # it answers nothing, and would be taken for the next reply
            self._abort()
        for reply in replies:
            if isinstance(reply, exceptions.ReadOnlyError):
                self._abort()
        on_replies, self._on_replies = self._on_replies, None
        if on_replies is not None:
            on_replies(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._end(exceptions.ConnectionError(_LOST if exc is None else f"{_LOST}: {exc}"))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = self._writer = None

    def _end(self, error: Exception) -> None:
        self._abort()
        on_replies, self._on_replies = self._on_replies, None
        if on_replies is not None:
            on_replies(error)

    def _cancel(self, on_replies: OnReplies) -> None:
        if self._on_replies is on_replies:
            self._on_replies = None
            self._abort()


def _take_writer(driver: AbstractConnection) -> asyncio.StreamWriter | None:
    """Take the stream out of *driver*; None when the server has closed it already."""
    try:
        writer, _ = driver._writer, driver._reader
    except AttributeError as error:
        raise TakeoverUnsupported from error
    if writer is not None and not isinstance(writer, asyncio.StreamWriter):
        raise TakeoverUnsupported
    driver._writer = driver._reader = None
    return writer


async def exchanged(driver: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """The replies to *commands* over a connection that stays redis-py's; it may be closed as yet.

    An error reply is an exception in the list. Unread bytes on the connection are an answer to
    nothing, and would be taken for the next reply: then it is connected anew.

    Raises:
        RedisError, OSError: there are no replies. redis-py has closed the connection.
    """
    if driver.is_connected and (await driver.can_read() or _has_unread_bytes(driver)):
        await driver.disconnect(nowait=True)
    if not driver.is_connected:
        await driver.connect()  # type: ignore[no-untyped-call]  # redis-py's
    # Not by redis-py's pipeline, which may repeat commands, and encodes them in Python.
    await driver.send_packed_command(encoded(commands))
    return [await _next_reply(driver) for _ in commands]


def _has_unread_bytes(driver: AbstractConnection) -> bool:
    """Whether the kernel holds bytes that redis-py has not read; it checks its own buffer alone.

    False where redis-py has no stream to look at, as with ``fakeredis``.
    """
    writer = getattr(driver, "_writer", None)
    if not isinstance(writer, asyncio.StreamWriter):
        return False
    socket = writer.get_extra_info("socket")
    return socket is not None and is_readable(socket.fileno())


async def _next_reply(driver: AbstractConnection) -> Any:
    try:
        return await driver.read_response()
    except exceptions.ResponseError as error:
        return error


class Connections:
    """The connections to one server: as many as there are exchanges at the same time."""

    def __init__(
        self, new_driver: Callable[[], AbstractConnection], *, through_pool: ThroughPool
    ) -> None:
        """*new_driver* makes a connection of redis-py that is not connected yet.

        *through_pool* sends commands where this version of redis-py lets no connection be taken.
        """
        self._new_driver = new_driver
        self._through_pool = through_pool
        self._is_supported = True
        self._connections: list[Connection] = []
        self._tasks = CallbackTasks()

    @property
    def open(self) -> int:
        """The number of open connections."""
        return sum(connection.is_open for connection in self._connections)

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        """Exchange *commands* over an idle connection, or over a new one."""
        for connection in self._connections:
            if connection.is_idle:
                return connection.exchange(commands, on_replies)
        return self._tasks.start(self._connect_and_exchange(commands), on_replies)

    async def aclose(self) -> None:
        """Close all of them."""
        await self._tasks.aclose()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def _connect_and_exchange(self, commands: Sequence[Command]) -> list[Any]:
        if self._is_supported:
            try:
                connection = await Connection.taken_from(self._new_driver())
            except TakeoverUnsupported:
                self._use_pool()
            else:
                still_open = [old for old in self._connections if old.is_open]
                self._connections = [connection, *still_open]
                return await replies_to(connection.exchange, commands)
        return await self._through_pool(commands)

    def _use_pool(self) -> None:
        if self._is_supported:
            self._is_supported = False
            logger.warning(
                "the connections of redis-py %s cannot be taken over: its own pool is used, "
                "which costs more CPU",
                redis.__version__,
            )
