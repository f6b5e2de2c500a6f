"""The app of the sidecar as a whole, over real HTTP."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import brotli
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from backports import zstd
from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.responses import ResponseCreatedEvent

from response_cache_server import Settings, Sidecar, build_app
from response_cache_server._asgi import Receive, Scope, Send
from tests.adapters.asgi.driver import EVENT_STREAM, piece, read_body, sse, start, story
from tests.adapters.browser import shown
from tests.adapters.server.proxy.test_pool import ANSWERS, Upstream
from tests.adapters.servers import DEADLINE, serving
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def anyio_backend() -> str:
    """The servers run on asyncio only."""
    return "asyncio"


@asynccontextmanager
async def sidecar(**settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Sidecar]]:
    """A client of a sidecar with *settings*, which is told by the test when to drain."""
    app = build_app(Settings(**settings), drain_on_signals=False)
    async with (
        serving(app, lifespan="on") as url,
        httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
    ):
        client.headers["authorization"] = "Bearer test"
        yield client, app


def background(**metadata: str) -> dict[str, Any]:
    return {"model": "m", "input": "hello", "background": True, "metadata": metadata}


async def ended(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    with anyio.fail_after(DEADLINE):
        while True:
            reply = await client.get(f"/v1/responses/{id}", headers={"Prefer": "wait=5"})
            response: dict[str, Any] = reply.json()
            if response["status"] not in ("queued", "in_progress"):
                return response


async def test_health_is_ok_until_the_sidecar_drains() -> None:
    async with sidecar() as (client, app):
        healthy = await client.get("/healthz")
        await app.drain()
        draining = await client.get("/healthz")
    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    assert (draining.status_code, draining.json()) == (503, {"status": "draining"})


async def test_a_draining_sidecar_takes_no_background_work_but_passes_the_rest() -> None:
    async with sidecar() as (client, app):
        await app.drain()
        refused = await client.post("/v1/responses", json=background())
        passed = await client.get("/v1/models")
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    assert passed.status_code == 200


async def test_a_background_response_of_the_built_in_upstream_completes() -> None:
    async with sidecar() as (client, _):
        created = await client.post("/v1/responses", json=background(words="5", pace="0"))
        response = await ended(client, created.json()["id"])
    assert created.json()["status"] == "queued"
    assert response["status"] == "completed"
    assert len(response["output"][0]["content"][0]["text"].split()) == 5


@pytest.mark.parametrize("end", ["failed", "error", "cut", "incomplete"])
async def test_every_way_to_end_badly_is_recorded_as_an_end(end: str) -> None:
    async with sidecar() as (client, _):
        created = await client.post("/v1/responses", json=background(end=end, pace="0"))
        response = await ended(client, created.json()["id"])
    assert response["status"] == ("incomplete" if end == "incomplete" else "failed")


async def test_a_refusal_of_the_upstream_reaches_the_creator() -> None:
    async with sidecar(admission_wait=DEADLINE) as (client, _):
        refused = await client.post("/v1/responses", json=background(status="429"))
    assert refused.status_code == 429
    assert refused.json()["error"]["message"] == "The request asked for status 429."


async def test_an_upstream_that_is_not_there_reaches_the_creator_as_a_502() -> None:
    upstream = f"http://127.0.0.1:{free_port()}/v1"
    async with sidecar(upstream=upstream, admission_wait=DEADLINE) as (client, _):
        refused = await client.post("/v1/responses", json=background())
    assert refused.status_code == 502
    assert refused.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_reads_that_the_upstream_is_not_there(method: str) -> None:
    page, upstream = "https://page.example", f"http://127.0.0.1:{free_port()}/v1"
    async with sidecar(upstream=upstream, cors_origins=(page,)) as (client, _):
        reply = await client.request(
            method, "/v1/responses", json={"input": "hi"}, headers={"origin": page}
        )
    assert shown(reply, page).status_code == 502
    names = [name for name, _ in reply.headers.multi_items()]
    assert names.count("access-control-expose-headers") == 1


async def test_foreground_requests_pass_through_two_sidecars() -> None:
    async with (
        sidecar() as (inner, _),
        sidecar(upstream=f"{inner.base_url}/v1") as (outer, _),
    ):
        request = {"input": "hello", "metadata": {"words": "3", "pace": "0"}}
        direct = (await inner.post("/v1/responses", json=request)).json()
        passed = (await outer.post("/v1/responses", json=request)).json()
        models = (await outer.get("/v1/models")).json()
    assert passed["output"] == direct["output"]
    assert models["data"][0]["id"] == "built-in"


async def test_a_create_in_several_gzip_members_is_recorded_and_one_in_the_foreground_kept() -> (
    None
):
    seen: list[tuple[bytes, bytes | None]] = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        coding = dict(scope["headers"]).get(b"content-encoding")
        seen.append((await read_body(receive), coding))
        await start(send, EVENT_STREAM)
        await piece(send, sse(*story("hello")), more=False)

    asked = (b'{"model":"m",', b'"input":"hi",', b'"background":true}')
    packed = b"".join(map(gzip.compress, asked))
    theirs = gzip.compress(b'{"input":') + gzip.compress(b'"hi"}')
    coding = {"content-encoding": "gzip"}
    async with serving(upstream) as base, sidecar(upstream=f"{base}/v1") as (client, _):
        created = await client.post("/v1/responses", content=packed, headers=coding)
        response = await ended(client, created.json()["id"])
        await client.post("/v1/responses", content=theirs, headers=coding)
    assert response["status"] == "completed"
    assert seen == [(b'{"model":"m","input":"hi","stream":true}', None), (theirs, b"gzip")]


async def test_an_upstream_behind_the_proxy_is_recorded_and_stopped_by_a_cancel() -> None:
    async with (
        sidecar() as (inner, _),
        sidecar(upstream=f"{inner.base_url}/v1") as (outer, _),
    ):
        created = await outer.post("/v1/responses", json=background(words="4", pace="0"))
        assert (await ended(outer, created.json()["id"]))["status"] == "completed"
        endless = await outer.post("/v1/responses", json=background(delay="3600"))
        path = f"/v1/responses/{endless.json()['id']}"
        cancelled = await outer.post(f"{path}/cancel")
        later = await outer.get(path)
    assert cancelled.json()["status"] == "cancelled"
    assert later.json() == cancelled.json()


async def test_the_official_client_creates_polls_resumes_cancels_and_deletes() -> None:
    async with sidecar() as (client, _):
        openai = AsyncOpenAI(
            api_key="test",
            base_url=f"{client.base_url}/v1",
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )
        async with openai:
            metadata = {"words": "20", "pace": "0.001"}
            stream = await openai.responses.create(
                model="m", input="hello", background=True, stream=True, metadata=metadata
            )
            first = await anext(aiter(stream))
            assert isinstance(first, ResponseCreatedEvent)
            id = first.response.id
            numbers = [0, *[(await anext(aiter(stream))).sequence_number for _ in range(7)]]
            await stream.close()
            rest = await openai.responses.retrieve(id, stream=True, starting_after=7)
            numbers += [event.sequence_number async for event in rest]
            assert numbers == list(range(len(numbers)))
            assert (await openai.responses.retrieve(id)).output_text
            await openai.responses.delete(id)
            endless = await openai.responses.create(
                model="m", input="hello", background=True, metadata={"delay": "3600"}
            )
            assert (await openai.responses.cancel(endless.id)).status == "cancelled"


@pytest.mark.parametrize("path", ["/openai", "/openai/deployments/gpt-4.1"])
async def test_azures_client_is_answered_in_the_foreground(path: str) -> None:
    async with sidecar() as (inner, _), sidecar(upstream=f"{inner.base_url}/v1") as (outer, _):
        azure = AsyncAzureOpenAI(
            base_url=f"{outer.base_url}{path}",  # as it makes it of azure_endpoint and deployment
            api_version="2025-04-01-preview",
            api_key="test",
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )
        async with azure:
            metadata = {"words": "3", "pace": "0"}
            response = await azure.responses.create(model="m", input="hello", metadata=metadata)
    assert response.status == "completed"


@pytest.mark.parametrize("name", ["meta%2Fllama-3", "a%2fb%2Fc", "a%252Fb", "r%2Fresponses"])
async def test_a_slash_in_the_name_of_a_deployment_is_part_of_it(name: str) -> None:
    asked: list[tuple[str, bytes]] = []

    async def azure(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append((scope["method"], scope["raw_path"]))
        await read_body(receive)
        await start(send, EVENT_STREAM)
        await piece(send, sse(*story("hello")), more=False)

    path = f"/openai/deployments/{name}/responses"
    async with serving(azure) as base, sidecar(upstream=f"{base}/openai") as (client, _):
        created = await client.post(path, json=background())
        response = await ended(client, created.json()["id"])
        again = await client.get(f"{path}/{response['id']}")
        await client.post(path, json={"input": "hello"})
    assert (response["status"], again.json()) == ("completed", response)
    assert asked == [("POST", path.encode())] * 2


@pytest.mark.parametrize("name", ["meta%2Fllama-3", "a%252Fb", "gpt-4.1"])
async def test_pages_are_asked_about_under_the_name_of_the_deployment_as_it_is(name: str) -> None:
    asked: list[bytes] = []

    async def azure(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            asked.append(scope["raw_path"])
        await read_body(receive)
        status = 404 if b"resp_rc" in scope["raw_path"] else 200
        await start(send, EVENT_STREAM, status=status)
        await piece(send, sse(*story("hello")), more=False)

    path = f"/openai/deployments/{name}/responses"
    page = {"origin": "https://page.example"}
    async with serving(azure) as base, sidecar(upstream=f"{base}/openai") as (client, _):
        created = await client.post(path, json=background(), headers=page)
        id = created.json()["id"]
        await ended(client, id)
        await client.get(f"{path}/{id}", headers=page)
    assert asked == [path.encode(), f"{path}/{id}".encode(), path.encode()]


@pytest.mark.parametrize("status", [b"000", b"99", b"101", b"600", b"999"])
async def test_a_status_that_is_none_is_a_502_and_the_failure_of_a_response(status: bytes) -> None:
    gate = anyio.Event()

    async def answer(connection: SocketStream) -> None:
        async with connection:
            await connection.receive()
            await gate.wait()
            await connection.send(b"HTTP/1.1 " + status + b" Odd\r\nContent-Length: 2\r\n\r\n{}")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        upstream = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with (
            sidecar(upstream=upstream, admission_wait=0.01) as (client, _),
            anyio.create_task_group() as group,
        ):
            group.start_soon(listener.serve, answer)
            created = await client.post("/v1/responses", json=background())
            gate.set()
            response = await ended(client, created.json()["id"])
            foreground = await client.post("/v1/responses", json={"input": "hello"})
            group.cancel_scope.cancel()
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert foreground.status_code == 502
    assert foreground.json()["error"]["type"] == "server_error"


POISON = sse(*story("poison"))
SURPLUS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (
    len(POISON),
    POISON,
)


@pytest.mark.parametrize("kind", ["head", "204", "304", "double", "chunked"])
async def test_a_strangers_surplus_is_recorded_as_nobodys_response(kind: str) -> None:
    upstream = Upstream(ANSWERS[kind], surplus=SURPLUS)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with sidecar(upstream=url) as (client, _), anyio.create_task_group() as group:
            group.start_soon(listener.serve, upstream.serve)
            await client.request("HEAD" if kind == "head" else "GET", "/v1/evil")
            created = await client.post("/v1/responses", json=background())
            if "id" in created.json():
                created = await client.get(f"/v1/responses/{created.json()['id']}")
            await client.request("HEAD" if kind == "head" else "GET", "/v1/evil")
            foreground = await client.get("/v1/mine")
            group.cancel_scope.cancel()
    assert "poison" not in created.text
    assert foreground.text == "mine"


# What the upstream answers with.

JSON: Final = (b"content-type", b"application/json")
HELLO: Final = {"type": "output_text", "text": "Hello", "annotations": []}
MESSAGE: Final = {"id": "msg_1", "type": "message", "role": "assistant", "content": [HELLO]}
WHOLE: Final = {"id": "up", "status": "completed", "output": [MESSAGE]}
PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


async def test_each_coding_that_a_run_asks_for_is_read() -> None:
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(dict(scope["headers"])[b"accept-encoding"].decode())
        coding = json.loads(await read_body(receive))["metadata"]["coding"]
        await start(send, JSON, (b"content-encoding", coding.encode()))
        await piece(send, PACKERS[coding](json.dumps(WHOLE).encode()), more=False)

    async with serving(app) as url, sidecar(upstream=f"{url}/v1") as (client, _):
        client.headers["accept-encoding"] = "compress"
        for coding in PACKERS:
            created = await client.post("/v1/responses", json=background(coding=coding))
            response = await ended(client, created.json()["id"])
            assert response["output"] == [MESSAGE]
    assert asked == ["gzip, deflate, br, zstd"] * 4


async def test_an_upstream_without_streams_answers_in_the_background() -> None:
    asked: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = json.loads(await read_body(receive)).get("stream") is True
        asked.append(is_stream)
        refusal = {"error": {"message": "Streaming is not supported.", "param": None}}
        await start(send, JSON, status=501 if is_stream else 200)
        await piece(send, json.dumps(refusal if is_stream else WHOLE).encode(), more=False)

    async with serving(app) as url, sidecar(upstream=f"{url}/v1") as (client, _):
        for _ in range(2):
            created = await client.post("/v1/responses", json=background())
            response = await ended(client, created.json()["id"])
            assert (response["status"], response["output"]) == ("completed", [MESSAGE])
    assert asked == [True, False, False]
