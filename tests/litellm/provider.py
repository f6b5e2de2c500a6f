"""A provider on loopback, in a thread: the built-in upstream, and chat completions beside it.

How an answer behaves stands in the request: in its metadata for the Responses API, and as JSON in
the user's message for chat completions, which have no metadata.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn

from response_cache_server import BuiltInUpstream
from response_cache_server._asgi import Message, Receive, Scope, Send, race, until_disconnect
from tests.litellm.waiting import until

WORD = "word "


@dataclass
class Call:
    """One request to the provider."""

    path: str
    headers: dict[bytes, bytes]
    body: dict[str, Any]
    is_over: threading.Event = field(default_factory=threading.Event)  # answered or abandoned


class Provider:
    """What the proxy takes for a provider; remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._responses = BuiltInUpstream()

    def call_of(self, name: str) -> Call:
        """The call whose request has *name* in it; waits for it."""
        return until(
            lambda: next(iter(self.calls_of(name)), None), f"the provider is called: {name}"
        )

    def calls_of(self, name: str) -> list[Call]:
        return [call for call in self.calls if name in json.dumps(call.body)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._responses(scope, receive, send)
            return
        body = await _read(receive)
        call = Call(scope["path"], dict(scope["headers"]), json.loads(body))
        self.calls.append(call)
        is_chat = scope["path"].endswith("/chat/completions")
        try:
            if is_chat:
                await race(lambda: _chat(call.body, send), lambda: until_disconnect(receive))
            else:
                await self._responses(scope, _again(body, receive), send)
        finally:
            call.is_over.set()


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received


async def _chat(request: dict[str, Any], send: Send) -> None:
    """The words that the user's message asks for, as a stream of chunks."""
    content = request["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    order = json.loads(text)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(order["words"]):
        await anyio.sleep(order["pace"])
        await _send_chunk(send, {"delta": {"role": "assistant", "content": WORD}})
    usage = {"prompt_tokens": 1, "completion_tokens": order["words"], "total_tokens": 1}
    await _send_chunk(send, {"delta": {}, "finish_reason": "stop"}, usage=usage)
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


async def _send_chunk(send: Send, choice: dict[str, Any], **extra: Any) -> None:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "chat",
        "choices": [{"index": 0, "finish_reason": None, **choice}],
        **extra,
    }
    body = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's signals are not ours


@contextmanager
def running_provider() -> Iterator[tuple[Provider, str]]:
    """A provider and its base URL, while the context lasts."""
    provider, listener = Provider(), socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        provider, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield provider, f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
