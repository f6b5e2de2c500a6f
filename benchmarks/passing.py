"""What does a request cost that is not ours? CPU of the wrapped app against the app alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from benchmarks.table import interleaved, show
from response_cache_asgi import ResponseCacheMiddleware

CALLS = 100_000
SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/v1/models",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer x")],
}

Message = MutableMapping[str, Any]
App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[Message]],
        Callable[[Message], Awaitable[None]],
    ],
    Awaitable[None],
]


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    """A small answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def receive() -> Message:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Message) -> None:
    """Nobody listens."""


def cpu(called: App, scope: dict[str, Any]) -> float:
    """CPU microseconds for each call."""

    async def run() -> float:
        start = time.process_time_ns()
        for _ in range(CALLS):
            await called(scope, receive, send)
        return (time.process_time_ns() - start) / CALLS / 1000

    return anyio.run(run)


def main() -> None:
    """Print the table."""
    wrapped = ResponseCacheMiddleware(app)
    upstream_id = {**SCOPE, "path": "/v1/responses/resp_0123456789abcdef0123456789abcdef"}
    results = interleaved(
        {
            "the app alone": lambda: cpu(app, SCOPE),
            "wrapped, another path": lambda: cpu(wrapped, SCOPE),
            "wrapped, an id of the upstream": lambda: cpu(wrapped, upstream_id),
        },
        rounds=7,
    )
    target = "target: at most 5 more than the app alone"
    show(
        "A request that is not ours",
        results,
        unit="CPU us a call",
        targets={
            "wrapped, another path": target,
            "wrapped, an id of the upstream": target,
        },
    )


if __name__ == "__main__":
    main()
