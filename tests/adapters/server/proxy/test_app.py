"""The reverse proxy between real servers: proxy and upstream both listen on sockets."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream

from response_cache_server._asgi import App, Message, Receive, Scope, Send, send_json
from response_cache_server._proxy.app import ProxyApp
from tests.adapters.browser import Blocked, shown
from tests.adapters.servers import DEADLINE, serving
from tests.ports import free_port

pytestmark = pytest.mark.slow

MEGABYTE = 2**20


@pytest.fixture
def anyio_backend() -> str:
    """The servers run on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def proxied(upstream: App, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a proxy in front of *upstream*."""
    async with (
        serving(upstream, proxy_headers=False) as base,
        client_of(f"{base}/v1", **options) as client,
    ):
        yield client


@asynccontextmanager
async def client_of(base_url: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    proxy = ProxyApp(base_url, **options)
    async with (
        serving(proxy, lifespan="on", proxy_headers=False) as url,
        httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
    ):
        yield client


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what arrived."""
    body = await body_of(receive)
    seen = {
        "method": scope["method"],
        "path": scope["raw_path"].decode(),
        "query": scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "body": body.decode(),
    }
    await send_json(send, 200, seen)


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def error_of(reply: httpx.Response) -> dict[str, Any]:
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with proxied(echo) as client:
        reply = await client.post(
            "/openai/v1/responses?include%5B%5D=a",
            content=b'{"input": "hello"}',
            headers={"Authorization": "Bearer key", "Content-Type": "application/json"},
        )
    seen = reply.json()
    assert seen["method"] == "POST"
    assert (seen["path"], seen["query"]) == ("/v1/responses", "include%5B%5D=a")
    assert seen["body"] == '{"input": "hello"}'
    headers = dict(seen["headers"])
    assert headers["authorization"] == "Bearer key"
    assert headers["content-length"] == "18"
    assert "transfer-encoding" not in headers


async def test_the_upstream_is_addressed_by_its_own_name_and_told_who_asks() -> None:
    async with proxied(echo) as client:
        headers = dict((await client.get("/v1/models")).json()["headers"])
        front = client.base_url.netloc.decode()
    assert headers["host"] != front
    assert headers["x-forwarded-host"] == front
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["via"] == "1.1 response-cache"


async def test_the_upstream_is_not_told_who_asks_when_it_shall_not_be() -> None:
    async with proxied(echo, forwarded=False) as client:
        headers = dict((await client.get("/v1/models")).json()["headers"])
    assert not [name for name in headers if name.startswith("x-forwarded-")]


CLAIMS = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "elsewhere",
    "X-Forwarded-User": "root",
    "Forwarded": "for=203.0.113.9",
}


async def test_a_peer_that_is_named_is_believed() -> None:
    async with proxied(echo) as client:
        headers = dict((await client.get("/v1/x", headers=CLAIMS)).json()["headers"])
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == "elsewhere"
    assert headers["x-forwarded-user"] == "root"
    assert headers["forwarded"] == "for=203.0.113.9"


@pytest.mark.parametrize("forwarded", [True, False])
async def test_what_another_peer_says_of_itself_is_dropped(forwarded: bool) -> None:
    async with proxied(echo, forwarded_allow_ips="10.0.0.0/8", forwarded=forwarded) as client:
        headers = dict((await client.get("/v1/x", headers=CLAIMS)).json()["headers"])
        front = client.base_url.netloc.decode()
    ours = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": front}
    told = {name: value for name, value in headers.items() if "forwarded" in name}
    assert told == (ours if forwarded else {})


async def test_without_reuse_each_request_has_a_connection_of_its_own() -> None:
    ports: list[int] = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        ports.append(scope["client"][1])
        await send_json(send, 200, {})

    for reuse in (True, False):
        async with proxied(upstream, reuse_connections=reuse) as client:
            for _ in range(3):
                await client.get("/v1/x")
    assert len(set(ports[:3])) == 1
    assert len(set(ports[3:])) == 3


async def test_the_request_has_no_fields_but_those_of_the_client_and_of_the_way() -> None:
    async with proxied(echo, forwarded=False) as client:
        request = httpx.Request("GET", f"{client.base_url}/v1/models", headers={"Host": "front"})
        headers = dict((await client.send(request)).json()["headers"])
    assert set(headers) == {"host", "via"}


async def test_connection_fields_stay_on_their_side() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        names = [name for name, _ in scope["headers"]]
        assert b"x-hop" not in names
        assert b"keep-alive" not in names
        await send(start(200, (b"Connection", b"x-inner"), (b"X-Inner", b"1"), (b"X-Outer", b"2")))
        await send(piece(b"ok", more=False))

    async with proxied(upstream) as client:
        reply = await client.get(
            "/v1/x", headers={"Connection": "keep-alive, X-Hop", "X-Hop": "1", "Keep-Alive": "5"}
        )
    assert reply.status_code == 200
    assert "x-inner" not in reply.headers
    assert reply.headers["x-outer"] == "2"


