"""LiteLLM's first polling format: its clients, its keys, and ids that both sides make."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from response_cache.stores.memory import MemoryStore
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from response_cache_wsgi import ResponseCacheMiddleware as WSGIMiddleware
from tests import deadlines
from tests.adapters.asgi import driver as asgi_driver
from tests.adapters.asgi.driver import TOLD, ended, sse, story
from tests.adapters.servers import program, serving
from tests.adapters.wsgi import driver as wsgi_driver
from tests.interpreters import interpreter_of
from tests.stores.servers import Server, running_server

pytestmark = pytest.mark.slow

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "docs" / "examples"
CLIENTS: Final = ("polling_client.py", "polling_client.ts")
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
KEYS: Final = "litellm:polling:response:"
THEIRS: Final = "the app's own"

Ask: TypeAlias = Callable[..., Any]
"""Sends a request of a user and gives the JSON of the reply."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the driver of Redis


async def run(client: str, base_url: str) -> subprocess.CompletedProcess[str]:
    """One of the clients of the documentation, run to its end."""
    command = [interpreter_of(client), str(EXAMPLES / client), base_url, "Tell me a story"]
    return await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT_TIMEOUT, check=False
        )
    )


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
async def sidecar(redis: Server) -> AsyncIterator[str]:
    """The base URL of a sidecar that speaks the older dialect, over Redis."""
    env = {"RESPONSE_CACHE_DIALECT": "litellm", "RESPONSE_CACHE_STORE": redis.url}
    async with program("serve", "--port", "0", env=env) as process:
        yield f"{await process.listening()}/v1"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_the_first_format_runs_unchanged(
    client: str, sidecar: str, redis: Server
) -> None:
    result = await run(client, sidecar)
    assert result.returncode == 0, result.stderr
    first, text, usage = result.stdout.splitlines()
    id, status = first.split()
    assert status == "in_progress"
    assert len(text.split()) == 40
    assert int(usage.removesuffix(" tokens")) > 0
    with redis.client() as at:
        value, ttl = at.get(KEYS + id), at.ttl(KEYS + id)
    assert isinstance(value, bytes)
    assert isinstance(ttl, int)
    stored = json.loads(value)
    assert stored["id"] == id
    assert stored["status_details"] == {"type": "completed", "reason": "stop"}
    (part,) = stored["output"][0]["content"]
    assert part["type"] == "text"
    assert part["text"].rstrip() == text.rstrip()
    assert 3000 < ttl <= 3600


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_the_first_format_is_told_why_it_failed(client: str) -> None:
    broken = asgi_driver.answering(sse(*story("Once ", "upon ")[:-1]))
    app = ResponseCacheMiddleware(broken, dialect="litellm")
    async with serving(app) as url:
        result = await run(client, f"{url}/v1")
    assert result.returncode == 1
    assert "failed: The upstream ended" in result.stderr, result.stderr


async def test_what_is_shown_while_it_grows_is_of_the_first_format() -> None:
    begun = story("Once ", "upon ")[:-2]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asgi_driver.read_body(receive)
        await asgi_driver.start(send, asgi_driver.EVENT_STREAM)
        await asgi_driver.piece(send, sse(*begun))
        await receive()

    cache = ResponseCacheMiddleware(app, dialect="litellm", drain_timeout=0)
    id = await asgi_driver.create(cache)
    shown: dict[str, Any] = {}
    with anyio.fail_after(WAIT_TIMEOUT):
        while not shown.get("output") or not shown["output"][0]["content"]:
            shown = await asgi_driver.retrieve(cache, id)
    assert shown["status"] == "in_progress"
    assert shown["status_details"] is None
    assert shown["output"][0]["content"][0]["type"] == "text"
    call = await asgi_driver.request(cache, "POST", f"/v1/responses/{id}/cancel")
    cancelled = call.json
    assert cancelled["status"] == "cancelled"
    assert cancelled["status_details"] == {"type": "cancelled", "reason": "user_requested"}
    assert cancelled["output"][0]["content"][0]["type"] == "text"


