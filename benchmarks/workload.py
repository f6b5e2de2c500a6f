"""One kind of work, so many times over, in a process of its own: ``... KIND TIMES [--calls]``.

It imports the middleware alone, whose door changes least, so that ``compare`` can run it with the
library of another checkout. With ``--calls`` it prints how many calls the interpreter made for the
work; without, it is meant for ``valgrind --tool=callgrind``, which counts instructions.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

import anyio

from benchmarks.sample import as_frame, delta, frames

__all__ = ("KEY", "KINDS", "Counter", "ask")

KEY: Final = (b"authorization", b"Bearer somebody")
CREATE: Final = json.dumps({"model": "m", "input": "hi", "background": True}).encode()
SHORT: Final = 8  # deltas of the response that is polled

Chunks = tuple[bytes, ...]
Headers = tuple[tuple[bytes, bytes], ...]


class Counter:
    """Counts the calls of Python and built-in functions, where it is told to count any."""

    def __init__(self, *, is_on: bool = True) -> None:
        self._is_on = is_on
        self.calls = 0

    def _profile(self, _frame: Any, event: str, _argument: Any) -> None:
        self.calls += event in ("call", "c_call")

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count in this thread, and in those that begin meanwhile."""
        if not self._is_on:
            yield
            return
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


class Upstream:
    """An ASGI app that sends what it is told to; a pause after each chunk lets a batch go."""

    def __init__(self, chunks: Chunks, *, pauses: int) -> None:
        self._chunks = chunks
        self._pauses = pauses

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body", False):
            pass
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            for _ in range(self._pauses):
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


async def ask(
    middleware: Any, method: str, path: str, *, body: bytes = b"", headers: Headers = (KEY,)
) -> bytes:
    """The body of the answer to one request."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *headers],
        "extensions": {},
    }
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[bytes] = []
    over = anyio.Event()

    async def receive() -> Any:
        if unread:
            return unread.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await middleware(scope, receive, send)
    over.set()
    return b"".join(sent)


async def finished(middleware: Any) -> str:
    """The path of a response that has just been recorded to its end."""
    made = json.loads(await ask(middleware, "POST", "/v1/responses", body=CREATE))
    path = f"/v1/responses/{made['id']}"
    assert b"response.completed" in await ask(middleware, "GET", f"{path}?stream=true")
    return path


def asgi(upstream: Upstream, **options: Any) -> Any:
    """The ASGI middleware with the store in memory."""
    from response_cache_asgi import ResponseCacheMiddleware

    return ResponseCacheMiddleware(upstream, "memory://?max_bytes=1073741824", **options)


async def polls(times: int, work: Counter) -> None:
    """Polls of a closed response."""
    middleware = asgi(Upstream(tuple(frames(SHORT)), pauses=0))
    path = await finished(middleware)
    with work.counting():
        for _ in range(times):
            await ask(middleware, "GET", path)


async def deltas(times: int, work: Counter) -> None:
    """Deltas of one response, as fast as they come, to a reader of its stream."""
    middleware = asgi(Upstream(tuple(frames(times)), pauses=0))
    with work.counting():
        await finished(middleware)


async def batches(times: int, work: Counter) -> None:
    """Deltas of one response, each in a batch of its own, to a reader of its stream."""
    middleware = asgi(Upstream(tuple(frames(times)), pauses=8), flush_interval=0.0)
    with work.counting():
        await finished(middleware)


async def parsed(times: int, work: Counter) -> None:
    """Events of one response that are all parsed, because none is like the one before."""
    head, tail = frames(1)[:3], frames(1)[-2:]
    odd = [as_frame({**delta(number + 3), "extra": [number]}) for number in range(times)]
    middleware = asgi(Upstream((*head, *odd, *tail), pauses=0))
    with work.counting():
        await finished(middleware)


def wsgi_polls(times: int, work: Counter) -> None:
    """Polls of a closed response through the WSGI middleware and its one event loop."""
    from response_cache_wsgi import ResponseCacheMiddleware

    def upstream(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/event-stream")])
        return frames(SHORT)

    middleware = ResponseCacheMiddleware(upstream)

    def once(method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": "Bearer somebody",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
        }
        reply = middleware(environ, lambda *_: lambda _: None)
        try:
            return b"".join(reply)
        finally:
            getattr(reply, "close", lambda: None)()

    with work.counting():
        path = f"/v1/responses/{json.loads(once('POST', '/v1/responses', body=CREATE))['id']}"
        assert b"response.completed" in once("GET", path, "stream=true")
        for _ in range(times):
            once("GET", path)


def in_a_loop(work: Callable[[int, Counter], Awaitable[None]]) -> Callable[[int, Counter], None]:
    """*work* in an event loop of its own."""

    async def run(times: int, counter: Counter) -> None:
        await work(times, counter)

    return lambda times, counter: asyncio.run(run(times, counter))


KINDS: Final[dict[str, Callable[[int, Counter], None]]] = {
    "poll": in_a_loop(polls),
    "delta": in_a_loop(deltas),
    "batch": in_a_loop(batches),
    "event": in_a_loop(parsed),
    "wsgi-poll": wsgi_polls,
}
"""By name: what one unit of each is."""


def main() -> None:
    """Do it, and print the calls if they are asked for."""
    kind, times, *flags = sys.argv[1:]
    counter = Counter(is_on=bool(flags))
    KINDS[kind](int(times), counter)
    print(counter.calls)


if __name__ == "__main__":
    main()