async def test_repeated_fields_of_an_answer_stay_apart() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")))
        await send(piece(b"", more=False))

    async with proxied(upstream) as client:
        reply = await client.get("/v1/x")
    assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert len(reply.headers.get_list("date")) == 1


async def test_one_clients_cookies_are_not_sent_for_another() -> None:
    seen: list[bytes] = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"cookie")
        await send(start(200, (b"set-cookie", b"session=mine; Path=/")))
        await send(piece(b"", more=False))

    async with proxied(upstream) as client:
        await client.get("/v1/x")
        client.cookies.clear()
        await client.get("/v1/x")
    assert seen == []


async def test_an_encoded_answer_passes_without_being_decoded() -> None:
    packed = gzip.compress(b"hello " * 1000)

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        length = str(len(packed)).encode()
        await send(start(200, (b"content-encoding", b"gzip"), (b"content-length", length)))
        await send(piece(packed, more=False))

    async with proxied(upstream) as client, client.stream("GET", "/v1/x") as reply:
        raw = b"".join([chunk async for chunk in reply.aiter_raw()])
    assert raw == packed
    assert reply.headers["content-encoding"] == "gzip"


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(307, (b"location", b"/elsewhere")))
        await send(piece(b"", more=False))

    async with proxied(upstream) as client:
        reply = await client.get("/v1/x")
    assert (reply.status_code, reply.headers["location"]) == (307, "/elsewhere")


async def test_an_error_of_the_upstream_passes_verbatim() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, 429, {"odd": ["shape"]}, headers=[(b"retry-after", b"7")])

    async with proxied(upstream) as client:
        reply = await client.post("/v1/responses", json={})
    assert (reply.status_code, reply.json()) == (429, {"odd": ["shape"]})
    assert reply.headers["retry-after"] == "7"


async def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "HEAD"
        await send(start(200, (b"content-length", b"1234")))
        await send(piece(b"", more=False))

    async with proxied(upstream) as client:
        reply = await client.head("/v1/x")
    assert (reply.content, reply.headers["content-length"]) == (b"", "1234")


async def test_each_chunk_of_an_answer_is_seen_before_the_next_is_sent() -> None:
    seen = [anyio.Event() for _ in range(3)]

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for number, event in enumerate(seen):
            await send(piece(b"data: %d\n\n" % number))
            await event.wait()
        await send(piece(b"", more=False))

    async with proxied(upstream) as client, client.stream("POST", "/v1/responses") as reply:
        chunks = reply.aiter_raw()
        for number, event in enumerate(seen):
            assert await anext(chunks) == b"data: %d\n\n" % number
            event.set()
        assert [chunk async for chunk in chunks] == []


async def test_each_chunk_of_a_request_is_seen_before_the_next_is_sent() -> None:
    arrived = [anyio.Event() for _ in range(3)]

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        for event in arrived:
            assert (await receive())["body"] == b"piece"
            event.set()
        assert not (await receive())["more_body"]
        await send_json(send, 200, {})

    async def pieces() -> AsyncIterator[bytes]:
        for event in arrived:
            yield b"piece"
            await event.wait()

    async with proxied(upstream) as client:
        reply = await client.post("/v1/files", content=pieces())
    assert reply.status_code == 200


