"""Replies on their way to the client: whole bodies, and streams that may be broken off."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import anyio

from response_cache import Body, Headers
from response_cache._hosting import Streams
from response_cache.errors import StreamBroken
from response_cache.http import PassThrough, Stream
from response_cache_asgi._types import Message, Receive, Send

__all__ = ("AppReply", "send_body", "send_stream", "until_disconnect")

logger = logging.getLogger("response_cache.asgi")

COPYING_MIDDLEWARE: Final = "starlette.middleware.base.BaseHTTPMiddleware."
"""Part of the name of the task in which Starlette's middleware calls the app inside of it. Such
middleware copies the app's reply, and completes a reply that the app has left incomplete."""


async def send_stream(reply: Stream, streams: Streams, receive: Receive, send: Send) -> None:
    """Send *reply* to its end, unless the client disconnects.

    A reply that is broken off gets no last message. Servers then break the connection, so that the
    client sees an error.

    Raises:
        StreamBroken: the reply was broken off, and middleware around us has to fail, too.
    """
    try:
        await _carry(reply, streams, receive, send)
    except StreamBroken as broken:
        logger.info("%s", broken.strerror)
        if COPYING_MIDDLEWARE in (anyio.get_current_task().name or ""):
            # This middleware would send the last message for us, whether we return or raise. It
            # fails at a message of a type that it does not know.
            await send({"type": "response_cache.broken_off", "why": broken.strerror})
            raise


async def _carry(reply: Stream, streams: Streams, receive: Receive, send: Send) -> None:
    broken = None
    with streams.sending():
        async with aclosing(reply.chunks), until_disconnect(receive):
            broken = await _write(reply, send)
    if broken is not None:  # raised outside of the task group, which would wrap it
        raise broken


async def _write(reply: Stream, send: Send) -> StreamBroken | None:
    """Send *reply* until its end, a disconnect or a break; returns what broke it, if anything."""
    try:
        await send(_start(reply.status, reply.headers))
        async for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except StreamBroken as broken:
        return broken
    except OSError:
        pass  # so servers tell that the client has disconnected
    return None


async def send_body(reply: Body, send: Send) -> None:
    """Send *reply*, unless the client has disconnected."""
    try:
        await send(_start(reply.status, reply.headers))
        await send({"type": "http.response.body", "body": reply.content, "more_body": False})
    except OSError:
        return  # so servers tell that the client has disconnected


class AppReply:
    """The wrapped app's own reply to a request in which ids of ours were replaced.

    An error is held back until it is complete, and sent with our ids in it; other replies go on as
    they come.
    """

    def __init__(self, way: PassThrough, send: Send) -> None:
        self._way = way
        self._send = send
        self._start: Message | None = None  # of an error, until its body is there
        self._pieces: list[bytes] = []
        self._size = 0

    async def send(self, message: Message) -> None:
        """What the app calls as its ``send``."""
        kind = message["type"]
        if kind == "http.response.start" and self._way.renames(message["status"]):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            await self._hold(self._start, message)

    async def _hold(self, start: Message, message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        self._pieces.append(message.get("body", b"") if is_body else b"")
        self._size += len(self._pieces[-1])
        is_read = is_body and self._way.renames(start["status"], self._size)
        if is_read and message.get("more_body", False):
            return
        self._start, content = None, b"".join(self._pieces)
        if is_read:
            headers, content = self._way.renamed(start.get("headers", ()), content)
            start = {**start, "headers": list(headers)}
        await self._send(start)
        if content and not is_body:  # the rest comes by an extension of the server
            await self._send({"type": "http.response.body", "body": content, "more_body": True})
        await self._send({**message, "body": content} if is_body else message)


@asynccontextmanager
async def until_disconnect(receive: Receive) -> AsyncGenerator[None]:
    """Cancel what runs in the context as soon as the client disconnects."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        yield
        tasks.cancel_scope.cancel()


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}
