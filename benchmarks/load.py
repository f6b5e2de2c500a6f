"""A small load generator: a few keep-alive connections that repeat one request."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping

__all__ = ("requests_a_second",)


class _Connection(asyncio.Protocol):
    """Sends a request, counts the reply's bytes, sends the next."""

    def __init__(self, request: bytes, counts: list[int]) -> None:
        self._request = request
        self._counts = counts
        self._left = 0
        self._head = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._left == 0:
            self._head += data
            head, separator, body = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            assert length is not None, head
            self._head = b""
            self._left = int(length[1]) - len(body)
        else:
            self._left -= len(data)
        if self._left == 0 and self._transport is not None:
            self._counts[0] += 1
            self._transport.write(self._request)


def requests_a_second(
    port: int,
    path: str,
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
) -> float:
    """Replies with status 200 for each second, after a short warm-up."""

    async def run() -> float:
        loop = asyncio.get_running_loop()
        fields = {"Host": "localhost", **(headers or {})}
        lines = (f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()
        counts = [0]
        opened = [
            await loop.create_connection(lambda: _Connection(request, counts), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.sleep(0.3)
        start, before = time.perf_counter(), counts[0]
        await asyncio.sleep(seconds)
        rate = (counts[0] - before) / (time.perf_counter() - start)
        for transport, _ in opened:
            transport.abort()
        return rate

    return asyncio.run(run())
