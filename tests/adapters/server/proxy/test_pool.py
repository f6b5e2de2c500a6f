"""Connections to an upstream that sends more than its answers: nobody else may get the rest.

The upstream here speaks HTTP by hand and says when it has sent everything, so that what is late has
surely come before the next request begins, be it by a moment.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpcore
import httpx
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from response_cache_server._proxy.network import READ_BUFFER_BYTES, NetworkBackend
from response_cache_server._proxy.pool import Pool
from response_cache_server._proxy.transport import Transport, transport_to
from tests import deadlines
from tests.adapters.servers import eventually

pytestmark = pytest.mark.slow

LOOPS: Final = (
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
)
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


SURPLUS: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"
MINE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"

# fmt: off
ANSWERS: Final = {
    "head":    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    "204":     b"HTTP/1.1 204 No Content\r\n\r\n",
    "304":     b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    "double":  b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Last: 1\r\n\r\n",
}
# fmt: on


@dataclass
class Upstream:
    """Answers ``/evil`` with *answer* and, *late* seconds later, *surplus*; all else with MINE."""

    answer: bytes = ANSWERS["double"]
    surplus: bytes = SURPLUS
    late: float | None = None  # None: in one piece with the answer
    certificates: ssl.SSLContext | None = None  # for TLS; behind CONNECT when asked so
    ends: bool = False  # close the connection where the surplus would come
    waits: anyio.Event | None = None  # until then, with the surplus
    connections: int = 0
    has_sent: anyio.Event = field(default_factory=anyio.Event)

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        try:
            await self._serve(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the other side has closed it
        finally:
            await anyio.aclose_forcefully(stream)

    async def _serve(self, stream: ByteStream) -> None:
        while True:
            head = await self._head(stream)
            if head.startswith(b"CONNECT "):
                await stream.send(b"HTTP/1.1 200 Connected\r\n\r\n")
                assert self.certificates is not None
                stream = await TLSStream.wrap(
                    stream, server_side=True, ssl_context=self.certificates
                )
            elif b"/evil" not in head.split(b"\r\n")[0]:
                await stream.send(MINE)
            elif await self._misbehave(stream):
                return

    async def _misbehave(self, stream: ByteStream) -> bool:
        if self.ends:
            await stream.send(self.answer)
        elif self.waits is not None:
            await stream.send(self.answer)
            await self.waits.wait()
            await stream.send(self.surplus)
        elif self.late is None:
            await stream.send(self.answer + self.surplus)
        else:
            await stream.send(self.answer)
            await anyio.sleep(self.late)
            await stream.send(self.surplus)
        self.has_sent.set()
        return self.ends

    async def _head(self, stream: ByteStream) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        return head  # and perhaps a body, which nobody looks at


WAYS: Final = ("plain", "tls", "forward proxy", "tunnel")


@dataclass
class Site:
    """A client of an upstream."""

    client: httpx.AsyncClient
    upstream: Upstream

    async def provoke(self, method: str = "GET") -> httpx.Response:
        """Ask for what it answers too much to, and wait until all of that was sent."""
        reply = await self.client.request(method, "/v1/evil")
        with anyio.fail_after(WAIT_TIMEOUT):
            await self.upstream.has_sent.wait()
        return reply

    async def mine(self) -> str:
        return (await self.client.get("/v1/mine")).text


@asynccontextmanager
async def reached(
    upstream: Upstream,
    way: str = "plain",
    authority: trustme.CA | None = None,
    **options: Any,
) -> AsyncIterator[Site]:
    """A client that reaches *upstream* by one of WAYS."""
    trusted = None
    if way in ("tls", "tunnel"):
        assert authority is not None
        upstream.certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(upstream.certificates)
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)

    async def accept(stream: ByteStream) -> None:
        if way == "tls":
            stream = await TLSStream.wrap(
                stream, server_side=True, ssl_context=upstream.certificates
            )
        await upstream.serve(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        address = f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        by_proxy = way in ("forward proxy", "tunnel")
        proxy = httpcore.Proxy(f"http://{address}") if by_proxy else None
        pool = Pool(NetworkBackend(), proxy=proxy, ssl_context=trusted, **options)
        port = address.rpartition(":")[2]
        host = "upstream.invalid" if way == "forward proxy" else f"localhost:{port}"
        url = f"{'https' if trusted else 'http'}://{host}"
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, accept)
            async with httpx.AsyncClient(transport=Transport(pool), base_url=url) as client:
                yield Site(client, upstream)
            group.cancel_scope.cancel()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("late", [None, 0, 0.001, 0.05])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_surplus_reaches_nobody(
    kind: str, late: float | None, way: str, authority: trustme.CA
) -> None:
    async with reached(Upstream(ANSWERS[kind], late=late), way, authority) as site:
        await site.provoke("HEAD" if kind == "head" else "GET")
        assert [await site.mine(), await site.mine()] == ["mine", "mine"]
        assert site.upstream.connections == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_connection_without_a_surplus_is_used_again(
    kind: str, way: str, authority: trustme.CA
) -> None:
    async with reached(Upstream(ANSWERS[kind], surplus=b""), way, authority) as site:
        await site.provoke("HEAD" if kind == "head" else "GET")
        assert [await site.mine(), await site.mine()] == ["mine", "mine"]
        assert site.upstream.connections == 1


@pytest.mark.parametrize(
    "surplus",
    [b"x", b"\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1"],
)
async def test_no_surplus_is_too_small(surplus: bytes) -> None:
    async with reached(Upstream(surplus=surplus)) as site:
        await site.provoke()
        assert await site.mine() == "mine"
        assert site.upstream.connections == 2


@pytest.mark.parametrize("way", ["plain", "tls"])
@pytest.mark.parametrize("length", [64 * 2**10, 16 * 2**10, 250 * 2**10, 256 * 2**10, 256_000])
async def test_an_answer_that_ends_where_a_read_ends_hides_no_surplus(
    length: int, way: str, authority: trustme.CA
) -> None:
    """Reads of the parser have 64 KiB, those of the loops 256 KiB or 256,000 bytes, TLS 16 KiB."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %6d\r\n\r\n" % 0
    head = head.replace(b"     0", b"%6d" % (length - len(head)))
    answer = head + b"x" * (length - len(head))
    for late in (None, 0):
        async with reached(Upstream(answer, late=late), way, authority) as site:
            await site.provoke()
            assert await site.mine() == "mine"
            assert site.upstream.connections == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_surplus_is_seen_until_the_first_byte_of_the_next_request_is_written(
    way: str, authority: trustme.CA
) -> None:
    async with reached(Upstream(waits=anyio.Event()), way, authority) as site:
        upstream = site.upstream

        async def trace(event: str, _: object) -> None:
            """Called when the connection is chosen and nothing is written."""
            if event == "http11.send_request_headers.started" and upstream.connections == 1:
                assert upstream.waits is not None
                upstream.waits.set()
                await upstream.has_sent.wait()

        async def body() -> AsyncIterator[bytes]:
            yield b"hello"

        assert (await site.client.get("/v1/evil")).text == "{}"
        reply = await site.client.post("/v1/mine", content=body(), extensions={"trace": trace})
        assert reply.text == "mine"
        assert upstream.connections == 2


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
async def test_interim_answers_that_nobody_asked_for_change_nothing(status: bytes) -> None:
    interim = b"HTTP/1.1 " + status + b"\r\nX-Interim: 1\r\n\r\n"
    async with reached(Upstream(interim * 3 + ANSWERS["double"], surplus=b"")) as site:
        reply = await site.provoke()
        assert (reply.status_code, reply.text) == (200, "{}")
        assert await site.mine() == "mine"
        assert site.upstream.connections == 1


