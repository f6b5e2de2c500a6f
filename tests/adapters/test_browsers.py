"""A page of another origin that may start a response may also read it, over real HTTP.

The table of sites is the promise: whoever says today whom pages of other origins may be (the app
inside, middleware outside, the upstream, an option), says it for our replies, too, and once.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from flask import Flask, Response
from flask_cors import CORS
from werkzeug.serving import make_server

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from response_cache_server import BuiltInUpstream, Settings, build_app
from response_cache_wsgi import ResponseCacheMiddleware as WSGIMiddleware
from tests.adapters.browser import Blocked, Page, shown
from tests.adapters.servers import serving
from tests.adapters.wsgi.driver import request as wsgi_request
from tests.deadlines import WAIT_TIMEOUT

pytestmark = pytest.mark.slow

PAGE: Final = "https://page.example"
OTHER: Final = "https://other.example"
STARS: Final[dict[str, Any]] = {name: ["*"] for name in ("allow_methods", "allow_headers")}
ANYBODY: Final = {**STARS, "allow_origins": ["*"]}
LISTED: Final = {**STARS, "allow_origins": [PAGE], "allow_credentials": True}
FAST: Final = {"words": "3", "pace": "0"}
ENDLESS: Final = {"words": "100000", "pace": "0.02"}
FOREGROUND: Final = {"model": "m", "input": "hi", "metadata": FAST}
CREATE: Final = {**FOREGROUND, "background": True}

Site = AbstractAsyncContextManager[str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Sites: each gives the base URL.


def app() -> FastAPI:
    made = FastAPI()
    made.mount("/", BuiltInUpstream())
    return made


def bare(**options: Any) -> Site:
    """An app that knows of no CORS."""
    return serving(ResponseCacheMiddleware(app(), **options), lifespan="on")


def inside(cors: dict[str, Any], **options: Any) -> Site:
    """FastAPI with CORS inside of the cache."""
    made = app()
    made.add_middleware(CORSMiddleware, **cors)
    made.add_middleware(ResponseCacheMiddleware, **options)
    return serving(made)


def outside(cors: dict[str, Any], **options: Any) -> Site:
    """FastAPI with CORS outside of the cache."""
    made = app()
    made.add_middleware(ResponseCacheMiddleware, **options)
    made.add_middleware(CORSMiddleware, **cors)
    return serving(made, lifespan="on")


def both(cors: dict[str, Any]) -> Site:
    """CORS on both sides."""
    made = app()
    made.add_middleware(CORSMiddleware, **cors)
    made.add_middleware(ResponseCacheMiddleware)
    made.add_middleware(CORSMiddleware, **cors)
    return serving(made, lifespan="on")


@asynccontextmanager
async def sidecar(cors: dict[str, Any] | None, **settings: Any) -> AsyncIterator[str]:
    """The sidecar in front of an upstream with that CORS."""
    upstream: ASGIApp = BuiltInUpstream()
    if cors is not None:
        upstream = CORSMiddleware(upstream, **cors)
    async with serving(upstream) as url:
        wrapped = build_app(Settings(upstream=f"{url}/v1", **settings), drain_on_signals=False)
        async with serving(wrapped, lifespan="on") as here:
            yield here


@asynccontextmanager
async def flask(cors: dict[str, Any] | None, **options: Any) -> AsyncIterator[str]:
    """Flask under its own server, with flask-cors in it."""
    made = Flask("site")

    @made.post("/v1/responses")
    def create() -> Response:
        done = '{"type": "response.completed", "response": {"status": "completed", "output": []}}'
        return Response(f"data: {done}\n\n", mimetype="text/event-stream")

    if cors is not None:
        CORS(made, **cors)
    wrapped = WSGIMiddleware(made.wsgi_app, drain_on_signals=False, **options)
    server = make_server("127.0.0.1", 0, wrapped, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        await anyio.to_thread.run_sync(server.shutdown)
        await anyio.to_thread.run_sync(thread.join)
        server.server_close()
        await anyio.to_thread.run_sync(wrapped.close)


ALLOWED: Final = {"cors_origins": (PAGE,)}
# fmt: off
SITES: list[Any] = [
    pytest.param(lambda: inside(ANYBODY),                    id="inside-anybody"),
    pytest.param(lambda: inside(LISTED),                     id="inside-listed"),
    pytest.param(lambda: outside(ANYBODY),                   id="outside-anybody"),
    pytest.param(lambda: outside(LISTED),                    id="outside-listed"),
    pytest.param(lambda: both(LISTED),                       id="both"),
    pytest.param(lambda: bare(**ALLOWED),                    id="option"),
    pytest.param(lambda: inside(LISTED, cors_origins=(OTHER, PAGE)), id="inside-and-option"),
    pytest.param(lambda: outside(LISTED, **ALLOWED),         id="outside-and-option"),
    pytest.param(lambda: sidecar(ANYBODY),                   id="sidecar-anybody"),
    pytest.param(lambda: sidecar(LISTED),                    id="sidecar-listed"),
    pytest.param(lambda: sidecar(None, **ALLOWED),           id="sidecar-option"),
    pytest.param(lambda: flask({"origins": PAGE}, **ALLOWED), id="flask-and-option"),
    pytest.param(lambda: flask(None, **ALLOWED),             id="flask-option"),
]
# fmt: on


@asynccontextmanager
async def page(url: str, origin: str = PAGE, **options: Any) -> AsyncIterator[Page]:
    opened = Page(url, origin, **options)
    try:
        yield opened
    finally:
        await opened.aclose()


async def read_it_all(page: Page, *, with_cancel: bool = True) -> None:
    """What a chat in a page does: every reply of it is there to be read."""
    made = await page.fetch("POST", "/v1/responses", json=CREATE)
    path = f"/v1/responses/{made.json()['id']}"
    done = await page.fetch("GET", path, headers={"prefer": "wait=20"})
    assert done.json()["status"] == "completed"
    assert done.headers["preference-applied"] == "wait=20"
    assert done.headers["x-request-id"]
    known = await page.fetch("GET", path, headers={"if-none-match": done.headers["etag"]})
    assert known.status_code == 304
    assert "response.completed" in (await page.fetch("GET", f"{path}?stream=true")).text
    assert (await page.fetch("GET", f"{path}/input_items")).json()["object"] == "list"
    streamed = await page.fetch("POST", "/v1/responses", json={**CREATE, "stream": True})
    assert "response.completed" in streamed.text
    assert (await page.fetch("POST", f"{path}/cancel")).status_code == 400
    assert (await page.fetch("DELETE", path)).json()["deleted"]
    assert (await page.fetch("GET", path)).json()["error"]["message"]
    if with_cancel:
        made = await page.fetch("POST", "/v1/responses", json={**CREATE, "metadata": ENDLESS})
        path = f"/v1/responses/{made.json()['id']}"
        assert int((await page.fetch("GET", path)).headers["openai-poll-after-ms"])
        assert (await page.fetch("POST", f"{path}/cancel")).json()["status"] == "cancelled"
        await page.fetch("DELETE", path)


@pytest.mark.parametrize("site", SITES)
async def test_a_page_reads_what_it_started(
    site: Callable[[], Site], request: pytest.FixtureRequest
) -> None:
    is_flask = "flask" in request.node.name  # that app is done at once
    async with site() as url, page(url) as here:
        await read_it_all(here, with_cancel=not is_flask)
        foreground = await here.fetch("POST", "/v1/responses", json=FOREGROUND)
        assert foreground.status_code == 200


@pytest.mark.parametrize("site", [lambda: inside(LISTED), lambda: sidecar(LISTED)])
async def test_a_page_with_cookies_reads_where_the_app_lets_it(site: Callable[[], Site]) -> None:
    async with site() as url, page(url, with_cookies=True) as here:
        await read_it_all(here)


@pytest.mark.parametrize(
    "site",
    [
        lambda: inside(LISTED),
        lambda: outside(LISTED),
        lambda: bare(),
        lambda: bare(**ALLOWED),
        lambda: sidecar(LISTED),
        lambda: sidecar(None),
        lambda: flask({"origins": PAGE}),
        lambda: flask(None),
    ],
)
async def test_a_page_that_may_not_is_told_nothing(site: Callable[[], Site]) -> None:
    async with site() as url, page(url, OTHER) as here:
        with pytest.raises(Blocked):
            await here.fetch("POST", "/v1/responses", json=CREATE)
        async with httpx.AsyncClient(base_url=url) as client:
            made = await client.post("/v1/responses", json=CREATE, headers={"origin": OTHER})
            assert made.status_code == 200
            assert "access-control-allow-origin" not in made.headers
            assert "origin" in made.headers["vary"].lower()


async def test_with_an_empty_option_nobody_is_told_anything() -> None:
    async with inside(LISTED, cors_origins=()) as url, httpx.AsyncClient(base_url=url) as client:
        made = await client.post("/v1/responses", json=CREATE, headers={"origin": PAGE})
    assert made.status_code == 200
    assert not [name for name in made.headers if name.startswith("access-control-")]


async def test_an_app_that_knows_its_own_routes_alone_is_asked_about_those() -> None:
    """flask-cors: the app has no route of ours, and pages without a key ask no preflight."""
    cors = {"origins": PAGE, "supports_credentials": True}
    async with flask(cors) as url, page(url, key="", with_cookies=True) as here:
        made = await here.fetch("POST", "/v1/responses", json=CREATE)
        path = f"/v1/responses/{made.json()['id']}"
        assert (await here.fetch("GET", path)).json()["id"] == made.json()["id"]
        assert (await here.fetch("GET", f"{path}?stream=true")).text
        assert (await here.fetch("POST", f"{path}/cancel")).json()


# Our refusals.

ID: Final = "resp_rc" + "0" * 48
# fmt: off
ERRORS: list[Any] = [
    pytest.param("POST", "",              {**CREATE, "metadata": 1},                       400),
    pytest.param("POST", "",              {**CREATE, "metadata": {"status": "403"}},       403),
    pytest.param("GET",  f"/{ID}",        None,                                            404),
    pytest.param("PUT",  f"/{ID}",        None,                                            405),
    pytest.param("POST", "",              {**CREATE, "input": "x" * 9000},                 413),
    pytest.param("POST", "",              {**CREATE, "metadata": ENDLESS, "user": "other"}, 422),
    pytest.param("POST", "",              {**CREATE, "metadata": {"status": "429"}},       429),
    pytest.param("POST", "",              {**CREATE, "metadata": {"status": "503"}},       503),
]
# fmt: on


@pytest.fixture
async def strict() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a site that takes little, whose CORS is inside."""
    async with inside(LISTED, max_request_bytes=8000, max_waiting=0, max_running=1) as url:
        headers = {"origin": PAGE, "authorization": "Bearer k", "idempotency-key": "once"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            yield client


@pytest.mark.parametrize(("method", "path", "body", "status"), ERRORS)
async def test_a_page_reads_our_errors(
    strict: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    if status == 422:
        await strict.post("/v1/responses", json={**CREATE, "metadata": ENDLESS})
    reply = await strict.request(method, f"/v1/responses{path}", json=body)
    assert reply.status_code == status
    assert shown(reply, PAGE, with_cookies=True).json()["error"]["message"]


async def test_a_page_reads_that_there_is_no_place_left(strict: httpx.AsyncClient) -> None:
    await strict.post("/v1/responses", json={**CREATE, "metadata": ENDLESS})
    reply = await strict.post("/v1/responses", json=CREATE, headers={"idempotency-key": "another"})
    assert reply.status_code == 429
    seen = shown(reply, PAGE)
    assert seen.json()["error"]["type"] == "rate_limit_error"
    assert int(seen.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "site",
    [
        lambda: inside(LISTED, store="sqlite:////no/such/folder/a.db"),
        lambda: flask({"origins": PAGE}, store="sqlite:////no/such/folder/a.db"),
    ],
)
async def test_a_page_reads_that_the_store_is_away(site: Callable[[], Site]) -> None:
    async with site() as url, httpx.AsyncClient(base_url=url) as client:
        reply = await client.post("/v1/responses", json=CREATE, headers={"origin": PAGE})
        assert reply.status_code == 503
        seen = shown(reply, PAGE)
        assert seen.json()["error"]["type"] == "server_error"
        assert seen.headers["retry-after"]


# What it costs the app.


class Counting:
    """An app with CORS that keeps the preflights it gets."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self._app = CORSMiddleware(BuiltInUpstream(), **LISTED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            self.asked.append(dict(scope))
        await self._app(scope, receive, send)


@asynccontextmanager
async def wrapped(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app* with the cache around it."""
    async with (
        serving(ResponseCacheMiddleware(app), lifespan="on") as url,
        httpx.AsyncClient(base_url=url, timeout=WAIT_TIMEOUT) as client,
    ):
        yield client


async def test_nobody_is_asked_for_a_client_that_is_no_page() -> None:
    counting = Counting()
    async with wrapped(counting) as client:
        made = (await client.post("/v1/responses", json=CREATE)).json()
        reply = await client.get(f"/v1/responses/{made['id']}")
    assert not counting.asked
    assert "access-control-allow-origin" not in reply.headers


async def test_the_app_is_asked_once_and_in_nobodys_name() -> None:
    counting = Counting()
    headers = {"origin": PAGE, "authorization": "Bearer secret", "cookie": "a=secret"}
    async with wrapped(counting) as client:
        for _ in range(3):
            reply = await client.post("/v1/responses?api-key=secret", json=CREATE, headers=headers)
            assert reply.headers["access-control-allow-origin"] == PAGE
    (asked,) = counting.asked
    assert "secret" not in repr(asked)
    names = [name for name, _ in asked["headers"]]
    assert names == [b"host", b"origin", b"access-control-request-method"]


async def test_foreground_work_is_the_apps_alone() -> None:
    counting = Counting()
    async with wrapped(counting) as client, page(str(client.base_url)) as here:
        await here.fetch("POST", "/v1/responses", json=FOREGROUND)
    assert len(counting.asked) == 1  # by the page itself


async def test_a_preflight_that_the_app_never_answers_delays_no_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reply waits for a bounded time, and the response is made meanwhile."""
    monkeypatch.setattr("response_cache.http._preflights.ANSWER_TIMEOUT", 0.2)
    built_in = BuiltInUpstream()
    ran = anyio.Event()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await ran.wait()
            await anyio.sleep_forever()
        ran.set()
        await built_in(scope, receive, send)

    async with wrapped(silent) as client:
        reply = await client.post("/v1/responses", json=CREATE, headers={"origin": PAGE})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


async def test_a_wsgi_app_that_blocks_on_preflights_keeps_few_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("response_cache.http._preflights.ANSWER_TIMEOUT", 0.05)
    gate, blocked = threading.Event(), []

    def blocking(environ: Any, start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "OPTIONS":
            blocked.append(environ)
            gate.wait(60)
        start_response("204 No Content", [])
        return []

    wrapped = WSGIMiddleware(blocking, drain_on_signals=False)
    headers = [("origin", PAGE), ("authorization", "Bearer secret"), ("cookie", "a=secret")]

    def ask(number: int) -> None:
        named = [("origin", f"https://{number}.example"), *headers[1:]]
        reply = wsgi_request(wrapped, "GET", f"/v1/responses/{ID}?api-key=secret", headers=named)
        assert reply.status == 404
        assert "access-control-allow-origin" not in reply.fields

    try:
        for number in range(20):
            await anyio.to_thread.run_sync(ask, number)
        assert len(blocked) == 8
        assert "secret" not in repr(blocked)
    finally:
        gate.set()
        await anyio.to_thread.run_sync(wrapped.close)
