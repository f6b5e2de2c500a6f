"""An upstream that a test plays: it sends what the test tells it, when the test tells it.

    call = await upstream.next_call()   # a request came; call.json is its body
    await call.say("Hel")               # headers, response.created, an item, one delta
    await call.complete()               # the rest, and the end
    await call.stopped()                # or: wait until it is told that its client has gone

A plain ASGI app without a lifespan. When a method of a call returns, the server has received what
it sends. A method fails when the call has ended.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from response_cache import JsonObject
from response_cache.testing._in_process import Message, Receive, Send

__all__ = ("UPSTREAM_ID", "Call", "Play", "ScriptedUpstream")

Play: TypeAlias = "Callable[[Call], Awaitable[None]]"

UPSTREAM_ID: Final = "resp_" + "0123456789" * 5
"""The id that the upstream itself gives a response; its later ones end with other digits."""

WAIT_TIMEOUT: Final = 120.0  # seconds for what must happen
EVENT_STREAM: Final = {"content-type": "text/event-stream"}
USAGE: Final = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 8,
}


@dataclass(slots=True, eq=False)
class _Step:
    """A message to send or an error to raise, and whether that was done."""

    action: Message | Exception
    is_done: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)


class Call:
    """One request to the upstream, and the answer as far as the test has played it."""

    def __init__(self, scope: Mapping[str, Any], body: bytes, id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.body = body
        self.id = id  # of the response, in the upstream's own words
        self.is_stopped: bool = False  # its client went, or it was cancelled, before its end
        self._is_finished = False
        self._is_started = False
        self._ended = anyio.Event()
        self._text = ""
        self._number = 0
        self._steps, self._taken = anyio.create_memory_object_stream[_Step](0)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"

    @property
    def json(self) -> JsonObject:
        """The request's body."""
        return dict(json.loads(self.body))

    # An answer, byte by byte.

    async def start(self, status: int = 200, headers: Mapping[str, str] = EVENT_STREAM) -> None:
        """Send status line and headers."""
        self._is_started = True
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._do({"type": "http.response.start", "status": status, "headers": fields})

    async def write(self, chunk: bytes) -> None:
        """Send a piece of the body."""
        await self._do({"type": "http.response.body", "body": chunk, "more_body": True})

    async def finish(self, chunk: bytes = b"") -> None:
        """Send the last piece of the body, and return from the call."""
        await self._do({"type": "http.response.body", "body": chunk, "more_body": False})

    async def reply(
        self, status: int, body: object, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer: *body* as JSON, or as it is when it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.start(status, {"content-type": "application/json", **(headers or {})})
        await self.finish(content)

    async def crash(self, error: Exception) -> None:
        """Raise *error* out of the app."""
        await self._do(error)

    # An answer in events of the API.

    async def emit(self, type: str, **members: Any) -> None:
        """Send one event; the headers of a stream go before the first one."""
        if not self._is_started:
            await self.start()
        event = {"type": type, "sequence_number": self._number, **members}
        self._number += 1
        await self.write(b"event: %b\ndata: %b\n\n" % (type.encode(), json.dumps(event).encode()))

    async def begin(self) -> None:
        """Send ``response.created``, and add an empty message."""
        await self.emit("response.created", response=self.response("in_progress"))
        item = {**self.message(), "status": "in_progress", "content": []}
        await self.emit("response.output_item.added", output_index=0, item=item)
        part = {"type": "output_text", "text": "", "annotations": []}
        await self.emit("response.content_part.added", **_ADDRESS, part=part)

    async def say(self, *pieces: str) -> None:
        """Send deltas of the message's text; calls ``begin`` where that was not done."""
        if self._number == 0:
            await self.begin()
        for piece in pieces:
            self._text += piece
            await self.emit("response.output_text.delta", **_ADDRESS, delta=piece)

    async def complete(self) -> None:
        """Send the end of the message and ``response.completed``, and return from the call."""
        if self._number == 0:
            await self.begin()
        await self.emit("response.output_text.done", **_ADDRESS, text=self._text)
        await self.emit("response.output_item.done", output_index=0, item=self.message())
        await self.end("completed", output=[self.message()], usage=USAGE)

    async def end(self, status: str, **fields: Any) -> None:
        """Send the terminal event of *status*, and return from the call."""
        await self.emit(f"response.{status}", response=self.response(status, **fields))
        await self.finish()

    def response(self, status: str, **fields: Any) -> JsonObject:
        """The upstream's Response object."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": 1,
            "status": status,
            "model": "scripted-1",
            "output": [],
            **fields,
        }

    def message(self) -> JsonObject:
        """The finished message, with all of its text."""
        return {
            "id": _ADDRESS["item_id"],
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": self._text, "annotations": []}],
        }

    # Its end.

    async def ended(self) -> None:
        """Return when the app has returned, was stopped, or has raised."""
        with anyio.fail_after(WAIT_TIMEOUT):
            await self._ended.wait()

    async def stopped(self) -> None:
        """Return when the app was told that its client has gone, or was cancelled.

        Raises:
            AssertionError: the app returned before.
        """
        await self.ended()
        assert self.is_stopped, f"{self!r} came to its own end"

    async def run(self, send: Send, receive: Receive) -> None:
        """Do the test's steps until the last one, or until the client hangs up."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_gone, receive, tasks)
                await self._take_steps(send)
                tasks.cancel_scope.cancel()
        finally:
            self.is_stopped = not self._is_finished
            self._taken.close()
            self._steps.close()
            self._ended.set()

    async def _take_steps(self, send: Send) -> None:
        async for step in self._taken:
            try:
                if isinstance(step.action, Exception):
                    self._is_finished = True
                    raise step.action
                await send(step.action)
                step.is_done = True
                self._is_finished = step.action.get("more_body") is False
            finally:
                step.over.set()
            if self._is_finished:
                return

    async def _do(self, action: Message | Exception) -> None:
        step = _Step(action)
        with anyio.fail_after(WAIT_TIMEOUT):
            await self._steps.send(step)
            await step.over.wait()
        assert step.is_done or isinstance(action, Exception), f"{self!r} was stopped meanwhile"


_ADDRESS: Final = {"output_index": 0, "content_index": 0, "item_id": "msg_scripted"}


async def _until_gone(receive: Receive, tasks: TaskGroup) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    tasks.cancel_scope.cancel()


class ScriptedUpstream:
    """The app. ``calls`` has every call in order."""

    def __init__(self, play: Play | None = None) -> None:
        """*play* answers calls in the place of the test; it may be set later."""
        self.play = play
        self.calls: list[Call] = []
        self._awaited = 0
        self._came = anyio.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request by the steps of the test."""
        if scope["type"] != "http":
            raise RuntimeError("the scripted upstream speaks HTTP only")
        call = self._arrived(scope, await _whole_body(receive))
        async with _playing(call, self.play):
            await call.run(send, receive)

    async def next_call(self) -> Call:
        """The next call, in order; waits for it."""
        with anyio.fail_after(WAIT_TIMEOUT):
            while len(self.calls) <= self._awaited:
                await self._came.wait()
        self._awaited += 1
        return self.calls[self._awaited - 1]

    def _arrived(self, scope: Mapping[str, Any], body: bytes) -> Call:
        number = len(self.calls)
        suffix = f"{number:02d}" if number else ""
        call = Call(scope, body, UPSTREAM_ID[: len(UPSTREAM_ID) - len(suffix)] + suffix)
        self.calls.append(call)
        self._came.set()
        self._came = anyio.Event()
        return call


@asynccontextmanager
async def _playing(call: Call, play: Play | None) -> AsyncGenerator[None]:
    """*play* runs while the context lasts."""
    if play is None:
        yield
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_play, call, play)
        yield
        tasks.cancel_scope.cancel()


async def _play(call: Call, play: Play) -> None:
    await play(call)


async def _whole_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
