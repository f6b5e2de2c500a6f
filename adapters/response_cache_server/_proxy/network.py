"""Connections that can tell at any moment whether unexpected bytes have come.

Streams of other libraries read on demand. Bytes that came beyond the demand stay where no caller
sees them: in a queue of the stream, in TLS, in the kernel. Here the event loop reads at all times,
so all that came is in one place. Just before a new request is written, the kernel is asked as well.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import aiohappyeyeballs
import anyio
import httpcore

from response_cache._sockets import is_readable

__all__ = ("NetworkBackend", "WatchedStream")

READ_BUFFER_BYTES: Final = 256 * 2**10
"""Received bytes above which reading pauses, because the reader is slower than the upstream."""
CONNECTION_ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address is tried beside the last one (RFC 8305, section 5)."""


class WatchedStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One connection as a stream of ``httpcore``, whose errors it raises."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._has_ended = False
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None  # of a reader
        self._room: asyncio.Future[None] | None = None  # set while writing pauses
        self._was_held_up = False
        self._must_be_quiet = False

    # What httpcore asks for.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; none when the other side has ended the connection."""
        if not self._chunks and not self._has_ended:
            self._news = asyncio.get_running_loop().create_future()
            try:
                await _within(timeout, self._news, httpcore.ReadTimeout)
            finally:
                self._news = None
        if self._chunks:
            return self._take(max_bytes)
        if self._error is not None:
            raise httpcore.ReadError(str(self._error))
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send *buffer*.

        Raises:
            httpcore.ConnectionNotAvailable: the connection had to be quiet and is not. Nothing was
                sent: the request can go on another connection.
        """
        if not buffer:
            return
        if self._must_be_quiet and not self.is_quiet:
            raise httpcore.ConnectionNotAvailable
        self._must_be_quiet = False
        if self._transport.is_closing():
            raise httpcore.WriteError(str(self._error or "the connection is closed"))
        self._transport.write(buffer)
        if self._room is not None:
            await _within(timeout, self._room, httpcore.WriteTimeout)

    async def aclose(self) -> None:
        """Break the connection. Safe to call twice."""
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> WatchedStream:
        """The same connection, encrypted from here on."""
        if self._chunks:  # plain text that would be taken for decrypted text
            await self.aclose()
            raise httpcore.ConnectError("the server spoke before TLS began")
        loop = asyncio.get_running_loop()
        try:
            with _connecting(), anyio.fail_after(timeout):
                transport = await loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException:
            await self.aclose()
            raise
        if transport is None:
            raise httpcore.ConnectError("the connection was lost")
        self._transport = transport
        return self

    def get_extra_info(self, info: str) -> Any:
        """What ``httpcore`` documents for network streams."""
        if info == "is_readable":
            return not self.is_quiet
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    # By which answers are kept apart.

    @property
    def is_quiet(self) -> bool:
        """Whether all that came was read, and the connection is still open.

        False once reading has paused: TLS may have kept bytes then that are not seen here.
        """
        if self._chunks or self._has_ended or self._was_held_up or self._transport.is_closing():
            return False
        return not is_readable(self._transport.get_extra_info("socket").fileno())

    def require_quiet(self) -> None:
        """The next write begins a request: it fails if bytes came before it."""
        self._must_be_quiet = True

    # Called by the event loop (``asyncio.Protocol``).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop inherits nothing

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > READ_BUFFER_BYTES:
            self._was_held_up = True
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        self._has_ended = True
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_ended = True
        self._error = exc
        self._tell()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _take(self, max_bytes: int) -> bytes:
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        is_over = self._buffered > READ_BUFFER_BYTES
        self._buffered -= len(chunk)
        if is_over and self._buffered <= READ_BUFFER_BYTES and not self._has_ended:
            self._transport.resume_reading()
        return chunk


class NetworkBackend(httpcore.AsyncNetworkBackend):
    """Makes connections with *options* (level, name, value) on their sockets.

    On trio they are the connections of ``httpcore``, which cannot tell whether they are quiet.
    """

    def __init__(self, options: Iterable[tuple[int, int, int]] = ()) -> None:
        self._options = tuple(options)
        self._elsewhere = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the address of *host* that answers first; the last two are not used."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return await self._elsewhere.connect_tcp(
                host, port, timeout, socket_options=self._options
            )
        with _connecting(), anyio.fail_after(timeout):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            connected = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=CONNECTION_ATTEMPT_DELAY, interleave=1
            )
            try:
                for option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *self._options):
                    connected.setsockopt(*option)
                _, line = await loop.create_connection(WatchedStream, sock=connected)
            except BaseException:
                connected.close()
                raise
        return line

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@contextmanager
def _connecting() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise httpcore.ConnectTimeout from None
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


async def _within(
    timeout: float | None, change: asyncio.Future[None], error: type[httpcore.TimeoutException]
) -> None:
    if timeout is None:
        await change
        return
    try:
        async with asyncio.timeout(timeout):
            await change
    except TimeoutError:
        raise error from None
