"""An ASGI server of one request at a time, in the hands of the test: each message is under control.

async with calling(app, "POST", "/v1/responses", json=...) as call:
    await call.until_started()
    call.disconnect()
"""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from response_cache import Store
from response_cache._protocol.sse import Decoder
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send
from tests import deadlines

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
"""Seconds after which a test that waits for something has failed."""

Headers = Iterable[tuple[bytes, bytes]]


def http_scope(method: str, path: str, *, headers: Headers = (), **others: Any) -> Scope:
    """The scope of a request; a query may follow the path."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"test"), *headers],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 80),
        "extensions": {"http.response.debug": {}},
        **others,
    }


@dataclass
class Call:
    """One request and what has become of it so far."""

    scope: Scope
    incoming: list[Message]
    sent: list[Message] = field(default_factory=list)
    is_over: bool = False  # the app has returned
    error: Exception | None = None
    task: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    is_held: bool = False  # send blocks: the client reads nothing
    is_gone: bool = False  # send raises: the client has gone
    _changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def status(self) -> int:
        assert self.sent, f"no answer: {self.error!r}"
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        """Whether the last message of the answer has been sent."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    @property
    def json(self) -> Any:
        return json_module.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        return events_in(self.body)

    def disconnect(self) -> None:
        """The client goes."""
        self.is_gone = True
        self.incoming.append({"type": "http.disconnect"})
        self._notify()

    def give(self, message: Message) -> None:
        """One more message for the app to receive."""
        self.incoming.append(message)
        self._notify()

    def release(self) -> None:
        """The client begins to read."""
        self.is_held = False
        self._notify()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once *condition* holds; it is looked at after each message."""
        with anyio.fail_after(WAIT_TIMEOUT):
            while not condition():
                await self._changed.wait()

    async def until_started(self) -> None:
        await self.until(lambda: bool(self.sent))

    async def until_sent(self, text: bytes) -> None:
        await self.until(lambda: text in self.body)

    async def until_over(self) -> None:
        await self.until(lambda: self.is_over)

    async def run(self, app: ASGIApp) -> None:
        try:
            with self.task:
                await app(self.scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            self.error = error
        finally:
            self.is_over = True
            self._notify()

    async def receive(self) -> Message:
        while not self.incoming:
            if self.is_complete:
                return {"type": "http.disconnect"}
            await self._changed.wait()
        return self.incoming.pop(0)

    async def send(self, message: Message) -> None:
        while self.is_held:
            await self._changed.wait()
        if self.is_gone:
            raise OSError("the client has gone")
        self.sent.append(message)
        self._notify()
        await anyio.lowlevel.checkpoint()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def events_in(body: bytes) -> list[dict[str, Any]]:
    """The events of a whole stream, as JSON values."""
    decoder = Decoder()
    found = [*decoder.feed(body), *decoder.finish()]
    return [json_module.loads(event.data) for event in found]


@asynccontextmanager
async def calling(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    json: object = None,
    body: bytes | list[bytes] = b"",
    headers: Headers = (),
    held: bool = False,
    **scope: Any,
) -> AsyncGenerator[Call]:
    """Send a request; what is left of the call is cancelled when the block is left."""
    if json is not None:
        body = json_module.dumps(json).encode()
    pieces = [body] if isinstance(body, bytes) else body
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]
    call = Call(http_scope(method, path, headers=headers, **scope), incoming, is_held=held)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.run, app)
        yield call
        tasks.cancel_scope.cancel()


async def request(app: ASGIApp, method: str, path: str, **options: Any) -> Call:
    """Send a request and wait until the app has returned; raises what it raised."""
    async with calling(app, method, path, **options) as call:
        await call.until_over()
    if call.error is not None:
        raise call.error
    return call


async def create(app: ASGIApp, **members: Any) -> str:
    """Post a background response; gives its id."""
    body = {"model": "m", "input": "hi", "background": True, **members}
    call = await request(app, "POST", "/v1/responses", json=body)
    assert call.status == 200, call.body
    return str(call.json["id"])


async def retrieve(app: ASGIApp, id: str) -> dict[str, Any]:
    """The response as it is now."""
    call = await request(app, "GET", f"/v1/responses/{id}")
    assert call.status == 200, call.body
    return dict(call.json)


async def replay(app: ASGIApp, id: str) -> list[dict[str, Any]]:
    """All events, to the end of the response."""
    call = await request(app, "GET", f"/v1/responses/{id}?stream=true")
    assert call.status == 200, call.body
    return call.events


async def ended(app: ASGIApp, id: str) -> dict[str, Any]:
    """The response once it is over."""
    await replay(app, id)
    return await retrieve(app, id)


class Life:
    """The server's side of a lifespan."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.error: Exception | None = None
        self.stop = anyio.Event()
        self.is_over = anyio.Event()
        self._is_asked = False
        self._answered = anyio.Event()

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    async def run(self, app: ASGIApp, state: dict[str, Any] | None = None) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state or {}}
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            self.error = error
        finally:
            self._answered.set()
            self.is_over.set()

    async def answered(self) -> None:
        with anyio.fail_after(WAIT_TIMEOUT):
            await self._answered.wait()

    async def _receive(self) -> Message:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "lifespan.startup"}
        await self.stop.wait()
        self.stop = anyio.Event()  # a real server has nothing more to say either
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        assert message["type"].startswith("lifespan."), message
        self.sent.append(message)
        self._answered.set()