async def test_twenty_megabytes_pass_both_ways() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        await send(start(200, (b"content-length", str(len(body)).encode())))
        await send(piece(body, more=False))

    content = bytes(range(256)) * (20 * MEGABYTE // 256)
    async with proxied(upstream) as client:
        reply = await client.post("/v1/files", content=content)
    assert reply.content == content


async def test_a_client_that_leaves_while_it_waits_ends_the_upstreams_request() -> None:
    asked, told = anyio.Event(), anyio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        asked.set()
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with proxied(upstream) as client, anyio.create_task_group() as group:
        group.start_soon(client.post, "/v1/responses")
        with anyio.fail_after(DEADLINE):
            await asked.wait()
        group.cancel_scope.cancel()
        with anyio.fail_after(DEADLINE, shield=True):
            await told.wait()


async def test_a_client_that_leaves_in_mid_stream_ends_the_upstreams_request() -> None:
    told = anyio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await send(start())
        await send(piece(b"first"))
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with proxied(upstream) as client:
        async with client.stream("POST", "/v1/responses", json={}) as reply:
            assert await anext(reply.aiter_raw()) == b"first"
        with anyio.fail_after(DEADLINE):
            await told.wait()


async def test_a_client_that_leaves_in_mid_request_ends_the_upstreams_request() -> None:
    begun, told = anyio.Event(), anyio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"first"
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async def endless() -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep_forever()

    async with proxied(upstream) as client, anyio.create_task_group() as group:

        async def upload() -> None:
            await client.post("/v1/files", content=endless())

        group.start_soon(upload)
        with anyio.fail_after(DEADLINE):
            await begun.wait()
        group.cancel_scope.cancel()
        with anyio.fail_after(DEADLINE, shield=True):
            await told.wait()


async def test_an_upstream_that_answers_before_it_has_read_everything_is_heard() -> None:
    async def upstream(connection: SocketStream) -> None:
        async with connection:
            await connection.receive()
            await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
            async for _ in connection:
                pass

    async with raw_upstream(upstream) as base, client_of(base) as client:
        reply = await client.post("/v1/files", content=b"x" * 4 * MEGABYTE)
    assert (reply.status_code, reply.text) == (413, "much")


async def test_an_upstream_that_is_not_there_is_a_502() -> None:
    async with client_of(f"http://user:hush@127.0.0.1:{free_port()}/v1") as client:
        reply = await client.post("/v1/responses", json={})
    assert reply.status_code == 502
    assert error_of(reply)["type"] == "server_error"
    assert "hush" not in reply.text


async def test_an_upstream_that_is_silent_too_long_is_a_504() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await receive()

    async with proxied(upstream, read_timeout=0.05) as client:
        reply = await client.post("/v1/responses", json={})
    assert reply.status_code == 504
    assert error_of(reply)["type"] == "server_error"


async def test_an_upstream_that_hangs_up_without_a_word_is_a_502() -> None:
    async def upstream(connection: SocketStream) -> None:
        async with connection:
            await connection.receive()

    async with raw_upstream(upstream) as base, client_of(base) as client:
        reply = await client.post("/v1/responses", json={})
    assert reply.status_code == 502
    assert error_of(reply)["code"] == "server_error"


@pytest.mark.parametrize(
    "head",
    [b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", b"Content-Length: 99\r\n\r\nfirst"],
    ids=["chunked", "with a length"],
)
async def test_an_answer_that_breaks_off_is_broken_for_the_client_too(head: bytes) -> None:
    async def upstream(connection: SocketStream) -> None:
        async with connection:
            await connection.receive()
            await connection.send(b"HTTP/1.1 200 OK\r\n" + head)

    async with (
        raw_upstream(upstream) as base,
        client_of(base) as client,
        client.stream("GET", "/v1/responses/r") as reply,
    ):
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await reply.aread()


@pytest.mark.parametrize("length", [0, 2, 3, 99])
async def test_a_length_beside_chunks_does_not_go_further(length: int) -> None:
    framing = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % length
    answer = b"HTTP/1.1 200 OK\r\n" + framing + b"2\r\n{}\r\n0\r\n\r\n"
    async with raw_upstream(saying(answer)) as base, client_of(base) as client:
        reply = await client.get("/v1/x")
    assert (reply.status_code, reply.content) == (200, b"{}")
    assert "content-length" not in reply.headers


def saying(answer: bytes) -> Any:
    """An upstream that says *answer* to every request, byte for byte, and hangs up."""

    async def upstream(connection: SocketStream) -> None:
        async with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await connection.receive()
            await connection.send(answer)

    return upstream


@pytest.mark.parametrize(
    "status", ["0", "00", "000", "99", "099", "101", "600", "999", "1000", "x"]
)
async def test_a_status_that_is_none_is_a_502(status: str) -> None:
    answer = f"HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    async with raw_upstream(saying(answer)) as base, client_of(base) as client:
        reply = await client.get("/v1/x")
    assert reply.status_code == 502
    assert error_of(reply)["type"] == "server_error"


@pytest.mark.parametrize("status", [100, 101, 103, 199, 600, 999])
async def test_a_status_that_a_client_handed_in_lets_pass_is_a_502(status: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status))
    async with (
        httpx.AsyncClient(transport=transport) as handed_in,
        client_of("http://up/v1", client=handed_in) as client,
    ):
        assert (await client.get("/v1/x")).status_code == 502


@pytest.mark.parametrize("length", ["Content-Length: 0", "Content-Length: 99", "X: y"])
@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_goes_out_without_a_length(
    status: int, length: str
) -> None:
    answer = f"HTTP/1.1 {status} Odd\r\n{length}\r\nETag: a\r\n\r\n".encode()
    async with raw_upstream(saying(answer)) as base, client_of(base) as client:
        reply = await client.get("/v1/x")
    assert (reply.status_code, reply.content, reply.headers["etag"]) == (status, b"", "a")
    assert "content-length" not in reply.headers
    assert "transfer-encoding" not in reply.headers


async def test_a_body_that_a_client_handed_in_reads_after_a_204_stays_here() -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(204, stream=httpx.ByteStream(b"surplus"))
    )
    async with (
        httpx.AsyncClient(transport=transport) as handed_in,
        client_of("http://up/v1", client=handed_in) as client,
    ):
        reply = await client.get("/v1/x")
    assert (reply.status_code, reply.content) == (204, b"")


