"""Connections that a store has to itself: the driver connects them, and then they are only pipes.

What is asked goes out as it is, and the replies come back in their order. Nothing of the driver
stands between, because a recorder asks small things often: its pool, streams and time-outs cost as
much as all else of a batch.

A pipe carries one exchange at a time. Whoever gives an exchange up breaks its pipe: the replies to
come are nobody's. The next exchange makes another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, DefaultParser

from response_cache.stores.redis_scripts import Command

__all__ = ("Pipe", "Pipes", "packed")

_INCOMPLETE: Final = object()
_LOST: Final = "the connection was lost"


def packed(commands: Sequence[Command]) -> bytes:
    """*commands* as they are sent."""
    return b"".join(map(_packed, commands))


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub: one word
    return packed


class Pipe(asyncio.Protocol):
    """One connection, once it is connected."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._writer: asyncio.StreamWriter | None = None
        self._replies: list[Any] = []
        self._missing = 0
        self._is_spent = False
        self._exchange: asyncio.Future[list[Any]] | None = None

    @classmethod
    async def made_of(cls, connection: AbstractConnection) -> Pipe:
        """Connect *connection* and take it from the driver, to whom it is closed from then on.

        Raises:
            RedisError, OSError: it cannot be connected.
        """
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # the driver's
            # It has no public way to hand a connection over; the tests tell when this changes.
            writer, connection._writer, connection._reader = connection._writer, None, None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        pipe = cls()
        if writer is not None and not writer.transport.is_closing():
            writer.transport.set_protocol(pipe)
            pipe._writer = writer
        return pipe

    @property
    def is_open(self) -> bool:
        """Whether it is of use to anybody."""
        return self._writer is not None

    @property
    def is_idle(self) -> bool:
        """Whether it can carry an exchange now."""
        return self._exchange is None and self._writer is not None

    def exchange(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Send *commands*; their replies, an exception in the place of each error.

        Cancelling the future breaks the pipe, and so does a server that is no primary any more:
        whoever connects anew may find the one that is.
        """
        self._exchange = asyncio.get_running_loop().create_future()
        self._exchange.add_done_callback(self._end)
        self._replies = []
        self._missing = len(commands)
        if self._writer is None or self._writer.transport.is_closing():
            self._exchange.set_exception(exceptions.ConnectionError(_LOST))
        else:
            self._writer.write(packed(commands))
        return self._exchange

    def close(self) -> None:
        """Break it. Safe to call twice."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        try:
            self._parser.feed(data)
            while self._missing and (reply := self._parser.gets()) is not _INCOMPLETE:
                self._replies.append(reply)
                self._missing -= 1
                self._is_spent |= isinstance(reply, exceptions.ReadOnlyError)
        except exceptions.InvalidResponse as error:
            self._fail(error)
            return
        if self._missing:
            return
        self._is_spent |= self._parser.has_data()  # what nobody asked for would be the next reply
        if self._exchange is not None and not self._exchange.done():
            self._exchange.set_result(self._replies)
        elif self._is_spent:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._fail(exceptions.ConnectionError(_LOST if exc is None else f"{_LOST}: {exc}"))

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._exchange is not None and not self._exchange.done():
            self._exchange.set_exception(error)

    def _end(self, exchange: asyncio.Future[list[Any]]) -> None:
        self._exchange = None
        if self._missing or self._is_spent:
            self.close()
        self._missing = 0


class Pipes:
    """The pipes to one server, as many as there are exchanges at a time."""

    def __init__(self, connection: Callable[[], AbstractConnection]) -> None:
        """*connection* makes one that is not connected yet."""
        self._connection = connection
        self._pipes: list[Pipe] = []

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(pipe.is_open for pipe in self._pipes)

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """Have an idle pipe exchange *commands*, or a new one."""
        for pipe in self._pipes:
            if pipe.is_idle:
                return pipe.exchange(commands)
        return asyncio.ensure_future(self._send(commands))

    def close(self) -> None:
        """Break all of them."""
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipe = await Pipe.made_of(self._connection())
        self._pipes = [pipe, *(old for old in self._pipes if old.is_open)]
        return await pipe.exchange(commands)
