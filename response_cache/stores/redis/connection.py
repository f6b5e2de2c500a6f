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
from functools import partial
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection, DefaultParser

from response_cache.sockets import is_readable
from response_cache.stores.redis.asking import Asking, GiveUp, Then, replies_to
from response_cache.stores.redis.scripts import Command

__all__ = ("Pipe", "Pipes", "packed")

_INCOMPLETE: Final = object()
_LOST: Final = "the connection was lost"


def packed(commands: Sequence[Command]) -> bytes:
    """*commands* as they are sent."""
    return b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]  # its stub


class Pipe(asyncio.Protocol):
    """One connection, once it is connected."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._transport: asyncio.WriteTransport | None = None
        self._writer: asyncio.StreamWriter | None = None  # closes the transport when it goes
        self._replies: list[Any] = []
        self._missing = 0
        self._then: Then | None = None

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
            pipe._writer, pipe._transport = writer, writer.transport
            writer.transport.set_protocol(pipe)
        return pipe

    @property
    def is_open(self) -> bool:
        """Whether it is of use to anybody."""
        return self._transport is not None

    @property
    def is_idle(self) -> bool:
        """Whether it can carry an exchange now.

        Not when something has come that nobody asked for, which would be the next reply.
        """
        transport = self._transport
        if self._then is not None or transport is None or transport.is_closing():
            return False
        return not is_readable(transport.get_extra_info("socket").fileno())

    def exchange(self, commands: Sequence[Command], then: Then) -> GiveUp:
        """Send *commands*, and *then* hand on their replies, an exception in the place of an error.

        To give them up breaks the pipe, and so does a server that is no primary any more: whoever
        connects anew may find the one that is.

        Raises:
            ConnectionError: it is not open.
        """
        if self._transport is None:
            raise exceptions.ConnectionError(_LOST)
        self._then = then
        self._replies = []
        self._missing = len(commands)
        self._transport.write(packed(commands))
        return partial(self._give_up, then)

    def close(self) -> None:
        """Break it; what it carries is answered with an error. Safe to call twice."""
        self._end(exceptions.ConnectionError(_LOST))

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        parser, replies = self._parser, self._replies
        try:
            parser.feed(data)
            while self._missing and (reply := parser.gets()) is not _INCOMPLETE:
                replies.append(reply)
                self._missing -= 1
        except exceptions.InvalidResponse as error:
            self._end(error)
            return
        if self._missing:
            return
        if parser.has_data():  # what nobody asked for would be the next reply
            self._break()
        for reply in replies:
            if isinstance(reply, exceptions.ReadOnlyError):
                self._break()
        then, self._then = self._then, None
        if then is not None:
            then(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._end(exceptions.ConnectionError(_LOST if exc is None else f"{_LOST}: {exc}"))

    def _break(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = self._writer = None

    def _end(self, error: Exception) -> None:
        self._break()
        then, self._then = self._then, None
        if then is not None:
            then(error)

    def _give_up(self, then: Then) -> None:
        if self._then is then:
            self._then = None
            self._break()


class Pipes:
    """The pipes to one server, as many as there are exchanges at a time."""

    def __init__(self, connection: Callable[[], AbstractConnection]) -> None:
        """*connection* makes one that is not connected yet."""
        self._connection = connection
        self._pipes: list[Pipe] = []
        self._connecting = Asking()

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(pipe.is_open for pipe in self._pipes)

    def send(self, commands: Sequence[Command], then: Then) -> GiveUp:
        """Have an idle pipe exchange *commands*, or a new one."""
        for pipe in self._pipes:
            if pipe.is_idle:
                return pipe.exchange(commands, then)
        return self._connecting.start(self._connected_and_asked(commands), then)

    async def aclose(self) -> None:
        """Break all of them."""
        await self._connecting.aclose()
        for pipe in self._pipes:
            pipe.close()
        self._pipes.clear()

    async def _connected_and_asked(self, commands: Sequence[Command]) -> list[Any]:
        pipe = await Pipe.made_of(self._connection())
        self._pipes = [pipe, *(old for old in self._pipes if old.is_open)]
        return await replies_to(pipe.exchange, commands)
