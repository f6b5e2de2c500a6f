"""What one client of the sidecar's HTTP/1.1 may cost: bytes, fields, connections and time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from response_cache_server._asgi import Receive, Scope, Send
from response_cache_server._http1 import Limits
from response_cache_server._http1.limits import LINGER_BYTES
from response_cache_server._http1.reader import Head, Reader
from response_cache_server._http1.refusal import Refusal
from tests.adapters.server.http1.driver import (
    GET,
    LOOPS,
    Client,
    Server,
    answer,
    chunked,
    echo,
    http1,
    piece,
    post,
    read_body,
    start,
)
from tests.adapters.servers import eventually

pytestmark = pytest.mark.slow

LENGTH = b"Content-Length: 9"
CHUNKED = b"Transfer-Encoding: chunked"
SHORT = 0.2
"""Seconds of a time-out that is to pass."""
LONG = 2.0
"""Seconds of one that is not to pass, though the machine be busy."""


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


# Size.


def head_of(size: int) -> bytes:
    """A request whose target and fields count for *size* bytes, as the limit counts them."""
    rest = size - len(b"/") - len(b"Host: x\r\n") - len(b"A: \r\n")
    return b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * rest + b"\r\n\r\n"


@pytest.mark.parametrize("limit", [2000, 65_536])
@pytest.mark.parametrize("before", [b"", GET, post(CHUNKED, body=chunked(b"hi" * 100))])
async def test_a_head_is_served_up_to_its_limit_and_refused_above(
    limit: int, before: bytes
) -> None:
    count = 2 if before else 1
    async with http1(echo, max_head_bytes=limit) as server:
        async with server.client() as client:
            await client.send(before + head_of(limit) + GET)
            assert [(await client.reply()).status for _ in range(count + 1)][-1] == 200
        async with server.client() as client:
            await client.send(before + head_of(limit + 1) + GET)
            *_, last = [await client.reply() for _ in range(count)]
            assert await client.rest() == b""
    assert (last.status, last.error["type"]) == (431, "invalid_request_error")


@pytest.mark.parametrize("limit", [1, 256])
async def test_fields_are_served_up_to_their_number_and_refused_above(limit: int) -> None:
    fields = b"".join(b"a: b\r\n" for _ in range(limit - 1))
    async with http1(echo, max_head_fields=limit) as server:
        good = await server.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
        bad = await server.ask(b"GET / HTTP/1.1\r\nHost: x\r\nc: d\r\n" + fields + b"\r\n")
    assert (good.status, bad.status) == (200, 431)


ENDLESS = {
    "a field's value": (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 65_536),
    "a field's name": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a" * 65_536),
    "many fields": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"a: b\r\n" * 10_000),
    "an address": (b"GET /", b"a" * 65_536),
    "a query": (b"GET /?", b"a=b&" * 16_384),
    "a method": (b"", b"G" * 65_536),
    "empty lines": (b"", b"\r\n" * 32_768),
    "blanks before the address": (b"GET ", b" " * 65_536),
    "blanks before a value": (b"GET / HTTP/1.1\r\nHost: x\r\nA:", b" " * 65_536),
    "an offered upgrade": (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: ",
        b"h2c," * 16_384,
    ),
}
"""How a request begins, and what follows for ever."""


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_endless_head_is_refused_while_its_client_is_sending(kind: str) -> None:
    begin, more = ENDLESS[kind]
    async with http1(echo) as server, server.client() as client:
        await client.send(begin)
        for _ in range(100):
            await client.send(more)
        reply = await client.reply()
        assert await client.rest() == b""
    assert reply.status in (400, 431)
    assert reply.error["type"] == "invalid_request_error"
    assert client.end == "closed"


ENDLESS_BODIES = {
    "a size": (b"", b"0" * 65_536),
    "an extension": (b"2;a=", b"a" * 65_536),
    "a quoted extension": (b'2;a="', b"a" * 65_536),
    "extensions": (b"2", b";a=b" * 16_384),
    "extensions of many chunks": (b"", b"1;" + b"a" * 4096 + b"\r\nx\r\n"),
    "a trailer": (b"0\r\nA: ", b"a" * 65_536),
    "a trailer's name": (b"0\r\n", b"a" * 65_536),
    "trailers": (b"0\r\n", b"a: b\r\n" * 10_000),
}


@pytest.mark.parametrize("kind", ENDLESS_BODIES)
async def test_what_frames_a_body_is_bounded_like_a_head(kind: str) -> None:
    begin, more = ENDLESS_BODIES[kind]
    async with http1(echo) as server, server.client() as client:
        await client.send(post(CHUNKED, body=begin))
        for _ in range(100):
            await client.send(more)
        reply = await client.reply()
        assert await client.rest() == b""
    assert reply.status in (400, 431)


async def test_a_body_in_the_smallest_chunks_is_served() -> None:
    size = 100_000
    async with http1(echo) as server:
        reply = await server.ask(post(CHUNKED, body=b"1\r\nx\r\n" * size + b"0\r\n\r\n"))
    assert reply.json["body"] == "x" * size


async def test_who_does_not_stop_sending_is_cut_off() -> None:
    block = b"a" * 2**20

    async def flood(client: Client) -> None:
        for _ in range(4 * LINGER_BYTES // len(block)):
            await client.send(block)

    async with http1(echo) as server, server.client() as client:
        with pytest.raises(anyio.BrokenResourceError):
            await flood(client)


class Ignored:
    """Wants to know nothing."""

    def request_begins(self, head: Head) -> None: ...
    def body_comes(self, piece: bytes) -> None: ...
    def request_ends(self) -> None: ...


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"GET /", b"GET / HTTP"])
def test_a_head_that_comes_byte_by_byte_is_refused_at_the_limit(begin: bytes) -> None:
    limit = 2000
    reader = Reader(Limits(max_head_bytes=limit), Ignored())
    reader.feed(begin)

    def drip() -> None:
        for _ in range(limit + 1):
            reader.feed(b"1")

    with pytest.raises(Refusal) as refused:
        drip()
    assert refused.value.status in (400, 431)


async def test_no_more_connections_are_served_than_may_be_open() -> None:
    async with http1(echo, max_connections=2) as server, server.client() as first:
        async with server.client() as second:
            for client in (first, second):
                await client.send(GET)
                assert (await client.reply()).status == 200
            async with server.client() as third:
                reply = await third.reply()
                assert await third.rest() == b""
        assert (reply.status, reply.error["type"]) == (503, "server_error")
        assert reply.fields["retry-after"]

        async def is_served_again() -> bool:
            return (await server.ask(GET)).status == 200

        with anyio.fail_after(20):
            while not await is_served_again():
                pass


# Time.


@pytest.mark.parametrize("begin", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_end_in_time_is_refused(begin: bytes) -> None:
    async with http1(echo, head_timeout=SHORT) as server, server.client() as client:
        await client.send(begin)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.error["type"], client.end) == (
        408,
        "invalid_request_error",
        "closed",
    )


async def test_the_time_of_a_head_is_not_prolonged_by_its_bytes() -> None:
    async with http1(echo, head_timeout=SHORT) as server, server.client() as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        async with anyio.create_task_group() as group:
            group.start_soon(_drip, client)
            assert (await client.reply()).status == 408
            group.cancel_scope.cancel()


async def _drip(client: Client) -> None:
    while True:
        await client.send(b"A: b\r\n")
        await anyio.sleep(SHORT / 10)


async def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    async with http1(echo, head_timeout=SHORT) as server, server.client() as client:
        assert (await client.rest(), client.end) == (b"", "closed")


async def test_a_connection_that_was_served_is_kept_for_its_own_time() -> None:
    async with http1(echo, keep_alive=SHORT) as server, server.client() as client:
        await client.send(GET)
        assert (await client.reply()).status == 200
        assert (await client.rest(), client.end) == (b"", "closed")


async def test_the_next_head_on_a_kept_connection_is_timed_as_well() -> None:
    async with http1(echo, head_timeout=LONG) as server, server.client() as client:
        await client.send(GET)
        assert (await client.reply()).status == 200
        await client.send(GET[:10])
        assert (await client.reply()).status == 408


@pytest.mark.parametrize(
    "begin",
    [
        post(LENGTH, body=b"hi"),
        post(LENGTH),
        post(b"Expect: 100-continue", LENGTH),
        post(CHUNKED, body=b"2\r\nhi\r\n"),
        post(CHUNKED, body=b"2\r\nh"),
        post(CHUNKED, body=b"2\r\nhi\r\n0\r\nA: b\r\n"),
    ],
)
async def test_a_body_that_the_app_waits_for_is_timed(begin: bytes) -> None:
    seen: list[bytes] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(await read_body(receive))

    async with http1(app, body_timeout=SHORT) as server, server.client() as client:
        await client.send(begin)
        reply = await client.reply()
        if reply.status == 100:
            reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.error["type"]) == (408, "invalid_request_error")
    assert seen[0].endswith(b"<gone>")


async def test_a_body_is_timed_between_its_pieces_and_not_as_a_whole() -> None:
    async with http1(echo, body_timeout=LONG) as server, server.client() as client:
        await client.send(post(LENGTH))
        for _ in range(9):
            await client.send(b"x")
            await anyio.sleep(LONG / 7)
        assert (await client.reply()).json["body"] == "x" * 9


async def test_a_body_that_the_app_holds_back_is_not_timed() -> None:
    size = 10 * 2**20
    gate = anyio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await gate.wait()
        await answer(send, b"%d" % len(await read_body(receive)))

    async with http1(app, body_timeout=LONG) as server, server.client() as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.send, post(b"Content-Length: %d" % size, body=b"x" * size))
            await anyio.sleep(1.5 * LONG)
            gate.set()
        assert (await client.reply()).status == 200


async def test_a_stalled_body_breaks_an_answer_that_has_begun() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"hello"))
        await read_body(receive)
        await send(piece(b"", more=False))

    async with http1(app, body_timeout=SHORT) as server, server.client() as client:
        await client.send(post(LENGTH))
        reply = await client.reply()
    assert (reply.body, reply.is_whole) == (b"hello", False)


async def test_an_app_has_all_the_time_it_wants() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await anyio.sleep(1.5 * LONG)
        await send(start())
        await send(piece(b"hi", more=False))

    times = {"head_timeout": LONG, "body_timeout": LONG, "keep_alive": LONG}
    async with http1(app, **times) as server:
        assert (await server.ask(post(b"Content-Length: 2", body=b"hi"))).body == b"hi"


LARGE = bytes(16 * 2**20)


async def _answer_at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(start())
    await send(piece(LARGE, more=False))


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_client_that_takes_the_last_answer_slowly_gets_all_of_it(version: bytes) -> None:
    async with (
        http1(_answer_at_once, flush_timeout=LONG) as server,
        server.client(buffer=2**16) as client,
    ):
        await client.send(b"GET /a HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version)
        for quarter in range(1, 4):
            while len(client.received) < quarter * len(LARGE) / 4:
                assert await client.more(), client.end
            await anyio.sleep(LONG / 2)
        reply = await client.reply()
    assert (len(reply.body), reply.is_whole) == (len(LARGE), True)


async def test_an_answer_that_its_client_does_not_take_never_looks_whole() -> None:
    async with (
        http1(_answer_at_once, flush_timeout=SHORT) as server,
        server.client(buffer=2**16) as client,
    ):
        await client.send(b"GET /a HTTP/1.0\r\n\r\n")
        await client.until(b"\r\n\r\n")
        await anyio.sleep(LONG)
        body = await client.rest()
    assert (client.end == "closed") == (len(body) == len(LARGE))


STALLED = [
    b"",
    b"GET / HT",
    b"GET / HTTP/1.1\r\nHost: x\r\n",
    post(LENGTH, body=b"hi"),
    post(CHUNKED, body=b"5\r\nhi"),
    GET,
]


async def test_stalled_connections_are_all_released() -> None:
    times = {"head_timeout": SHORT, "body_timeout": SHORT, "keep_alive": SHORT}
    ends: list[str] = []

    async def stall(server: Server, begin: bytes) -> None:
        async with server.client() as client:
            await client.send(begin)
            await client.rest()
            ends.append(client.end)

    async with http1(echo, **times) as server, anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(stall, server, STALLED[number % len(STALLED)])
        await eventually(lambda: len(ends) == 200)
    assert set(ends) == {"closed"}
