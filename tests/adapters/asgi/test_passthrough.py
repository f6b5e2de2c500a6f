"""Other requests reach the wrapped app as if the middleware were not there, and stream through."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Message, Receive, Scope, Send
from tests.adapters.asgi.driver import (
    EVENT_STREAM,
    TOLD,
    calling,
    create,
    ended,
    hosting,
    http_scope,
    piece,
    read_body,
    request,
    start,
)

FOREGROUND = {"model": "m", "input": "hi"}


class Noting:
    """An app that keeps what it is called with and answers in pieces."""

    def __init__(self) -> None:
        self.calls: list[tuple[Scope, Receive, Send]] = []
        self.gate = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append((scope, receive, send))


OTHERS = [
    ("GET", "/"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/responses"),
    ("DELETE", "/v1/responses"),
    ("OPTIONS", "/v1/responses"),
    ("GET", "/v1/responses/resp_0123456789"),
    ("POST", "/v1/responses/resp_0123456789/cancel"),
    ("DELETE", "/v1/responses/resp_0123456789"),
    ("GET", "/v1/responses/resp_0123456789/input_items"),
    ("OPTIONS", "/v1/responses/resp_rc00"),
    ("GET", "/v1/responses/input_tokens"),
    ("POST", "/other/responses/compact"),
    ("GET", "/v1/responses/resp_rc00/other"),
    ("POST", "/other/responses/resp"),
]


@pytest.mark.parametrize(("method", "path"), OTHERS)
async def test_what_is_not_ours_is_passed_on_untouched(method: str, path: str) -> None:
    app = Noting()
    middleware = ResponseCacheMiddleware(app)
    scope = http_scope(method, path)
    before = dict(scope)

    async def receive() -> Message:
        raise AssertionError("nobody asked for the body")

    async def send(message: Message) -> None:
        raise AssertionError("nobody has answered")

    await middleware(scope, receive, send)
    ((seen, its_receive, its_send),) = app.calls
    assert seen is scope
    assert seen == before
    assert its_receive is receive
    assert its_send is send


@pytest.mark.parametrize("kind", ["websocket", "something.new"])
async def test_other_protocols_are_passed_on_untouched(kind: str) -> None:
    app = Noting()
    scope: Scope = {"type": kind, "path": "/v1/responses", "headers": []}

    async def receive() -> Message:
        raise AssertionError("not ours to receive")

    async def send(message: Message) -> None:
        raise AssertionError("not ours to send")

    await ResponseCacheMiddleware(app)(scope, receive, send)
    assert app.calls == [(scope, receive, send)]
    assert app.calls[0][0] is scope


BODIES: dict[str, bytes] = {
    "foreground": json.dumps(FOREGROUND).encode(),
    "streamed": json.dumps({**FOREGROUND, "stream": True}).encode(),
    "background-false": b'{"model": "m",  "background": false}',
    "background-null": b'{"model": "m", "background": null}',
    "background-in-a-text": rb'{"model": "m", "input": "say \"background\": true"}',
    "the-upstream's-own-id": b'{"model": "m", "previous_response_id": "resp_0123456789"}',
    "no-json": b"not json",
    "empty": b"",
    "an-array": b"[1]",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("size", [3, 1000])
async def test_a_foreground_create_is_replayed_message_by_message(body: bytes, size: int) -> None:
    seen: list[Message] = []
    scopes: list[Scope] = []
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError
        scopes.append(scope)
        sends.append(send)
        while not seen or seen[-1].get("more_body"):
            seen.append(await receive())
        seen.append(await receive())  # from the server again
        await TOLD(scope, nothing_more, send)

    async def nothing_more() -> Message:
        return {"type": "http.request"}

    chunks = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    async with (
        hosting(app) as middleware,
        calling(middleware, "POST", "/v1/responses", body=chunks) as call,
    ):
        given = list(call.incoming)
        call.give({"type": "http.disconnect"})
        await call.until_over()
    assert [id(message) for message in seen[:-1]] == [id(message) for message in given]
    assert seen[-1] == {"type": "http.disconnect"}
    assert scopes[0] is call.scope
    assert sends == [call.send]


async def test_a_foreground_answer_is_not_collected() -> None:
    steps = [anyio.Event() for _ in range(3)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError
        await read_body(receive)
        await start(send, EVENT_STREAM)
        for number, step in enumerate(steps):
            await piece(send, b"data: %d\n\n" % number)
            await step.wait()
        await piece(send, b"", more=False)

    async with (
        hosting(app) as middleware,
        calling(middleware, "POST", "/v1/responses", json=FOREGROUND) as call,
    ):
        for number, step in enumerate(steps):
            await call.until_sent(b"data: %d\n\n" % number)
            assert len(call.sent) == number + 2
            step.set()
        await call.until_over()
    assert call.is_complete


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError
    body = await read_body(receive)
    await start(send, *[pair for pair in scope["headers"] if pair[0].startswith(b"content-")])
    await piece(send, body, more=False)


LONG = b"x" * 2000


@pytest.mark.parametrize(
    "more", [b"", b', "background": false', b', "tools": [{"background": "auto"}]']
)
async def test_a_foreground_create_that_is_too_long_to_look_into_passes_whole(more: bytes) -> None:
    body = b'{"model": "m"%b, "input": "%b"}' % (more, LONG)
    for chunks in ([body], [body[:500], body[500:1500], body[1500:]]):
        async with hosting(echo, max_request_bytes=1000) as app:
            call = await request(app, "POST", "/v1/responses", body=chunks)
        assert call.body == body


@pytest.mark.parametrize(
    "flag", [b'"background": true', b'"background" : true', b'"background":true']
)
async def test_a_background_create_that_is_too_long_is_refused(flag: bytes) -> None:
    body = b'{"model": "m", %b, "input": "%b"}' % (flag, LONG)
    for chunks in ([body], [body[:20], body[20:1500], body[1500:]]):
        async with hosting(echo, max_request_bytes=1000) as app:
            call = await request(app, "POST", "/v1/responses", body=chunks)
        assert call.status == 413
        assert "1000 bytes" in call.json["error"]["message"]


async def test_a_create_of_just_the_limit_is_looked_into() -> None:
    body = b'{"background": true, "model": "m", "input": "%b"}' % LONG
    async with hosting(TOLD, max_request_bytes=len(body)) as app:
        call = await request(app, "POST", "/v1/responses", body=body)
        assert call.json["status"] == "queued"


async def test_a_foreground_create_may_continue_a_response_of_ours() -> None:
    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive) if scope["type"] == "http" else b""
        if b"previous_response_id" in body:
            await start(send, *scope["headers"])
            await piece(send, body, more=False)
        else:
            await TOLD(scope, done, send)

    async def done() -> Message:
        return {"type": "http.request"}

    async with hosting(both) as app:
        id = await create(app)
        await ended(app, id)
        body = {**FOREGROUND, "previous_response_id": id}
        fields: list[tuple[bytes, bytes]] = [(b"Content-Length", b"999"), (b"x-a", b"b")]
        call = await request(app, "POST", "/v1/responses", json=body, headers=fields)
    assert call.json == {**FOREGROUND, "previous_response_id": "resp_upstream"}
    headers: dict[str, Any] = call.headers
    assert headers == {"host": "test", "x-a": "b", "content-length": str(len(call.body))}


async def test_an_error_of_the_app_in_the_foreground_is_the_server_s_to_handle() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise OSError("of the app")

    async with (
        hosting(app) as middleware,
        calling(middleware, "POST", "/v1/responses", json=FOREGROUND) as call,
    ):
        await call.until_over()
    assert repr(call.error) == repr(OSError("of the app"))
