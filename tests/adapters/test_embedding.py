"""The aiohttp adapter of docs/embedding.md, as it stands there: the HTTP suite, and its app.

``test_docs`` proves that the page holds this file of docs/examples.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import httpx
import pytest
from aiohttp import web
from multidict import CIMultiDict

from response_cache import Options, OwnerOf, http
from response_cache.testing import ScriptedUpstream
from response_cache.testing._http_suite.creating import Creating, Passing
from response_cache.testing._http_suite.ending import Cancelling, Deleting
from response_cache.testing._http_suite.polling import LongPolling
from response_cache.testing._http_suite.streaming import Breaking, Resuming, Streaming
from tests.adapters.http_in_real_time import HttpInRealTime, Served
from tests.adapters.servers import serving
from tests.deadlines import WAIT_TIMEOUT
from tests.documents import DOCS
from tests.hosts.test_hosts import until
from tests.ports import free_port

pytestmark = pytest.mark.slow

NOT_RELAYED: Final = http.CLIENT_HEADERS | {b"host", b"connection", b"transfer-encoding"}


def adapter() -> ModuleType:
    """The module of the page."""
    path = DOCS / "examples" / "aiohttp_background.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served_by_aiohttp(
    upstream: ScriptedUpstream, url: str, options: dict[str, Any]
) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the adapter around *upstream*."""
    owner: OwnerOf | None = options.pop("owner", None)
    known = Options(**options)
    async with serving(upstream) as base, httpx.AsyncClient(base_url=base, timeout=None) as inner:
        del inner.headers["accept-encoding"]
        app = web.Application(client_max_size=known.max_request_bytes)
        asking = Asking(inner)
        app.router.add_route("*", "/{path:.*}", asking.elsewhere)
        adapter().Background(asking, url, known, owner).set_up(app)
        async with (
            running(app) as outside,
            httpx.AsyncClient(base_url=f"{outside}/v1", timeout=60) as client,
        ):
            yield client


@asynccontextmanager
async def running(app: web.Application) -> AsyncGenerator[str]:
    """The base URL of *app* on a server, until the context ends."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()
        listener.close()


class Asking:
    """The wrapped function, and the rest of the app: asks the scripted upstream."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, request: web.Request, body: bytes) -> http.Stream:
        headers = [pair for pair in request.raw_headers if pair[0].lower() not in NOT_RELAYED]
        asked = self._client.build_request(
            request.method, request.path_qs, content=body, headers=httpx.Headers(headers)
        )
        reply = await self._client.send(asked, stream=True)
        told = ((name.lower(), value) for name, value in reply.headers.raw)
        kept = tuple(pair for pair in told if pair[0] not in NOT_RELAYED)
        return http.Stream(reply.status_code, kept, chunks_of(reply))

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        """What is about no response of ours."""
        reply = await self(request, await request.read())
        headers = [(name.decode(), value.decode()) for name, value in reply.headers]
        content = b"".join([chunk async for chunk in reply.chunks])
        return web.Response(status=reply.status, headers=CIMultiDict(headers), body=content)


async def chunks_of(reply: httpx.Response) -> AsyncGenerator[bytes]:
    """Its body as it comes; closed with the generator."""
    try:
        async for chunk in reply.aiter_raw():
            yield chunk
    finally:
        await reply.aclose()


class TestOverAiohttp(HttpInRealTime):
    """Much of the suite, around a function that asks another server."""

    @pytest.fixture
    def kept_in(self) -> str:
        return "memory"

    @pytest.fixture
    def served(self) -> Served:
        return served_by_aiohttp


