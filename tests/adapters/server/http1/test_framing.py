"""Answers as the sidecar's HTTP/1.1 writes them: how a body ends, and how it is broken off."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from response_cache_server._asgi import App, Message, Receive, Scope, Send
from tests.adapters.server.http1.driver import (
    GET,
    LOOPS,
    answer,
    http1,
    piece,
    sending,
    start,
)
from tests.adapters.servers import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


OLD = b"GET /a HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
CLOSING = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = (b"content-length", b"2")

STREAM = sending(start(), piece(b"he"), piece(b""), piece(b"llo"), piece(b"", more=False))
SIZED = sending(start(LENGTH), piece(b"h"), piece(b"i", more=False))


async def test_a_stream_is_sent_in_chunks() -> None:
    async with http1(STREAM) as server, server.client() as client:
        await client.send(GET + GET)
        first, second = await client.reply(), await client.reply()
    assert first.fields["transfer-encoding"] == "chunked"
    assert "connection" not in first.fields
    assert (first.body, second.body, second.is_whole) == (b"hello", b"hello", True)


@pytest.mark.parametrize("request_", [OLD, OLD_KEPT])
async def test_a_stream_to_an_older_client_ends_with_the_connection(request_: bytes) -> None:
    async with http1(STREAM) as server, server.client() as client:
        await client.send(request_)
        reply = await client.reply()
    assert "transfer-encoding" not in reply.fields
    assert (reply.body, reply.fields["connection"], client.end) == (b"hello", "close", "closed")


async def test_an_older_client_is_kept_if_it_asks_and_the_length_is_known() -> None:
    async with http1(SIZED) as server, server.client() as client:
        await client.send(OLD_KEPT)
        first = await client.reply()
        await client.send(OLD)
        second = await client.reply()
        assert await client.rest() == b""
    assert (first.body, first.fields["connection"]) == (b"hi", "keep-alive")
    assert (second.body, second.fields["connection"]) == (b"hi", "close")


@pytest.mark.parametrize("app", [STREAM, SIZED])
async def test_who_asks_for_a_close_gets_it(app: App) -> None:
    async with http1(app) as server, server.client() as client:
        await client.send(CLOSING + GET)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.fields["connection"], reply.is_whole) == ("close", True)


async def test_an_app_may_close() -> None:
    app = sending(start(LENGTH, (b"Connection", b"Close")), piece(b"hi", more=False))
    async with http1(app) as server, server.client() as client:
        await client.send(GET + GET)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.body, reply.fields["connection"]) == (b"hi", "close")


@pytest.mark.parametrize("app", [STREAM, SIZED])
async def test_the_answer_to_head_has_no_body(app: App) -> None:
    async with http1(app) as server, server.client() as client:
        await client.send(HEAD + HEAD)
        first, second = await client.reply(to_head=True), await client.reply(to_head=True)
        assert client.received == b""
    assert first.fields.get("content-length") == ("2" if app is SIZED else None)
    assert first.fields.keys() == second.fields.keys()


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [[], [(b"content-length", b"0")], [LENGTH]])
async def test_statuses_without_a_body_go_out_without_a_length(
    status: int, length: list[tuple[bytes, bytes]]
) -> None:
    app = sending(start(*length, status=status), piece(b"hi", more=False))
    async with http1(app) as server, server.client() as client:
        await client.send(GET)
        reply = await client.reply()
        await client.send(CLOSING)
        await client.until(b"\r\n\r\n")
        assert await client.rest() == b""
    assert reply.status == status
    assert not {"content-length", "transfer-encoding"} & reply.fields.keys()


async def test_what_the_app_says_about_framing_is_not_sent() -> None:
    fields = [(b"Transfer-Encoding", b"gzip"), (b"Connection", b"x-a"), (b"Keep-Alive", b"5")]
    async with http1(sending(start(*fields), piece(b"hi", more=False))) as server:
        reply = await server.ask(GET)
    assert not {"connection", "keep-alive"} & reply.fields.keys()
    assert (reply.body, reply.fields["transfer-encoding"]) == (b"hi", "chunked")


@pytest.mark.parametrize(
    "field",
    [
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\nc"),
        (b"a", b"b\rc"),
        (b"a", b"b\0c"),
        (b"a\r\nb", b"c"),
        (b"a b", b"c"),
        (b"a:", b"c"),
        (b"", b"c"),
        (b"content-length", b"-1"),
        (b"content-length", b"1, 1"),
        (b"content-length", b"one"),
        (b"content-length", b""),
    ],
    ids=repr,
)
async def test_a_field_that_would_be_more_than_a_field_is_never_written(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    app = sending(start(field, status=201), piece(b"", more=False))
    async with http1(app) as server, server.client() as client:
        await client.send(GET)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.error["type"]) == (500, "server_error")


async def test_two_lengths_that_differ_are_never_written() -> None:
    async with http1(sending(start(LENGTH, (b"content-length", b"3")))) as server:
        assert (await server.ask(GET)).status == 500


@pytest.mark.parametrize("status", [100, 101, 199, 600, 999])
async def test_a_status_that_ends_no_exchange_is_never_written(status: int) -> None:
    async with http1(sending(start(status=status))) as server:
        assert (await server.ask(GET)).status == 500


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [piece(b"hi")],
        [{"type": "http.response.debug"}],
    ],
)
async def test_an_app_that_does_not_begin_is_a_fault_of_the_server(messages: list[Message]) -> None:
    async with http1(sending(*messages)) as server, server.client() as client:
        await client.send(GET)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.status, reply.error["type"]) == (500, "server_error")


CUT: dict[str, tuple[bytes, list[Message]]] = {
    "in chunks": (GET, [start(), piece(b"hello")]),
    "by length": (GET, [start((b"content-length", b"9")), piece(b"hello")]),
    "by length, to an older client": (OLD, [start((b"content-length", b"9")), piece(b"hello")]),
    "until the close": (OLD, [start(), piece(b"hello")]),
    "ended too early": (GET, [start((b"content-length", b"9")), piece(b"hello", more=False)]),
}


@pytest.mark.parametrize("way", ["returns", "raises"])
@pytest.mark.parametrize("kind", CUT)
async def test_an_answer_that_the_app_leaves_unfinished_is_broken(
    kind: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    request, messages = CUT[kind]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await sending(*messages)(scope, receive, send)
        if way == "raises":
            raise OSError("on purpose")

    with caplog.at_level(logging.INFO, "response_cache_server"):
        async with http1(app) as server, server.client() as client:
            await client.send(request)
            reply = await client.reply()
    assert (reply.status, reply.is_whole) == (200, False)
    if kind == "until the close":
        assert (reply.body, client.end) == (b"hello", "reset")
    is_fault = way == "raises" or kind == "ended too early"
    assert any(record.exc_info for record in caplog.records) == is_fault
    assert "an answer was broken off" in caplog.messages


async def test_an_answer_longer_than_its_length_breaks_the_connection() -> None:
    app = sending(start(LENGTH), piece(b"h"), piece(b"i!"))
    async with http1(app) as server, server.client() as client:
        await client.send(GET + GET)
        reply = await client.reply()
        assert await client.rest() == b""
    assert (reply.body, reply.is_whole) == (b"h", False)


async def test_a_long_stream_is_written_before_it_is_reset() -> None:
    size = 2**20

    async with http1(sending(start(), piece(b"x" * size))) as server, server.client() as client:
        await client.send(OLD)
        reply = await client.reply()
    # The kernel may throw away what it has not sent; most of it was read before.
    assert client.end == "reset"
    assert len(reply.body) > size // 10


async def test_an_ended_stream_to_an_older_client_is_no_reset_although_it_is_long() -> None:
    size = 2**20
    app = sending(start(), piece(b"x" * size), piece(b"", more=False))
    async with http1(app) as server, server.client() as client:
        await client.send(OLD)
        reply = await client.reply()
    assert (len(reply.body), client.end) == (size, "closed")


async def test_a_client_that_does_not_read_holds_the_app_back() -> None:
    sent = 0
    is_over = anyio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(400):
            await send(piece(b"x" * 2**16))
            sent += 1
        await send(piece(b"", more=False))
        is_over.set()

    async with http1(app) as server, server.client(buffer=2**14) as client:
        await client.send(GET)
        await eventually(lambda: sent > 0)
        with anyio.move_on_after(0.5):
            await is_over.wait()
        assert sent < 400
        reply = await client.reply()
    assert len(reply.body) == 400 * 2**16
    assert is_over.is_set()


async def test_the_app_that_is_held_back_goes_on_when_its_client_has_gone() -> None:
    is_over = anyio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(400):
            await send(piece(b"x" * 2**16))
        is_over.set()

    async with http1(app) as server:
        async with server.client(buffer=2**14) as client:
            await client.send(GET)
            await client.until(b"x")
        with anyio.fail_after(20):
            await is_over.wait()


async def test_a_server_that_stops_ends_what_runs_and_closes_what_is_idle() -> None:
    gate = anyio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await gate.wait()
        await answer(send, b"hi")

    async with anyio.create_task_group() as group:
        async with http1(app) as server:
            idle = await group.start(_open, server)
            busy = await group.start(_open, server)
            await busy.send(GET)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(_open_when_closed, gate, idle)
        assert idle.end == "closed"
        reply = await busy.reply()
        assert await busy.rest() == b""
        group.cancel_scope.cancel()
    assert (reply.body, reply.fields["connection"]) == (b"hi", "close")


async def _open(server: Any, *, task_status: Any) -> None:
    async with server.client() as client:
        await client.send(b"")
        task_status.started(client)
        await anyio.sleep_forever()


async def _open_when_closed(gate: anyio.Event, idle: Any) -> None:
    """The server has begun to stop when it has closed the client that asked for nothing."""
    assert await idle.rest() == b""
    gate.set()
