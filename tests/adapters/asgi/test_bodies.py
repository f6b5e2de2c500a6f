"""Bodies of creates while they are read: how long it may take, how large they may be together."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from tests.adapters.asgi.driver import TOLD, Call, calling, eventually, hosting, request
from tests.adapters.servers import DEADLINE, serving

pytestmark = pytest.mark.slow

SHORT_TIMEOUT = 0.1  # seconds of a time-out that is to pass
LONG_TIMEOUT = 2.0  # seconds of one that is not
CREATE = b'{"background": true, "model": "m", "input": "%b"}' % (b"x" * 560)


def piece(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_a_create_whose_body_stalls_is_told_so(pieces: int) -> None:
    async with (
        hosting(TOLD, body_timeout=SHORT_TIMEOUT) as app,
        calling(app, "POST", "/v1/responses", body=[b"{"] * 3) as call,
    ):
        del call.incoming[pieces:]
        await call.until_over()
    error = call.json["error"]
    assert (call.status, error["type"]) == (408, "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}


async def test_a_body_is_timed_between_its_pieces_and_not_as_a_whole() -> None:
    async with (
        hosting(TOLD, body_timeout=LONG_TIMEOUT) as app,
        calling(app, "POST", "/v1/responses", body=[b"", b""]) as call,
    ):
        call.incoming.pop()
        for number in range(0, len(CREATE), 200):
            await anyio.sleep(LONG_TIMEOUT / 3)
            part, rest = CREATE[number : number + 200], CREATE[number + 200 :]
            call.give(piece(part, more=bool(rest)))
        await call.until_over()
    assert call.json["status"] == "queued"


async def test_creates_that_are_read_share_their_room() -> None:
    limits: dict[str, Any] = {"max_reading_bytes": 1000, "max_request_bytes": 900}
    async with hosting(TOLD, **limits) as app:
        async with reading(app) as first:
            refused = await request(app, "POST", "/v1/responses", body=CREATE)
            first.give(piece(b"", more=False))
            await first.until_over()
        later = await request(app, "POST", "/v1/responses", body=CREATE)
    assert first.json["status"] == later.json["status"] == "queued"
    assert (refused.status, refused.json["error"]["type"]) == (503, "server_error")
    assert refused.headers["retry-after"] == "1"


async def test_a_body_keeps_its_room_until_it_was_judged() -> None:
    long = b'{"background": true, "input": [%b""]}' % (b'"\\u00e9",' * 90_000)  # takes a while
    limits: dict[str, Any] = {"max_reading_bytes": len(long), "max_request_bytes": len(long)}
    async with hosting(TOLD, **limits) as app:
        async with (
            calling(app, "POST", "/v1/responses", body=long) as first,
            calling(app, "POST", "/v1/responses", body=long) as second,
        ):
            await first.until_over()
            await second.until_over()
        later = await request(app, "POST", "/v1/responses", body=CREATE)
    assert {first.status, second.status} == {400, 503}
    assert later.json["status"] == "queued"


async def test_a_create_that_waits_for_its_end_leaves_its_room_to_others() -> None:
    called = anyio.Event()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("http only")
        called.set()
        await anyio.sleep_forever()

    limits: dict[str, Any] = {"max_reading_bytes": 1000, "max_request_bytes": 900}
    waits = [(b"prefer", b"wait=50")]
    async with (
        hosting(silent, **limits) as app,
        calling(app, "POST", "/v1/responses", headers=waits, body=CREATE) as first,
    ):
        await called.wait()
        other = await request(app, "POST", "/v1/responses", body=CREATE)
    assert (other.json["status"], first.sent) == ("queued", [])


@pytest.mark.parametrize("way", ["goes", "stalls", "is too large"])
async def test_the_room_of_a_create_that_fails_is_given_back(way: str) -> None:
    limits: dict[str, Any] = {
        "max_reading_bytes": 1000,
        "max_request_bytes": 900,
        "body_timeout": SHORT_TIMEOUT,
    }
    async with hosting(TOLD, **limits) as app:
        async with reading(app) as first:
            if way == "goes":
                first.disconnect()
            elif way == "is too large":
                first.give(piece(CREATE, more=True))
            await first.until_over()
        later = await request(app, "POST", "/v1/responses", body=CREATE)
    assert later.json["status"] == "queued"


async def test_one_body_of_its_own_limit_is_read_though_the_room_is_smaller() -> None:
    async with hosting(TOLD, max_reading_bytes=1, max_request_bytes=len(CREATE)) as app:
        call = await request(app, "POST", "/v1/responses", body=CREATE)
    assert call.json["status"] == "queued"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # uvicorn's only one
async def test_a_body_in_several_gzip_members_is_read_from_a_socket() -> None:
    packed = gzip.compress(CREATE[:200]) + gzip.compress(b"") + gzip.compress(CREATE[200:])
    coding = {"content-encoding": "gzip"}
    async with (
        serving(ResponseCacheMiddleware(TOLD, drain_on_signals=False), lifespan="on") as url,
        httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
    ):
        whole = await client.post("/v1/responses", content=packed, headers=coding)
        cut = await client.post("/v1/responses", content=packed[:-1], headers=coding)
    assert (whole.status_code, whole.json()["status"]) == (200, "queued")
    assert (cut.status_code, cut.json()["error"]["type"]) == (400, "invalid_request_error")


@asynccontextmanager
async def reading(app: ASGIApp) -> AsyncIterator[Call]:
    """A create whose body has come but for its end."""
    async with calling(app, "POST", "/v1/responses", body=[CREATE, b""]) as call:
        call.incoming.pop()
        await eventually(lambda: not call.incoming)
        yield call