# What an adapter has a part in. The rest of the suite is about the core, over any adapter.
OF_ADAPTERS: Final = (
    *(Creating, Passing, LongPolling),
    *(Streaming, Resuming, Breaking, Cancelling, Deleting),
)
BY_OTHERS: Final = frozenset(
    (
        # aiohttp itself unpacks bodies.
        "test_a_compressed_create_in_the_foreground_stays_compressed",
        "test_a_body_in_an_encoding_that_we_do_not_know_is_for_the_app_to_judge",
        # The upstream's server answers for an upstream that breaks.
        "test_an_upstream_that_breaks_before_it_answers_is_a_server_error",
    )
)
KEPT: Final = {name for group in OF_ADAPTERS for name in vars(group)} - BY_OTHERS

for name in dir(TestOverAiohttp):
    if name.startswith("test_") and name not in KEPT:
        setattr(TestOverAiohttp, name, None)


# The app of the page, as a process of its own.

EXAMPLES: Final = DOCS / "examples"
TEXT: Final = "The quick brown fox jumps over the lazy dog"


@dataclass(frozen=True)
class Running:
    """The app, and a client of it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    def create(self, **body: Any) -> str:
        """The id of a new response."""
        asked = {"model": "echo", "input": TEXT, "background": True, **body}
        return str(self.client.post("/v1/responses", json=asked).raise_for_status().json()["id"])

    def poll(self, id: str) -> dict[str, Any]:
        """The Response object."""
        return dict(self.client.get(f"/v1/responses/{id}").raise_for_status().json())

    @contextmanager
    def reading(self, id: str, after: int = -1) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a stream; hangs up at the end of the context."""
        query = {"stream": "true", "starting_after": str(after)}
        with self.client.stream("GET", f"/v1/responses/{id}", params=query) as reply:
            lines = (line for line in reply.iter_lines() if line.startswith("data: "))
            yield (json.loads(line.removeprefix("data: ")) for line in lines)


@pytest.fixture
def site() -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "aiohttp_app.py", str(port)], cwd=EXAMPLES
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_TIMEOUT) as client:
        try:
            until(lambda: is_up(client, process))
            yield Running(process, client)
        finally:
            process.kill()
            process.wait()


def is_up(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return client.get("/nothing").status_code == 404
    except httpx.ConnectError:
        return False


def test_the_official_client_creates_polls_resumes_cancels_and_deletes(site: Running) -> None:
    command = [sys.executable, "client.py", str(site.client.base_url.join("/v1"))]
    done = subprocess.run(
        command, cwd=EXAMPLES, capture_output=True, text=True, timeout=WAIT_TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"completed '{TEXT} '" in lines
    assert "11 response.output_text.delta" in lines
    assert any(line.endswith("response.completed") for line in lines)
    assert lines[-1] == "cancelled"


def test_foreground_work_is_the_functions_own(site: Running) -> None:
    reply = site.client.post("/v1/responses", json={"input": "one two"})
    assert reply.headers["content-type"] == "text/event-stream"
    assert '"id": "resp_1"' in reply.text
    assert '"delta": "two "' in reply.text


def test_a_reader_that_disconnects_resumes_and_the_response_goes_on(site: Running) -> None:
    id = site.create()
    with site.reading(id) as events:
        seen = [next(events)["sequence_number"] for _ in range(5)]
    assert seen == [0, 1, 2, 3, 4]
    with site.reading(id, after=4) as events:
        rest = list(events)
    assert [event["sequence_number"] for event in rest] == list(range(5, 5 + len(rest)))
    assert rest[-1]["type"] == "response.completed"
    assert site.poll(id)["status"] == "completed"


def test_a_stream_whose_response_is_deleted_breaks_without_a_proper_end(site: Running) -> None:
    id = site.create(input="word " * 1000)
    with site.reading(id) as events:
        next(events)
        assert site.client.delete(f"/v1/responses/{id}").status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            list(events)


def test_at_a_stop_signal_what_runs_is_finished_and_its_reader_served(site: Running) -> None:
    id = site.create()
    with site.reading(id) as events:
        next(events)
        site.process.send_signal(signal.SIGTERM)
        assert list(events)[-1]["type"] == "response.completed"
    assert site.process.wait(WAIT_TIMEOUT) == 0
