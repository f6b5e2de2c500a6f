"""The end of a process: running responses get time, readers get the end, and nothing hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.middleware.base import BaseHTTPMiddleware

from response_cache.stores.memory import MemoryStore
from response_cache.testing._virtual_time import virtual_backend
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from tests.adapters.asgi.driver import (
    EVENT_STREAM,
    TOLD,
    Call,
    calling,
    create,
    ended,
    living,
    piece,
    request,
    retrieve,
    sse,
    start,
    story,
)
from tests.adapters.asgi.endless_app import DRAIN_TIMEOUT
from tests.deadlines import WAIT_TIMEOUT, allowed
from tests.ports import free_port

pytestmark = pytest.mark.slow

STORY = story("Once ", "upon ", "a time")
BACKGROUND = {"model": "m", "input": "hi", "background": True}
SHUT_DOWN = "The server was shut down while it answered."
STOP_GRACE = 1.0  # past the drain time-out


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Minutes pass in no time."""
    return virtual_backend(getattr(request, "param", "asyncio"))


both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)


class Teller:
    """Tells the beginning of STORY, waits, tells the rest, and cleans up."""

    def __init__(self, *, pause: float, clean_up: float = 0.0) -> None:
        self.pause = pause
        self.clean_up = clean_up
        self.is_through = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await start(send, EVENT_STREAM)
        await piece(send, sse(*STORY[:4]))
        await anyio.sleep(self.pause)
        await piece(send, sse(*STORY[4:]))
        await piece(send, b"", more=False)
        await anyio.sleep(self.clean_up)
        self.is_through = True


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails when the block takes longer, by the event loop's clock."""
    begun = anyio.current_time()
    yield
    assert anyio.current_time() - begun <= seconds


@both
async def test_a_drained_process_takes_no_new_background_work() -> None:
    app = ResponseCacheMiddleware(TOLD)
    async with living(app):
        id = await create(app)
        await ended(app, id)
        assert not app.is_draining
        await app.drain()
        assert app.is_draining
        refused = await request(app, "POST", "/v1/responses", json=BACKGROUND)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        passed = await request(app, "POST", "/v1/responses", json={"model": "m"})
        assert passed.status == 200
        assert (await retrieve(app, id))["status"] == "completed"


@both
async def test_what_runs_may_end_by_itself() -> None:
    teller = Teller(pause=20, clean_up=5)
    app = ResponseCacheMiddleware(teller, drain_timeout=30)
    async with living(app):
        id = await create(app)
        with within(25.01):
            await app.drain()
        assert teller.is_through
        assert (await retrieve(app, id))["status"] == "completed"


@both
@pytest.mark.parametrize("how", ["drain", "lifespan"])
async def test_what_does_not_end_fails_in_time_and_its_readers_see_it(how: str) -> None:
    store = MemoryStore()
    app = ResponseCacheMiddleware(Teller(pause=1000), store, drain_timeout=10)
    async with living(app) as life:
        id = await create(app)
        async with calling(app, "GET", f"/v1/responses/{id}?stream=true") as call:
            await call.until_sent(b"Once ")
            with within(10 + STOP_GRACE):
                if how == "drain":
                    await app.drain()
                else:
                    life.stop.set()
                    await life.is_over.wait()
            await call.until_over()
    assert call.is_complete
    end = call.events[-1]
    assert (end["type"], end["response"]["error"]["message"]) == ("response.failed", SHUT_DOWN)
    view = await store.read(id)
    assert view is not None
    assert view.closed
    assert json.loads(view.snapshot or b"")["status"] == "failed"


@both
async def test_all_drains_of_one_shutdown_share_one_time() -> None:
    app = ResponseCacheMiddleware(
        Teller(pause=1, clean_up=1000), drain_timeout=10, after_end_timeout=1000
    )
    async with living(app) as life:
        id = await create(app)
        with within(10 + 2 * STOP_GRACE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app.drain)
                tasks.start_soon(app.drain)
            assert (await retrieve(app, id))["status"] == "completed"
            life.stop.set()
            await life.is_over.wait()
    assert life.types[-1] == "lifespan.shutdown.complete"


@both
async def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    app = ResponseCacheMiddleware(Teller(pause=1000), drain_timeout=10)
    async with living(app):
        id = await create(app)
        async with (
            calling(app, "GET", f"/v1/responses/{id}?stream=true", held=True) as call,
            calling(app, "GET", f"/v1/responses/{id}?stream=true") as slow,
        ):
            await slow.until_sent(b"Once ")
            slow.is_held = True
            with within(10 + STOP_GRACE):
                await app.drain()
                await call.until_over()
                await slow.until_over()
    assert (call.sent, call.error) == ([], None)
    assert (slow.is_complete, slow.error) == (False, None)


