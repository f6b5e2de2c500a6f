"""Sentinels over TLS: who answered in their place would name the server that gets the password."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme

from response_cache.errors import StoreUnavailable
from response_cache.stores import store_from_url
from tests.stores.redis.test_connection import door_to, listening
from tests.stores.servers import Server, running_sentinel, running_server

pytestmark = pytest.mark.slow

HANDSHAKE: Final = b"\x16"  # the first byte of TLS (RFC 8446, section 5.1); no Redis command has it


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


class Doubled:
    """A door to *server* that takes TLS from us and plain text from its Sentinel."""

    def __init__(self, server: Server, certificates: ssl.SSLContext) -> None:
        self._serve = door_to(server.port)
        self._certificates = certificates
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.encrypted = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        with self._socket:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    connection, _ = await loop.sock_accept(self._socket)
                    tasks.create_task(self._accept(connection))

    async def _accept(self, connection: socket.socket) -> None:
        first = await asyncio.to_thread(_peek, connection)
        connection.setblocking(False)
        self.encrypted += first == HANDSHAKE
        reader = asyncio.StreamReader()
        transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            connection,
            ssl=self._certificates if first == HANDSHAKE else None,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
        try:
            await self._serve(reader, writer)
        except OSError:
            pass  # the other side has gone
        finally:
            transport.abort()


def _peek(connection: socket.socket) -> bytes:
    connection.setblocking(True)
    return connection.recv(1, socket.MSG_PEEK)


@asynccontextmanager
async def doubled(server: Server, certificates: ssl.SSLContext) -> AsyncIterator[Doubled]:
    door = Doubled(server, certificates)
    task = asyncio.create_task(door.run())
    try:
        yield door
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_sentinels_are_asked_over_tls_by_whom_they_can_be_trusted(
    server: Server, authority: trustme.CA, certificates: ssl.SSLContext, tmp_path: Path
) -> None:
    for name, trusted in (("ours", authority), ("another", trustme.CA())):
        trusted.cert_pem.write_to_path(str(tmp_path / name))
    async with doubled(server, certificates) as door:
        with running_sentinel(door.port) as sentinel:
            async with listening(door_to(sentinel.port), certificates) as port:
                url = f"rediss+sentinel://127.0.0.1:{port}/service?ssl_ca_certs={tmp_path}/"
                store = store_from_url(f"{url}ours")
                await store.open()
                assert not await store.delete("r")
                await store.aclose()
                assert door.encrypted
                stranger = store_from_url(f"{url}another")
                with pytest.raises(StoreUnavailable):
                    await stranger.open()
                await stranger.aclose()


async def test_a_certificate_for_another_host_is_refused(
    server: Server, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ours"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with listening(door_to(server.port), context) as port:
        for scheme, path in (("rediss", ""), ("rediss+sentinel", "/s"), ("rediss+cluster", "")):
            url = f"{scheme}://127.0.0.1:{port}{path}?ssl_ca_certs={tmp_path}/ours"
            store = store_from_url(url)
            with pytest.raises(StoreUnavailable):
                await store.open()
            await store.aclose()


@pytest.mark.parametrize("path", ["/", "+cluster/", "+sentinel/service"])
async def test_nothing_is_ever_sent_in_plain_text(path: str) -> None:
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1))

    async with listening(hear) as port:
        kind, _, rest = path.partition("/")
        store = store_from_url(f"rediss{kind}://user:secret@127.0.0.1:{port}/{rest}")
        with pytest.raises(StoreUnavailable):
            await store.open()
        await store.aclose()
    assert set(heard) == {HANDSHAKE}