async def test_a_switch_of_protocols_that_nobody_asked_for_is_an_error_and_the_end() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with reached(Upstream(switch)) as site:
        with pytest.raises(httpx.RemoteProtocolError):
            await site.provoke()
        assert await site.mine() == "mine"
        assert site.upstream.connections == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_that_the_upstream_ended_is_not_used_again(
    way: str, authority: trustme.CA
) -> None:
    async with reached(Upstream(ends=True), way, authority) as site:
        await site.provoke()
        assert await site.mine() == "mine"
        assert site.upstream.connections == 2


@pytest.mark.parametrize("way", WAYS)
async def test_without_reuse_each_request_has_a_connection(way: str, authority: trustme.CA) -> None:
    async with reached(Upstream(), way, authority, reuse=False) as site:
        assert [await site.mine() for _ in range(3)] == ["mine"] * 3
        assert site.upstream.connections == 3


async def test_an_answer_that_was_held_up_does_not_leave_its_connection_for_another() -> None:
    size = 8 * READ_BUFFER_BYTES
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    async with reached(Upstream(answer, surplus=b"")) as site:
        async with site.client.stream("GET", "/v1/evil") as reply:
            line = reply.extensions["network_stream"]
            await eventually(lambda: line._was_held_up)
            assert line._buffered <= 2 * READ_BUFFER_BYTES
            assert len(await reply.aread()) == size
        assert await site.mine() == "mine"
        assert site.upstream.connections == 2