@asynccontextmanager
async def reading_elsewhere(
    teller: Teller, around: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> AsyncGenerator[tuple[ResponseCacheMiddleware, str, Call]]:
    """A process that only reads, of what another one records; *around* stands before it."""
    store = MemoryStore()
    there = ResponseCacheMiddleware(teller, store, drain_timeout=10)
    here = ResponseCacheMiddleware(TOLD, store, drain_timeout=10)
    async with living(there), living(here):
        id = await create(there)
        async with calling(around(here), "GET", f"/v1/responses/{id}?stream=true") as stream:
            await stream.until_sent(b"Once ")
            yield here, id, stream


@both
async def test_readers_of_what_runs_elsewhere_are_served_to_its_end() -> None:
    async with reading_elsewhere(Teller(pause=5)) as (here, id, stream):
        wait = [(b"prefer", b"wait=30")]
        async with calling(here, "GET", f"/v1/responses/{id}", headers=wait) as poll:
            await anyio.sleep(1)
            with within(4.1):
                await here.drain()
                await stream.until_over()
            assert poll.json["status"] == "in_progress"
    assert stream.is_complete
    assert stream.events[-1]["type"] == "response.completed"


@both
async def test_readers_of_what_does_not_end_in_time_are_broken_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "response_cache.asgi")
    async with reading_elsewhere(Teller(pause=100)) as (here, id, stream):
        begun = anyio.current_time()
        with within(10):
            await here.drain()
        await stream.until_over()
        assert anyio.current_time() - begun > 8.5
    assert (stream.is_complete, stream.error) == (False, None)
    assert f"the stream of {id} was broken off: this process is shutting down" in caplog.messages


def copying(app: ASGIApp) -> ASGIApp:
    """Middleware that copies what it gets, and ends it where the app has ended."""

    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return BaseHTTPMiddleware(app, dispatch)


@both
async def test_middleware_that_copies_replies_does_not_end_what_is_broken_off() -> None:
    async with reading_elsewhere(Teller(pause=100), copying) as (here, _, stream):
        await here.drain()
        await stream.until_over()
    assert not stream.is_complete
    assert stream.error is not None  # Starlette's own, about our last message


@both
async def test_middleware_that_copies_replies_ends_what_ends() -> None:
    async with reading_elsewhere(Teller(pause=1), copying) as (here, _, stream):
        await here.drain()
        await stream.until_over()
    assert (stream.is_complete, stream.error) == (True, None)


@both
async def test_a_drain_where_nothing_is_hosted_does_nothing() -> None:
    app = ResponseCacheMiddleware(TOLD)
    await app.drain()
    assert not app.is_draining


# Signals.


@both
@pytest.mark.parametrize("has_lifespan", [True, False])
async def test_a_signal_drains(servers_handler: list[int], has_lifespan: bool) -> None:
    app = ResponseCacheMiddleware(Teller(pause=1000), drain_timeout=10)

    async def read_to_the_end() -> dict[str, Any]:
        id = await create(app)
        async with calling(app, "GET", f"/v1/responses/{id}?stream=true") as call:
            await call.until_sent(b"Once ")
            os.kill(os.getpid(), signal.SIGTERM)
            with within(10 + STOP_GRACE):
                await call.until(lambda: app.is_draining and call.is_over)
        return call.events[-1]

    if has_lifespan:
        async with living(app):
            end = await read_to_the_end()
    else:
        end = await read_to_the_end()
    assert end["response"]["error"]["message"] == SHUT_DOWN


# Real servers.

ROOT = Path(__file__).resolve().parents[3]
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: ["uvicorn", "--port", str(port), "--log-level", "warning"],
    "uvicorn-without-lifespan": lambda port: [
        *("uvicorn", "--port", str(port), "--lifespan", "off"),
        *("--log-level", "warning", "--loop", "asyncio"),
    ],
    # In one process: signals to its supervisor do not reach its workers.
    "hypercorn": lambda port: ["hypercorn", "--bind", f"127.0.0.1:{port}", "--workers", "0"],
}


@contextmanager
def serving(server: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    command = [sys.executable, "-m", *SERVERS[server](port), "tests.adapters.asgi.endless_app:app"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def until_up(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        try:
            client.get(f"/responses/resp_rc{0:048}")
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the server did not come up")


@pytest.mark.parametrize("server", SERVERS)
def test_a_real_server_stops_in_time_and_its_reader_sees_the_end(server: str) -> None:
    with (
        serving(server) as (process, url),
        httpx.Client(base_url=f"{url}/v1", trust_env=False, timeout=WAIT_TIMEOUT) as client,
    ):
        until_up(client, process)
        body = {**BACKGROUND, "stream": True}
        with client.stream("POST", "/responses", json=body) as reply:
            lines = reply.iter_lines()
            assert any("output_text.delta" in line for line in lines)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            rest = [line for line in lines if line.startswith("data: ")]
        process.wait(WAIT_TIMEOUT)
        took = time.monotonic() - begun
    end = json.loads(rest[-1].removeprefix("data: "))
    assert (end["type"], end["response"]["error"]["message"]) == ("response.failed", SHUT_DOWN)
    assert took < DRAIN_TIMEOUT + allowed(STOP_GRACE)