@asynccontextmanager
async def living(app: ASGIApp) -> AsyncIterator[Life]:
    """Run the lifespan of *app*: started when the block begins, shut down when it ends."""
    life = Life()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(life.run, app)
        await life.answered()
        yield life
        life.stop.set()
        with anyio.fail_after(WAIT_TIMEOUT):
            await life.is_over.wait()


@asynccontextmanager
async def hosting(
    app: ASGIApp, store: Store | str = "memory://", **options: Any
) -> AsyncGenerator[ResponseCacheMiddleware]:
    """The middleware around *app*, started, and shut down when the block ends."""
    options = {"drain_timeout": 0.05, "stop_grace": 0.02, **options}
    middleware = ResponseCacheMiddleware(app, store, **options)
    async with living(middleware):
        yield middleware


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds."""
    with anyio.fail_after(WAIT_TIMEOUT):
        while not condition():  # noqa: ASYNC110 - about a plain value of the test
            await anyio.sleep(0.001)


# Apps.

EVENT_STREAM: Final = (b"content-type", b"text/event-stream")
JSON: Final = (b"content-type", b"application/json")


async def read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def start(send: Send, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def piece(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


def response(status: str = "completed", **members: Any) -> dict[str, Any]:
    """A Response object of the upstream."""
    base = {"id": "resp_upstream", "object": "response", "model": "m-1", "output": []}
    return {**base, "status": status, **members}


def message_item(text: str = "hello", **members: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    return {**item, "content": [part], **members}


ADDRESS: Final = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}


def story(*deltas: str) -> list[dict[str, Any]]:
    """The events of a response that says *deltas*."""
    done = message_item("".join(deltas))
    empty = {"type": "output_text", "text": "", "annotations": []}
    added = {**done, "status": "in_progress", "content": []}
    return [
        {"type": "response.created", "response": response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **ADDRESS, "part": empty},
        *({"type": "response.output_text.delta", **ADDRESS, "delta": text} for text in deltas),
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": response(output=[done])},
    ]


def sse(*events: dict[str, Any] | bytes) -> bytes:
    """Events as they are streamed; bytes stand for themselves as data."""
    frames = []
    for event in events:
        data = event if isinstance(event, bytes) else json_module.dumps(event).encode()
        frames.append(b"data: %b\n\n" % data)
    return b"".join(frames)


def answering(*chunks: bytes, headers: Headers = (EVENT_STREAM,), status: int = 200) -> ASGIApp:
    """An app that answers each request with *chunks*."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await read_body(receive)
        await start(send, *headers, status=status)
        for chunk in chunks:
            await piece(send, chunk)
        await piece(send, b"", more=False)

    return app


TOLD: Final = answering(sse(*story("Once ", "upon ", "a time")))
"""An app that tells a short story."""
