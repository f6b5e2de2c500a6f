"""The front before the proxy: what passes, what a run looks like, what happens without a cache."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from response_cache import Options
from response_cache.errors import StoreUnavailable
from response_cache.stores.memory import MemoryStore
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from response_cache_litellm._proxy.background_run import current_background_run
from response_cache_litellm._proxy.front import ProxyFront
from tests.adapters.asgi.driver import TOLD, create, ended, living, read_body, request, retrieve

BACKGROUND = {"model": "m", "input": "hi", "background": True}
CALL_ID = b"x-litellm-call-id"


@pytest.fixture
def anyio_backend() -> str:
    """LiteLLM is asyncio's."""
    return "asyncio"


class Proxy:
    """An app that remembers what it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.runs: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.runs.append(current_background_run.get())
        body = await read_body(receive)
        self.bodies.append(body)

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await TOLD(scope, again, send)


def front_of(proxy: ASGIApp, make_cache: Any = ResponseCacheMiddleware) -> ProxyFront:
    return ProxyFront(
        proxy, make_cache=make_cache, with_reply_headers=lambda app: app, paths=Options().paths
    )


async def test_a_run_is_called_by_our_id_whatever_the_client_says() -> None:
    proxy = Proxy()
    front = front_of(proxy)
    fields = [(CALL_ID, b"forged"), (b"accept", b"application/json")]
    call = await request(front, "POST", "/v1/responses", json=BACKGROUND, headers=fields)
    id = call.json["id"]
    await ended(front, id)
    headers = proxy.scopes[0]["headers"]
    assert [value for name, value in headers if name == CALL_ID] == [id.encode()]
    assert [value for name, value in headers if name == b"accept"] == [b"text/event-stream"]
    assert proxy.runs[0].answer.id == id


async def test_what_is_passed_on_is_no_run() -> None:
    proxy = Proxy()
    front = front_of(proxy)
    await request(front, "POST", "/v1/responses", json={"model": "m", "input": "hi"})
    await request(front, "GET", "/v1/responses/resp_of_the_proxy")
    assert proxy.runs == [None, None]


async def test_a_poll_never_reaches_the_proxy() -> None:
    proxy = Proxy()
    front = front_of(proxy)
    id = await create(front)
    await ended(front, id)
    assert (await retrieve(front, id))["status"] == "completed"
    assert len(proxy.scopes) == 1


class Unwilling(MemoryStore):
    """A store that opens at the second attempt."""

    is_willing = False

    async def open(self) -> None:
        if not self.is_willing:
            self.is_willing = True
            raise StoreUnavailable("no such Redis")
        await super().open()


async def test_a_door_that_sees_the_lifespan_fails_the_start_where_the_store_is_not_open() -> None:
    store = Unwilling()
    api = FastAPI()
    front = front_of(api, lambda app: ResponseCacheMiddleware(app, store))
    async with living(front) as life:
        pass
    words = "the response store could not be opened: no such Redis"
    assert life.sent[0] == {"type": "lifespan.startup.failed", "message": words}
    async with living(front) as life:
        assert life.types == ["lifespan.startup.complete"]


async def test_without_a_cache_the_proxy_is_as_if_alone(caplog: pytest.LogCaptureFixture) -> None:
    def impossible(_app: ASGIApp) -> ResponseCacheMiddleware:
        raise ValueError("no such Redis")

    proxy = Proxy()
    front = front_of(proxy, impossible)
    for _ in range(2):
        await request(front, "POST", "/v1/responses", json=BACKGROUND)
    assert proxy.runs == [None, None]
    assert b'"background"' in proxy.bodies[0]
    (record,) = caplog.records
    assert record.getMessage() == "background responses are off: no such Redis"
