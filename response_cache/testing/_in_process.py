"""An httpx transport to an ASGI app in this process: streams chunk by chunk, and can hang up.

The app's lifespan runs while the client is open. To close a reply before its end is to hang up: the
app receives ``http.disconnect``, and its ``send`` raises ``OSError`` from then on. Where the app
returns before its last body message, the client sees a broken connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Final, TypeAlias

import anyio
import httpx
from anyio.abc import TaskGroup, TaskStatus

__all__ = ("ASGIApp", "InProcess", "Message", "Receive", "Send")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

WAIT_TIMEOUT: Final = 120.0  # seconds without a byte, after which a request fails


class InProcess(httpx.AsyncBaseTransport):
    """The transport to *app*. Open the client (``async with``) before its first request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: TaskGroup | None = None
        self._closing = anyio.Event()

    async def __aenter__(self) -> InProcess:
        self._tasks = await anyio.create_task_group().__aenter__()
        await self._tasks.start(_live, self._app, self._closing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._closing.set()
        if self._tasks is not None:
            await self._tasks.__aexit__(kind, error, trace)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*. The response is returned with its headers; its body is a stream."""
        if self._tasks is None:
            raise RuntimeError("the client is not open")
        exchange = _Exchange(request, await request.aread())
        self._tasks.start_soon(exchange.run, self._app)
        return await exchange.response()


class _Exchange(httpx.AsyncByteStream):
    """One request and its reply."""

    def __init__(self, request: httpx.Request, body: bytes) -> None:
        self._request = request
        self._unread = [{"type": "http.request", "body": body, "more_body": False}]
        self._start: Message | None = None
        self._answered = anyio.Event()
        self._gone = anyio.Event()
        self._error: Exception | None = None
        self._is_whole = False
        self._write, self._read = anyio.create_memory_object_stream[bytes](0)

    async def run(self, app: ASGIApp) -> None:
        """Call the app. Its exception is raised in the client."""
        with self._write:
            try:
                await app(self._scope(), self._receive, self._send)
            except Exception as error:  # noqa: BLE001 - whatever an app raises
                self._error = error
            finally:
                self._gone.set()
                self._answered.set()

    async def response(self) -> httpx.Response:
        """The reply as soon as its headers are there."""
        try:
            with anyio.fail_after(WAIT_TIMEOUT):
                await self._answered.wait()
        except BaseException:
            await self.aclose()
            raise
        if self._start is None:
            await self.aclose()
            raise self._error or RuntimeError("the app returned without an answer")
        return httpx.Response(self._start["status"], headers=self._start["headers"], stream=self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with anyio.fail_after(WAIT_TIMEOUT):
                return await self._read.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            pass
        if self._error is not None:
            raise self._error
        if not self._is_whole:
            raise httpx.RemoteProtocolError("the app returned before its last body message")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Hang up."""
        self._gone.set()
        self._read.close()

    def _scope(self) -> MutableMapping[str, Any]:
        url = self._request.url
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "server": (url.host, url.port or 80),
            "client": ("127.0.0.1", 50_000),
            "state": {},
        }

    async def _receive(self) -> Message:
        if self._unread:
            return self._unread.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._gone.is_set():
            raise OSError("the client has gone")
        if message["type"] == "http.response.start":
            self._start = message
            self._answered.set()
            return
        chunk = message.get("body", b"")
        if chunk and self._request.method != "HEAD":
            await self._deliver(chunk)
        if not message.get("more_body", False):
            self._is_whole = True
            self._write.close()
            self._gone.set()

    async def _deliver(self, chunk: bytes) -> None:
        try:
            await self._write.send(chunk)
        except anyio.BrokenResourceError:
            raise OSError("the client has gone") from None


async def _live(app: ASGIApp, closing: anyio.Event, *, task_status: TaskStatus[None]) -> None:
    """Run the app's lifespan, from start-up to shutdown."""
    unread = [{"type": "lifespan.startup"}]

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await closing.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            task_status.started()
        elif message["type"].endswith("failed"):
            raise RuntimeError(f"{message['type']}: {message.get('message', '')}")

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
