"""Requests as the sidecar's HTTP/1.1 reads them: what is served, what is refused, and how."""

from __future__ import annotations

import pytest

from response_cache_server._asgi import Receive, Scope, Send
from tests.adapters.server.http1.driver import (
    GET,
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


@pytest.fixture
def anyio_backend() -> str:
    """The servers run on asyncio only."""
    return "asyncio"


LENGTH = b"Content-Length: 2"
CHUNKED = b"Transfer-Encoding: chunked"
OFFERS = [
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"),
    (b"connection: upgrade", b"upgrade: h2c"),
    (b"CONNECTION: keep-alive, UPGRADE", b"UPGRADE: H2C"),
    (b"Upgrade: h2c", b"Connection: http2-settings,upgrade"),
    (b"Connection: Upgrade", b"Upgrade: TLS/1.0, HTTP/2.0"),
    (b"Connection: Upgrade", b"Upgrade: something"),
]


async def test_a_request_reaches_the_app_as_it_was_sent() -> None:
    async with http1(echo) as server:
        reply = await server.ask(
            b"PATCH /a%20b/c?d=%20e HTTP/1.1\r\nHost: x:8\r\nX-One:  1 \r\nX-One: \xe9\r\n"
            b"Content-Length: 2\r\n\r\nhi"
        )
    assert reply.json == {
        "method": "PATCH",
        "path": "/a b/c",
        "query": "d=%20e",
        "version": "1.1",
        "fields": [["host", "x:8"], ["x-one", "1"], ["x-one", "é"], ["content-length", "2"]],
        "body": "hi",
    }


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer[-1].decode())
async def test_an_offered_upgrade_is_ignored_and_the_body_is_read(
    offer: tuple[bytes, ...], framing: str
) -> None:
    field, body = (LENGTH, b"hi") if framing == "length" else (CHUNKED, chunked(b"h", b"i"))
    async with http1(echo) as server, server.client() as client:
        await client.send(post(*offer, field, body=body + post(LENGTH, body=b"ho") + GET))
        replies = [await client.reply() for _ in range(3)]
    assert [reply.json["body"] for reply in replies] == ["hi", "ho", ""]
    assert "upgrade" not in dict(replies[0].json["fields"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_offered_upgrade_is_ignored_with_every_method(method: str) -> None:
    head = b"%b /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    async with http1(echo) as server, server.client() as client:
        await client.send((head + b"Content-Length: 2\r\n\r\nhi") % method.encode() + GET)
        first = await client.reply(to_head=method == "HEAD")
        second = await client.reply()
    if method != "HEAD":
        assert (first.json["method"], first.json["body"]) == (method, "hi")
    assert second.json["method"] == "GET"


async def test_an_offered_upgrade_may_come_in_pieces() -> None:
    request = post(*OFFERS[0], CHUNKED, body=chunked(b"h", b"i")) + GET
    async with http1(echo) as server, server.client() as client:
        for number in range(len(request)):
            await client.send(request[number : number + 1])
        bodies = [(await client.reply()).json["body"] for _ in range(2)]
    assert bodies == ["hi", ""]


async def test_many_offers_at_once_are_read_one_after_the_other() -> None:
    count = 2000
    async with http1(echo) as server, server.client() as client:
        await client.send(post(*OFFERS[1], LENGTH, body=b"hi") * count)
        for _ in range(count):
            assert (await client.reply()).json["body"] == "hi"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with http1(echo) as server, server.client() as client:
        numbers = [str(number) for number in range(500)]
        await client.send(
            b"".join(post(CHUNKED, body=chunked(number.encode())) for number in numbers)
        )
        assert [(await client.reply()).json["body"] for _ in numbers] == numbers


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
async def test_a_body_may_be_cut_anywhere(size: int) -> None:
    body = bytes(range(32, 127)) * (1 if size < 100 else 3000)
    request = post(CHUNKED, body=chunked(body[:50], body[50:])) + GET
    async with http1(echo) as server, server.client() as client:
        for begin in range(0, len(request), size):
            await client.send(request[begin : begin + size])
        assert (await client.reply()).json["body"] == body.decode()
        assert (await client.reply()).json["method"] == "GET"


TRAILERS = (
    b"0\r\nauthorization: Bearer x\r\nX-User: admin\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
)


@pytest.mark.parametrize("at_once", [True, False])
async def test_trailers_are_dropped(at_once: bool) -> None:
    body, end = chunked(b"hi", end=b""), TRAILERS
    async with http1(echo) as server, server.client() as client:
        if at_once:
            await client.send(post(CHUNKED, body=body + end) + GET)
        else:
            await client.send(post(CHUNKED, body=body))
            for number in range(len(end)):
                await client.send(end[number : number + 1])
            await client.send(GET)
        first, second = await client.reply(), await client.reply()
    assert first.json["body"] == "hi"
    assert [name for name, _ in first.json["fields"]] == ["host", "transfer-encoding"]
    assert [name for name, _ in second.json["fields"]] == ["host"]


BAD = {
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "no version": (505, b"GET / HTTP/0.9\r\nHost: x\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "no method": (400, b"FROB / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a tunnel": (400, b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"),
    "two Hosts in 1.0": (400, b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"),
    "a Host with a path": (400, b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"),
    "a Host with a blank": (400, b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n"),
    "a Host with a user": (400, b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n"),
    "two Hosts in one": (400, b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"),
    "a Host with a name for a port": (400, b"GET / HTTP/1.1\r\nHost: x:http\r\n\r\n"),
    "an offer without Host": (
        400,
        b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ),
    "a raw address": (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "an address with a control": (400, b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a folded field": (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
    "a blank before the colon": (400, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"),
    "a bare CR": (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"),
    "a bare LF": (400, b"GET / HTTP/1.1\nHost: x\n\n"),
    "a NUL": (400, b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"),
    "an empty name": (400, b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n"),
    "two lengths": (400, post(LENGTH, LENGTH, body=b"hi")),
    "two lengths that differ": (400, post(LENGTH, b"Content-Length: 3", body=b"hi!")),
    "a list of lengths": (400, post(b"Content-Length: 2, 2", body=b"hi")),
    "a signed length": (400, post(b"Content-Length: +2", body=b"hi")),
    "a negative length": (400, post(b"Content-Length: -2", body=b"hi")),
    "a huge length": (400, post(b"Content-Length: " + b"9" * 40)),
    "length and chunks": (400, post(LENGTH, CHUNKED, body=chunked(b"hi"))),
    "chunks and length": (400, post(CHUNKED, LENGTH, body=chunked(b"hi"))),
    "gzip": (400, post(b"Transfer-Encoding: gzip", body=chunked(b"hi"))),
    "gzip in chunks": (400, post(b"Transfer-Encoding: gzip, chunked", body=chunked(b"hi"))),
    "gzip, then chunks": (400, post(b"Transfer-Encoding: gzip", CHUNKED, body=chunked(b"hi"))),
    "chunks twice": (400, post(CHUNKED, CHUNKED, body=chunked(b"hi"))),
    "chunks no more": (400, post(b"Transfer-Encoding: chunked, identity", body=chunked(b"hi"))),
    "something like chunks": (400, post(b"Transfer-Encoding: xchunked", body=chunked(b"hi"))),
    "chunks in 1.0": (400, post(CHUNKED, body=chunked(b"hi"), version=b"1.0")),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_head_is_refused_by_an_error_of_the_api_and_a_close(kind: str) -> None:
    status, request = BAD[kind]
    async with http1(never) as server, server.client() as client:
        await client.send(request + GET)
        reply = await client.reply()
        rest = await client.rest()
    assert (reply.status, rest, client.end) == (status, b"", "closed")
    assert reply.error["type"] == "invalid_request_error"
    assert reply.fields["connection"] == "close"
    assert reply.fields["content-type"] == "application/json"


async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("the app was called")


@pytest.mark.parametrize(
    "host", [b"a.b-c_d:80", b"127.0.0.1", b"[::1]:8000", b"[fe80::1%25eth0]", b"", b"a:"]
)
async def test_every_kind_of_host_is_served(host: bytes) -> None:
    async with http1(echo) as server:
        reply = await server.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    assert reply.json["fields"] == [["host", host.decode()]]


async def test_an_absolute_address_is_served_by_its_path() -> None:
    async with http1(echo) as server:
        reply = await server.ask(b"GET http://x:1/a%20b?c HTTP/1.1\r\nHost: x\r\n\r\n")
        bare = await server.ask(b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (reply.json["path"], reply.json["query"], bare.json["path"]) == ("/a b", "c", "/")


CHUNKS = {
    "a word for a size": b"xyz\r\nhi\r\n",
    "no size": b"\r\nhi\r\n",
    "a hexadecimal prefix": b"0x2\r\nhi\r\n0\r\n\r\n",
    "a signed size": b"+2\r\nhi\r\n0\r\n\r\n",
    "a negative size": b"-2\r\nhi\r\n0\r\n\r\n",
    "a huge size": b"f" * 20 + b"\r\nhi\r\n",
    "a blank in the size": b"2 2\r\nhi\r\n0\r\n\r\n",
    "bare line feeds": b"2\nhi\n0\n\n",
    "more than the size": b"2\r\nhi!\r\n0\r\n\r\n",
    "no line break behind": b"2\r\nhi0\r\n\r\n",
    "a control in an extension": b"2;\0\r\nhi\r\n0\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "a length among the trailers": b"0\r\nContent-Length: 3\r\n\r\n",
}


@pytest.mark.parametrize("kind", CHUNKS)
async def test_a_bad_body_is_refused_and_the_app_sees_its_client_go(kind: str) -> None:
    seen: list[bytes] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(await read_body(receive))

    async with http1(app) as server, server.client() as client:
        await client.send(post(CHUNKED, body=CHUNKS[kind] + GET))
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert seen == [b"<gone>"]


async def test_a_bad_body_breaks_an_answer_that_has_begun() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"hello"))
        await read_body(receive)
        await send(piece(b"", more=False))

    async with http1(app) as server, server.client() as client:
        await client.send(post(CHUNKED, body=b""))
        await client.until(b"hello")
        await client.send(b"xyz\r\n")
        assert b"0\r\n\r\n" not in await client.rest()


async def test_a_bad_request_is_refused_though_it_is_read_while_an_app_handles_an_error() -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            scope["no such key"]
        except KeyError:
            await answer(send, b"hi")

    async with http1(app) as server, server.client() as client:
        await client.send(GET * 1000 + b"GET / HTTP/1.1\r\n\r\n")
        statuses = [(await client.reply()).status for _ in range(1001)]
    assert statuses == [200] * 1000 + [400]


async def test_a_bad_request_is_refused_in_its_turn() -> None:
    async with http1(echo) as server, server.client() as client:
        await client.send(GET + post(LENGTH, body=b"hi") + b"GET / HTTP/1.1\r\n\r\n")
        statuses = [(await client.reply()).status for _ in range(3)]
        assert await client.rest() == b""
    assert statuses == [200, 200, 400]


HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: %b\r\nUpgrade: %b\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("path", [b"/v1/responses", b"/v1/responses/resp_1", b"/other"])
@pytest.mark.parametrize(
    "offer", [(b"Upgrade", b"websocket"), (b"keep-alive, upgrade", b"h2c, WebSocket")]
)
async def test_a_websocket_is_refused_by_an_error_of_the_api(
    path: bytes, offer: tuple[bytes, bytes]
) -> None:
    async with http1(never) as server:
        reply = await server.ask(HANDSHAKE % (path, *offer))
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert "WebSocket" in reply.error["message"]


async def test_who_asks_before_sending_is_told_to_go_on_when_the_app_wants_the_body() -> None:
    async with http1(echo) as server, server.client() as client:
        await client.send(post(b"Expect: 100-Continue", LENGTH))
        assert (await client.reply()).status == 100
        await client.send(b"hi" + GET)
        first, second = await client.reply(), await client.reply()
    assert (first.json["body"], second.status) == ("hi", 200)


async def test_who_sends_without_waiting_is_not_told() -> None:
    async with http1(echo) as server:
        assert (await server.ask(post(b"Expect: 100-continue", LENGTH, body=b"hi"))).status == 200


async def test_who_is_answered_instead_of_told_to_go_on_sees_a_close() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(send, b"no", status=413)

    async with http1(app) as server, server.client() as client:
        await client.send(post(b"Expect: 100-continue", LENGTH))
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.fields["connection"]) == (413, "close")


async def test_an_older_client_is_never_told_to_go_on() -> None:
    async with http1(echo) as server, server.client() as client:
        await client.send(post(b"Expect: 100-continue", LENGTH, version=b"1.0"))
        await client.send(b"hi")
        assert (await client.reply()).json["body"] == "hi"


async def test_an_early_answer_reaches_a_client_that_is_sending_still() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answer(send, b"too much", status=413)

    size = 20 * 2**20
    async with http1(app) as server, server.client() as client:
        await client.send(post(b"Content-Length: %d" % size))
        for _ in range(size // 2**16):
            await client.send(b"x" * 2**16)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.body) == (413, b"too much")
    assert (reply.fields["connection"], client.end) == ("close", "closed")


async def test_the_app_is_told_when_its_client_goes() -> None:
    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        await send(piece(b"x"))
        seen.append((await receive())["type"])

    async with http1(app) as server:
        async with server.client() as client:
            await client.send(GET)
            await client.until(b"x")
        await eventually(lambda: seen == ["http.disconnect"])


async def test_the_app_is_told_when_a_client_goes_that_had_pipelined() -> None:
    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        seen.append((await receive())["type"])

    async with http1(app) as server:
        async with server.client() as client:
            await client.send(GET * 3)
        await eventually(lambda: seen == ["http.disconnect"])


async def test_the_app_is_told_when_its_answer_is_over() -> None:
    seen: list[str] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hi")
        seen.append((await receive())["type"])

    async with http1(app) as server:
        await server.ask(GET)
        await eventually(lambda: seen == ["http.disconnect"])