async def test_events_are_official_in_every_dialect() -> None:
    cache = ResponseCacheMiddleware(TOLD, dialect="litellm")
    id = await asgi_driver.create(cache)
    events = await asgi_driver.replay(cache, id)
    assert events[0]["response"]["status"] == "queued"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["id"] == id
    assert events[-1]["response"]["output"][0]["content"][0]["type"] == "output_text"


async def test_a_response_of_before_the_change_of_dialect_is_still_there() -> None:
    store = MemoryStore()
    id = await asgi_driver.create(before := ResponseCacheMiddleware(TOLD, store))
    await ended(before, id)
    after = ResponseCacheMiddleware(TOLD, store, dialect="litellm")
    assert id.startswith("resp_")
    assert (await asgi_driver.retrieve(after, id))["status"] == "completed"


# Ids that the wrapped app makes, too.


@contextmanager
def over_asgi() -> Iterator[Ask]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and scope["path"] == "/v1/responses":
            await TOLD(scope, receive, send)
            return
        body = await asgi_driver.read_body(receive)
        said = {"id": THEIRS, "method": scope["method"], "body": body.decode()}
        await asgi_driver.start(send, (b"content-type", b"application/json"))
        await asgi_driver.piece(send, json.dumps(said).encode(), more=False)

    cache = ResponseCacheMiddleware(app, dialect="litellm")

    async def ask(
        user: str, method: str, path: str, body: Any = None, headers: Iterable[Any] = ()
    ) -> Any:
        fields = [(b"authorization", user.encode()), *headers]
        call = await asgi_driver.request(cache, method, path, json=body, headers=fields)
        return call.json

    yield ask


@contextmanager
def over_wsgi() -> Iterator[Ask]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method == "POST" and path == "/v1/responses":
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return [sse(*story("Once "))]
        said = {"id": THEIRS, "method": method, "body": environ["wsgi.input"].read().decode()}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(said).encode()]

    cache = WSGIMiddleware(app, dialect="litellm", drain_on_signals=False)

    async def ask(
        user: str, method: str, path: str, body: Any = None, headers: Iterable[Any] = ()
    ) -> Any:
        fields = [("Authorization", user), *((n.decode(), v.decode()) for n, v in headers)]
        content = b"" if body is None else json.dumps(body).encode()
        return await anyio.to_thread.run_sync(
            lambda: wsgi_driver.request(cache, method, path, content, fields).json()
        )

    with closing(cache):
        yield ask


@pytest.fixture(params=[over_asgi, over_wsgi])
def ask(request: pytest.FixtureRequest) -> Iterator[Ask]:
    with request.param() as ask:
        yield ask


@pytest.mark.parametrize(
    ("method", "rest"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")],
)
async def test_an_id_that_is_not_recorded_here_is_the_apps(
    ask: Ask, method: str, rest: str
) -> None:
    reply = await ask("alice", method, f"/v1/responses/litellm_poll_{uuid4()}{rest}")
    assert reply == {"id": THEIRS, "method": method, "body": ""}


async def test_who_waits_for_an_id_of_the_app_is_answered_by_the_app(ask: Ask) -> None:
    path = f"/v1/responses/litellm_poll_{uuid4()}"
    reply = await ask("alice", "GET", path, headers=[(b"prefer", b"wait=5")])
    assert reply["id"] == THEIRS


async def test_somebody_elses_response_never_reaches_the_app(ask: Ask) -> None:
    created = await ask(
        "alice", "POST", "/v1/responses", {"model": "m", "input": "hi", "background": True}
    )
    path = f"/v1/responses/{created['id']}"
    assert (await ask("alice", "GET", path))["id"] == created["id"]
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        reply = await ask("bob", method, path + rest)
        assert "not found" in reply["error"]["message"]


async def test_in_the_official_dialect_such_ids_are_the_apps() -> None:
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await asgi_driver.start(send, status=404)
        await asgi_driver.piece(send, b"", more=False)

    path = f"/v1/responses/litellm_poll_{uuid4()}"
    await asgi_driver.request(ResponseCacheMiddleware(app), "GET", path)
    assert asked == [path]
