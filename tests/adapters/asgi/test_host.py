"""Where responses live: in any lifespan or none, in any framework, in one event loop or many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
import trio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from response_cache import Owner, Request
from response_cache.errors import StoreUnavailable
from response_cache.stores.memory import MemoryStore
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from tests.adapters.asgi.driver import (
    TOLD,
    create,
    ended,
    hosting,
    living,
    request,
    retrieve,
    sse,
    story,
)
from tests.deadlines import WAIT_TIMEOUT

BACKGROUND = {"model": "m", "input": "hi", "background": True}
STORY = sse(*story("Once"))


async def tell() -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield STORY

    return StreamingResponse(body(), media_type="text/event-stream")


async def tell_route(_request: Any) -> StreamingResponse:
    return await tell()


def fastapi_app(**options: Any) -> FastAPI:
    api = FastAPI(**options)
    api.post("/v1/responses")(tell)
    return api


class Store(MemoryStore):
    """A memory store that knows how often it was opened and closed."""

    def __init__(self, *, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.log: list[str] = []

    async def open(self) -> None:
        if self.error is not None:
            raise self.error
        self.log.append("open")

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append("close")


# Lifespans.


async def test_the_cache_is_open_around_the_lifespan_of_the_app() -> None:
    store = Store()

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[dict[str, str]]:
        store.log.append("app starts")
        yield {"key": "value"}
        store.log.append("app stops")

    app = ResponseCacheMiddleware(fastapi_app(lifespan=lifespan), store)
    async with living(app) as life:
        assert life.types == ["lifespan.startup.complete"]
        assert (await ended(app, await create(app)))["status"] == "completed"
        life.stop.set()
        await life.is_over.wait()
        assert store.log == ["open", "app starts", "app stops", "close"]
    assert life.types[1:] == ["lifespan.shutdown.complete"]


async def test_the_server_learns_of_the_shutdown_when_the_cache_is_closed() -> None:
    store = Store()
    at_farewell: list[str] = []
    app = ResponseCacheMiddleware(fastapi_app(), store)

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                at_farewell.extend(store.log)
            await send(message)

        await app(scope, receive, noting)

    async with living(outer):
        pass
    assert at_farewell == ["open", "close"]


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("http only")
    await TOLD(scope, receive, send)


async def refuses_late(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
    await refuses(scope, receive, send)


async def ignores(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await TOLD(scope, receive, send)


async def talks_http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await send({"type": "http.response.start", "status": 404, "headers": []})
    await TOLD(scope, receive, send)


async def leaves_early(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    await TOLD(scope, receive, send)


async def never_returns(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        await TOLD(scope, receive, send)
        return
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})


@pytest.mark.parametrize(
    "app", [refuses, refuses_late, ignores, talks_http, leaves_early, never_returns]
)
async def test_an_app_that_does_not_speak_lifespan_well_is_hosted_all_the_same(app: Any) -> None:
    store = Store()
    middleware = ResponseCacheMiddleware(app, store)
    async with living(middleware) as life:
        assert (await ended(middleware, await create(middleware)))["status"] == "completed"
        assert store.log == ["open"]
    assert life.types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert life.error is None
    assert store.log == ["open", "close"]


class StartFailed(Exception):
    pass


async def test_an_app_whose_start_fails_fails_as_it_would_alone() -> None:
    store = Store()

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        raise StartFailed("no database")
        yield

    async with living(ResponseCacheMiddleware(fastapi_app(lifespan=lifespan), store)) as life:
        pass
    assert life.types == ["lifespan.startup.failed"]
    assert "no database" in life.sent[0]["message"]
    assert isinstance(life.error, StartFailed)
    assert store.log == ["open", "close"]


async def test_an_app_whose_shutdown_fails_fails_as_it_would_alone() -> None:
    store = Store()

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        yield
        raise StartFailed("no more")

    async with living(ResponseCacheMiddleware(fastapi_app(lifespan=lifespan), store)) as life:
        pass
    assert life.types == ["lifespan.startup.complete"]
    assert isinstance(life.error, StartFailed)
    assert store.log == ["open", "close"]


# fmt: off
WHY: dict[str, tuple[type[Exception], tuple[object, ...], str]] = {
    "of the contract": (StoreUnavailable, ("cannot use x: no disk",), "cannot use x: no disk"),
    "of a driver":     (OSError, (2, "No disk"), "FileNotFoundError: [Errno 2] No disk"),
    "with a URL":      (ConnectionError, ("redis://:hu sh@disk",), "ConnectionError: redis://disk"),
    "in many lines":   (RuntimeError, ("no\n disk",), "RuntimeError: no disk"),
    "without words":   (ConnectionError, (), "ConnectionError"),
}
# fmt: on
whys = pytest.mark.parametrize(("kind", "words", "why"), WHY.values(), ids=WHY)


@whys
async def test_a_store_that_cannot_be_opened_fails_the_start_and_the_cause_is_said(
    kind: type[Exception], words: tuple[object, ...], why: str
) -> None:
    error = kind(*words)
    async with living(ResponseCacheMiddleware(fastapi_app(), Store(error=error))) as life:
        pass
    message = f"the response store could not be opened: {why}"
    assert life.sent == [{"type": "lifespan.startup.failed", "message": message}]
    assert life.error is error


@whys
async def test_without_a_lifespan_the_cause_is_logged(
    kind: type[Exception],
    words: tuple[object, ...],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = ResponseCacheMiddleware(fastapi_app(), Store(error=kind(*words)))
    call = await request(app, "POST", "/v1/responses", json=BACKGROUND)
    assert b"disk" not in call.body
    (record,) = (record for record in caplog.records if record.name == "response_cache.asgi")
    assert record.getMessage() == f"the response store could not be opened: {why}"


async def test_without_a_lifespan_the_first_request_opens_the_store() -> None:
    store = Store()
    app = ResponseCacheMiddleware(fastapi_app(), store)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(create, app)
    assert store.log == ["open"]
    assert (await ended(app, await create(app)))["status"] == "completed"


async def test_without_a_lifespan_a_store_that_cannot_be_opened_is_unavailable() -> None:
    store = Store(error=ConnectionError("redis://:password@host"))
    app = ResponseCacheMiddleware(fastapi_app(), store)
    id = "resp_rc" + "0" * 48
    for method, path, body in (
        ("POST", "/v1/responses", BACKGROUND),
        ("GET", f"/v1/responses/{id}", None),
        ("POST", f"/v1/responses/{id}/cancel", None),
    ):
        call = await request(app, method, path, json=body)
        assert (call.status, call.headers["retry-after"]) == (503, "1")
        assert call.json["error"]["message"] == "The response store could not be opened."
    store.error = None
    assert (await ended(app, await create(app)))["status"] == "completed"


async def test_foreground_work_needs_no_store() -> None:
    store = Store(error=ConnectionError())
    app = ResponseCacheMiddleware(fastapi_app(), store)
    call = await request(app, "POST", "/v1/responses", json={"model": "m", "input": "hi"})
    assert (call.status, call.body) == (200, STORY)


async def test_one_lifespan_may_follow_another() -> None:
    store = Store()
    app = ResponseCacheMiddleware(fastapi_app(), store)
    for _ in range(2):
        async with living(app):
            id = await create(app)
            assert (await ended(app, id))["status"] == "completed"
            assert not app.is_draining
    async with living(app):
        assert (await retrieve(app, id))["status"] == "completed"
    assert store.log == ["open", "close"] * 3


# Owners.


async def test_an_owner_callback_sees_the_scope_of_every_request_and_no_environ() -> None:
    seen: list[Request] = []

    async def owner(request: Request) -> Owner:
        seen.append(request)
        return Owner((request.scope or {})["session"])

    async with hosting(TOLD, owner=owner) as app:

        async def call(session: str, method: str, path: str, body: Any = None) -> Any:
            async def inside(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "session": session}, receive, send)

            return await request(inside, method, path, json=body)

        id = (await call("ann", "POST", "/v1/responses", BACKGROUND)).json["id"]
        path = f"/v1/responses/{id}"
        assert (await call("bob", "GET", path)).status == 404
        assert (await call("ann", "GET", path)).status == 200
        assert (await call("ann", "GET", f"{path}?stream=true")).status == 200
    assert [one.environ for one in seen] == [None] * 4
    assert "session" not in repr(seen[0])


# Frameworks and places.


async def test_it_can_be_added_to_a_fastapi_app() -> None:
    api = fastapi_app()
    api.add_middleware(ResponseCacheMiddleware, store="memory://")
    async with living(api):
        assert (await ended(api, await create(api)))["status"] == "completed"


async def test_it_can_be_in_the_middleware_list_of_a_starlette_app() -> None:
    app = Starlette(
        routes=[Route("/v1/responses", tell_route, methods=["POST"])],
        middleware=[Middleware(ResponseCacheMiddleware, store="memory://")],
    )
    async with living(app):
        assert (await ended(app, await create(app)))["status"] == "completed"


async def test_it_can_be_given_the_app_by_name() -> None:
    app = ResponseCacheMiddleware(app=Starlette(routes=[Route("/v1/responses", tell_route)]))
    assert (await request(app, "GET", f"/v1/responses/resp_rc{0:048}")).status == 404


async def test_it_can_wrap_a_mounted_app_which_gets_no_lifespan() -> None:
    inner = Starlette(routes=[Route("/responses", tell_route, methods=["POST"])])
    app = Starlette(routes=[Mount("/api/v1", ResponseCacheMiddleware(inner))])
    async with living(app):
        call = await request(app, "POST", "/api/v1/responses", json=BACKGROUND)
        id = call.json["id"]
        stream = await request(app, "GET", f"/api/v1/responses/{id}?stream=true")
        assert stream.events[-1]["type"] == "response.completed"


async def test_it_can_be_added_to_a_mounted_fastapi_app() -> None:
    inner = FastAPI()
    inner.post("/v1/responses")(tell)
    inner.add_middleware(ResponseCacheMiddleware)
    outer = FastAPI()
    outer.mount("/deep", inner)
    call = await request(outer, "POST", "/deep/v1/responses", json=BACKGROUND)
    stream = await request(outer, "GET", f"/deep/v1/responses/{call.json['id']}?stream=1")
    assert stream.events[-1]["type"] == "response.completed"


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
@pytest.mark.parametrize("path", ["/api/v1/responses", "/v1/responses"])
async def test_a_root_path_is_taken_off(root_path: str, path: str) -> None:
    async with hosting(TOLD) as app:
        call = await request(app, "POST", path, json=BACKGROUND, root_path=root_path)
        assert call.json["status"] == "queued"
        found = await request(app, "GET", f"{path}/{call.json['id']}", root_path=root_path)
        assert found.status == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/responses/", "/responses", "/responses/", "/openai/v1/responses"],
)
async def test_the_usual_paths_create(path: str) -> None:
    async with hosting(TOLD) as app:
        call = await request(app, "POST", path, json=BACKGROUND)
        assert call.json["status"] == "queued"


async def test_other_paths_create_where_they_are_named() -> None:
    async with hosting(TOLD, paths=("/llm/responses",)) as app:
        call = await request(app, "POST", "/llm/responses", json=BACKGROUND)
        found = await request(app, "GET", f"/llm/responses/{call.json['id']}")
        assert found.status == 200
        passed = await request(app, "POST", "/v1/responses", json=BACKGROUND)
        assert passed.events[0]["response"]["id"] == "resp_upstream"


@pytest.mark.parametrize("path", ["v1/responses", "/v1/responses/", "/v1/answers", "/"])
def test_a_path_on_which_nothing_could_be_read_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="paths"):
        ResponseCacheMiddleware(TOLD, paths=(path,))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_option"):
        ResponseCacheMiddleware(TOLD, no_such_option=1)  # type: ignore[call-overload] # a mistake


async def test_cors_outside_covers_our_answers() -> None:
    app = CORSMiddleware(
        ResponseCacheMiddleware(fastapi_app()), allow_origins=["*"], allow_methods=["*"]
    )
    origin = (b"origin", b"https://a.example")
    headers = [origin, (b"access-control-request-method", b"DELETE")]
    preflight = await request(app, "OPTIONS", "/v1/responses/resp_rc00", headers=headers)
    assert preflight.status == 200
    assert "DELETE" in preflight.headers["access-control-allow-methods"]
    call = await request(app, "POST", "/v1/responses", json=BACKGROUND, headers=[origin])
    found = await request(app, "GET", f"/v1/responses/{call.json['id']}", headers=[origin])
    assert call.headers["access-control-allow-origin"] == "*"
    assert found.headers["access-control-allow-origin"] == "*"


async def test_cors_inside_answers_preflights() -> None:
    api = fastapi_app()
    api.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"])
    api.add_middleware(ResponseCacheMiddleware)
    headers = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")]
    for path in ("/v1/responses", "/v1/responses/resp_rc00"):
        preflight = await request(api, "OPTIONS", path, headers=headers)
        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == "*"


async def test_a_head_is_a_get_without_its_body() -> None:
    async with hosting(TOLD) as app:
        id = await create(app)
        await ended(app, id)
        get = await request(app, "GET", f"/v1/responses/{id}")
        head = await request(app, "HEAD", f"/v1/responses/{id}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert head.headers["etag"] == get.headers["etag"]


# Event loops.


def drive(client: TestClient) -> str:
    """Create a response and read it to its end; gives its id."""
    reply = client.post("/v1/responses", json={**BACKGROUND, "stream": True})
    assert reply.status_code == 200
    assert "response.completed" in reply.text
    id = reply.text.partition('"id":"')[2].partition('"')[0]
    assert client.get(f"/v1/responses/{id}").json()["status"] == "completed"
    return id


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_test_client_with_a_lifespan_works(backend: Any) -> None:
    store = Store()
    api = fastapi_app()
    api.add_middleware(ResponseCacheMiddleware, store=store)
    for _ in range(2):
        with TestClient(api, backend=backend) as client:
            drive(client)
    assert store.log == ["open", "close"] * 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_test_client_without_a_lifespan_works_in_a_new_loop_each_time(backend: Any) -> None:
    store = Store()
    api = fastapi_app()
    api.add_middleware(ResponseCacheMiddleware, store=store)
    client = TestClient(api, backend=backend)
    first, second = drive(client), drive(client)
    assert client.get(f"/v1/responses/{first}").json()["status"] == "completed"
    assert client.get(f"/v1/responses/{second}?stream=true").text.count("data: ") > 4
    assert client.post(f"/v1/responses/{first}/cancel").status_code == 400
    assert client.delete(f"/v1/responses/{first}").json()["deleted"] is True
    assert client.get(f"/v1/responses/{first}").status_code == 404
    assert store.log == ["open", "close"] * (len(store.log) // 2)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_response_that_outlives_its_event_loop_fails(backend: Any) -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    client = TestClient(
        ResponseCacheMiddleware(endless, admission_wait=0.01, take_lease=0.1), backend=backend
    )
    id = client.post("/v1/responses", json=BACKGROUND).json()["id"]
    body = client.get(f"/v1/responses/{id}").json()
    assert (body["status"], body["error"]["code"]) == ("failed", "server_error")


def test_a_failing_start_reaches_the_test_client_unwrapped() -> None:
    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        raise StartFailed
        yield

    api = fastapi_app(lifespan=lifespan)
    api.add_middleware(ResponseCacheMiddleware)
    with pytest.raises(StartFailed), TestClient(api):
        pass


async def both(app: Any) -> str:
    id = await create(app)
    assert (await ended(app, id))["status"] == "completed"
    return id


def test_several_event_loops_may_use_one_middleware_one_after_the_other() -> None:
    app = ResponseCacheMiddleware(TOLD, Store())
    ids = [asyncio.run(both(app)), trio.run(both, app), asyncio.run(both(app))]
    for id in ids:
        assert asyncio.run(retrieve(app, id))["status"] == "completed"


def test_an_event_loop_that_was_never_tidied_up_harms_no_other() -> None:
    app = ResponseCacheMiddleware(TOLD, Store())
    left = asyncio.new_event_loop()
    left.run_until_complete(both(app))
    asyncio.run(both(app))
    tasks = asyncio.all_tasks(left)
    for task in tasks:
        task.cancel()
    ends = left.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    left.close()
    assert ends
    assert {type(end) for end in ends} <= {asyncio.CancelledError, type(None)}


def test_several_event_loops_may_use_one_middleware_at_the_same_time() -> None:
    store = Store()
    app = ResponseCacheMiddleware(TOLD, store)
    barrier = threading.Barrier(2, timeout=WAIT_TIMEOUT)
    results: list[str] = []

    async def work() -> None:
        await both(app)
        await anyio.to_thread.run_sync(barrier.wait)
        results.append(await both(app))

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(results) == 2
    assert store.log == ["open", "open", "close", "close"]


async def test_an_httpx_client_can_use_it_in_process() -> None:
    app = ResponseCacheMiddleware(TOLD)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/v1") as client:
        created = await client.post("/responses", json=BACKGROUND)
        reply = await client.get(f"/responses/{created.json()['id']}", params={"stream": "true"})
    assert "response.completed" in reply.text


async def test_pages_of_the_app_are_its_own() -> None:
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("home"))])
    async with hosting(app) as middleware:
        assert (await request(middleware, "GET", "/")).body == b"home"