async def test_what_an_upstream_sends_is_not_logged_when_it_is_not_http(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = (b"hush\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhush\r\n")
    for answer in answers:
        async with raw_upstream(saying(answer)) as base, client_of(base) as client:
            try:
                reply = await client.get("/v1/x")
            except httpx.RemoteProtocolError:
                continue
            assert "hush" not in reply.text
    assert "upstream" in caplog.text
    assert "hush" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("response_cache")
    )


@asynccontextmanager
async def raw_upstream(handle: Any) -> AsyncIterator[str]:
    """A server that speaks, and breaks, HTTP by hand."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, handle)
            yield f"http://127.0.0.1:{port}/v1"
            group.cancel_scope.cancel()


async def test_a_path_that_leads_out_of_the_base_url_is_a_400() -> None:
    async with proxied(echo) as client:
        reply = await client.get("/v1/%2e%2e/admin")
    assert reply.status_code == 400
    assert error_of(reply)["type"] == "invalid_request_error"


async def status_of_none(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(999))
    await send(piece(b"", more=False))


async def silence(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


PAGE = "https://page.example"
OUR_ERRORS = {
    400: ("/v1/%2e%2e/admin", echo),
    502: ("/v1/models", status_of_none),
    504: ("/v1/models", silence),
}


@pytest.mark.parametrize("status", OUR_ERRORS)
@pytest.mark.parametrize("origins", [(PAGE, "https://other.example"), ("*",)])
async def test_a_page_of_an_allowed_origin_reads_the_proxys_own_errors(
    status: int, origins: tuple[str, ...]
) -> None:
    path, upstream = OUR_ERRORS[status]
    async with proxied(upstream, read_timeout=0.05, cors_origins=origins) as client:
        reply = shown(await client.get(path, headers={"origin": PAGE}), PAGE)
        to_no_page = await client.get(path)
    assert reply.status_code == to_no_page.status_code == status
    assert error_of(reply) == error_of(to_no_page)
    assert "access-control-allow-origin" not in to_no_page.headers


@pytest.mark.parametrize("origins", [(), ("https://other.example",)])
async def test_another_page_does_not(origins: tuple[str, ...]) -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}/v1", cors_origins=origins) as client:
        reply = await client.get("/v1/models", headers={"origin": PAGE})
    assert reply.status_code == 502
    with pytest.raises(Blocked):
        shown(reply, PAGE)


async def test_what_the_upstream_says_about_pages_is_its_own_business() -> None:
    async with proxied(echo, cors_origins=("*",)) as client:
        reply = await client.get("/v1/models", headers={"origin": PAGE})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


async def test_credentials_in_the_base_url_are_sent_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serving(echo) as base,
        client_of(base.replace("//", "//user:hush@") + "/v1") as client,
    ):
        headers = dict((await client.get("/v1/x")).json()["headers"])
    assert headers["authorization"] == "Basic dXNlcjpodXNo"
    assert caplog.records
    assert "hush" not in caplog.text


async def test_proxies_in_the_environment_are_not_used_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    async with proxied(echo) as client:
        assert (await client.get("/v1/x")).status_code == 200
    async with proxied(echo, trust_env=True) as client:
        assert (await client.get("/v1/x")).status_code == 502


async def test_a_websocket_is_refused() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await ProxyApp("http://127.0.0.1/v1")({"type": "websocket"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize("own", [True, False])
async def test_the_end_of_the_server_closes_only_a_client_of_its_own(own: bool) -> None:
    async with httpx.AsyncClient() as handed_in:
        proxy = ProxyApp("http://127.0.0.1/v1", client=None if own else handed_in)
        used = proxy._client
        async with serving(proxy, lifespan="on"):
            assert not used.is_closed
        assert used.is_closed is own
        assert handed_in.is_closed is False


async def test_a_client_handed_in_is_the_one_that_is_used() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(str(request.url).encode()))

    transport = httpx.MockTransport(answer)
    async with (
        httpx.AsyncClient(transport=transport) as handed_in,
        client_of("https://api.example.com/v1", client=handed_in) as client,
    ):
        reply = await client.get("/v1/models")
    assert reply.text == "https://api.example.com/v1/models"
