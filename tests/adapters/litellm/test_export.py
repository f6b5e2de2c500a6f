"""The way back: what a client of LiteLLM's own polling will find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from response_cache_litellm._export import Exported, export
from tests.adapters.asgi.driver import TOLD, create, ended, read_body, request
from tests.adapters.servers import run_program
from tests.stores.servers import Server, cluster_of_three, running_server

pytestmark = pytest.mark.slow

PREFIX = "litellm:polling:response:"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells a story, or nothing until its client leaves."""
    if scope["method"] != "POST":
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})
        return
    headers = dict(scope["headers"])
    if b"x-silent" in headers:
        await read_body(receive)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await receive()
        return
    await TOLD(scope, receive, send)


def as_theirs(value: object) -> Any:
    """What LiteLLM makes of the value: it decodes it twice."""
    assert isinstance(value, bytes)
    text = json.loads(value)
    assert isinstance(text, str)
    return json.loads(text)


async def test_a_closed_response_becomes_litellms_own(server: Server) -> None:
    cache = ResponseCacheMiddleware(app, server.url, dialect="litellm", ttl=500.0)
    id = await create(cache)
    await ended(cache, id)
    assert await export(server.url) == Exported(written=1)
    with server.client() as redis:
        theirs = as_theirs(redis.get(PREFIX + id))
        ttl = redis.ttl(PREFIX + id)
        assert redis.keys(f"{{{PREFIX}{id}}}:*") == [f"{{{PREFIX}{id}}}:deleted".encode()]
    assert isinstance(ttl, int)
    assert 400 < ttl <= 500
    assert theirs["id"] == id
    assert theirs["status"] == "completed"
    assert "status_details" not in theirs
    assert theirs["output"][0]["content"][0]["type"] == "output_text"
    assert (await request(cache, "GET", f"/v1/responses/{id}")).status == 418  # the app's now
    assert await export(server.url) == Exported()


async def test_what_runs_is_left_alone_and_counted(server: Server) -> None:
    cache = ResponseCacheMiddleware(app, server.url, dialect="litellm", drain_timeout=0)
    body = {"model": "m", "input": "hi", "background": True}
    call = await request(cache, "POST", "/v1/responses", json=body, headers=[(b"x-silent", b"1")])
    assert await export(server.url) == Exported(running=1)
    shown = await request(cache, "GET", f"/v1/responses/{call.json['id']}")
    assert shown.json["status"] == "in_progress"
    await request(cache, "POST", f"/v1/responses/{call.json['id']}/cancel")
    assert await export(server.url) == Exported(written=1)


async def test_responses_of_the_official_dialect_stay(server: Server) -> None:
    cache = ResponseCacheMiddleware(TOLD, f"{server.url}?key_prefix={PREFIX}")
    id = await create(cache)
    await ended(cache, id)
    assert await export(server.url) == Exported()


async def test_it_may_go_to_another_server_and_stay_here_too(server: Server) -> None:
    cache = ResponseCacheMiddleware(app, server.url, dialect="litellm")
    id = await create(cache)
    await ended(cache, id)
    with running_server() as other:
        assert await export(server.url, other.url, namespace="prod") == Exported(written=1)
        with other.client() as redis:
            assert as_theirs(redis.get(f"prod:{PREFIX}{id}"))["id"] == id
    assert (await request(cache, "GET", f"/v1/responses/{id}")).json["status"] == "completed"


async def test_a_cluster_is_searched_on_all_its_nodes() -> None:
    with cluster_of_three() as cluster:
        cache = ResponseCacheMiddleware(app, cluster.url, dialect="litellm")
        ids = [await create(cache) for _ in range(6)]
        for id in ids:
            await ended(cache, id)
        assert await export(cluster.url) == Exported(written=6)


async def test_the_command_says_what_it_did(server: Server) -> None:
    cache = ResponseCacheMiddleware(app, server.url, dialect="litellm")
    await ended(cache, await create(cache))
    code, program = await run_program("export-litellm", "--store", server.url)
    assert program.stdout == "1 closed responses written, 0 still running left\n"
    assert code == 0


@pytest.mark.parametrize(
    ("store", "code", "complaint"),
    [("memory://", 2, "in Redis"), ("redis://127.0.0.1:1", 1, "cannot open the store")],
)
async def test_the_command_complains_in_one_line(store: str, code: int, complaint: str) -> None:
    ended_with, program = await run_program("export-litellm", "--store", store)
    assert ended_with == code
    assert complaint in program.stderr
    assert program.stderr.count("\n") == 1


async def test_what_is_no_redis_is_refused() -> None:
    with pytest.raises(ValueError, match="in Redis"):
        await export("memory://")