class Opaque(httpcore.AsyncConnectionInterface):
    """A connection as another ``httpcore`` might make it: nobody sees its parser."""

    def __init__(self, hidden: httpcore.AsyncConnectionInterface) -> None:
        self.hidden = hidden
        for name in ("has_expired", "is_available", "is_idle", "is_closed", "info", "aclose"):
            setattr(self, name, getattr(hidden, name))
        self.can_handle_request = hidden.can_handle_request  # type: ignore[method-assign]
        self.handle_async_request = hidden.handle_async_request  # type: ignore[method-assign]


async def test_a_connection_whose_parser_is_not_seen_is_used_once_and_this_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = httpcore.AsyncConnectionPool.create_connection
    monkeypatch.setattr(
        httpcore.AsyncConnectionPool,
        "create_connection",
        lambda pool, origin: Opaque(made(pool, origin)),
    )
    caplog.set_level(logging.WARNING, "response_cache_server")
    async with reached(Upstream()) as site:
        assert [await site.mine() for _ in range(3)] == ["mine"] * 3
        assert site.upstream.connections == 3
    assert [record.name for record in caplog.records] == ["response_cache_server.proxy.pool"]
    assert "used once" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_connection_is_used_once(authority: trustme.CA) -> None:
    for way in ("plain", "tls"):
        async with reached(Upstream(), way, authority) as site:
            assert [await site.mine() for _ in range(2)] == ["mine"] * 2
            assert site.upstream.connections == 2


async def test_what_comes_before_tls_begins_is_not_taken_for_encrypted(
    authority: trustme.CA,
) -> None:
    async def rude(stream: ByteStream) -> None:
        async with stream:
            await stream.send(MINE)
            with anyio.move_on_after(WAIT_TIMEOUT):
                await stream.receive()

    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, rude)
        port = listener.extra(SocketAttribute.local_port)
        line = await NetworkBackend().connect_tcp("127.0.0.1", port)
        await eventually(lambda: bool(line._chunks))  # type: ignore[attr-defined]
        with pytest.raises(httpcore.ConnectError):
            await line.start_tls(trusted, "localhost")
        group.cancel_scope.cancel()


async def test_a_stranger_in_the_place_of_the_upstream_is_not_trusted(
    authority: trustme.CA,
) -> None:
    certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(certificates)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=certificates)
    async with (
        server,
        httpx.AsyncClient(
            transport=Transport(Pool(NetworkBackend(), ssl_context=trusted))
        ) as client,
    ):
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await client.get(f"https://localhost:{server.sockets[0].getsockname()[1]}")


def test_a_proxy_is_looked_for_only_when_it_shall_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(url: str, **options: Any) -> httpcore.Proxy | None:
        pool = transport_to(httpx.URL(url), reuse=True, trust_env=True)._pool
        found: httpcore.Proxy | None = pool._proxy
        return found

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert proxy("http://up/v1") is None
    monkeypatch.setenv("HTTP_PROXY", "user:hush@proxy:3128")
    found = proxy("http://up/v1")
    assert found is not None
    assert (found.url.host, found.url.port) == (b"proxy", 3128)
    assert found.auth == (b"user", b"hush")
    assert proxy("https://up/v1") is None
    monkeypatch.setenv("NO_PROXY", "up, ::1, .local")
    assert proxy("http://up:8080/v1") is None
    assert proxy("http://a.local/v1") is None
    assert proxy("http://[::1]:8080/v1") is None
    monkeypatch.setenv("HTTPS_PROXY", "floppy://user:hush@proxy")
    with pytest.raises(ValueError, match="proxy that the environment names") as refusal:
        proxy("https://other/v1")
    assert "hush" not in str(refusal.value)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy:1080")
    with pytest.raises(ImportError, match="socksio"):
        proxy("https://other/v1")
