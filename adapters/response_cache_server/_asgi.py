"""Types of ASGI 3, and replies that every app of this package sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import anyio
from pydantic_core import to_json

from response_cache.errors import error_body
from response_cache_asgi import ASGIApp as App
from response_cache_asgi import Message, Receive, Scope, Send

__all__ = (
    "App",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "race",
    "refuse_websocket",
    "run_lifespan",
    "send_error",
    "send_json",
    "until_disconnect",
)


async def send_json(
    send: Send, status: int, body: object, *, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with *body* as JSON."""
    content = to_json(body)
    length = str(len(content)).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


async def send_error(
    send: Send,
    status: int,
    message: str,
    *,
    param: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with an error of the API. Type and code follow from *status*."""
    kind, code = _error_kind(status)
    body = error_body(message, type=kind, param=param, code=code)
    await send_json(send, status, body, headers=headers)


def _error_kind(status: int) -> tuple[str, str | None]:
    if status == 429:
        return "rate_limit_error", "rate_limit_exceeded"
    if status >= 500:
        return "server_error", "server_error"
    return "invalid_request_error", None


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Refuse a WebSocket handshake: background responses are served by HTTP alone."""
    await receive()
    await send({"type": "websocket.close", "code": 1000, "reason": ""})


async def run_lifespan(
    receive: Receive, send: Send, *, shutdown: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Answer the lifespan events of the server. *shutdown* releases resources of the app."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if shutdown is not None:
                await shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def until_disconnect(receive: Receive) -> None:
    """Return when the client has disconnected. Bytes that it still sends are dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def race(work: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]) -> None:
    """Run *work* to its end, or cancel it when *end* returns first."""
    try:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await end()
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await work()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failures:
        # A task group wraps even a single exception. The caller gets the exception itself.
        if len(failures.exceptions) == 1:
            raise failures.exceptions[0] from None
        raise
