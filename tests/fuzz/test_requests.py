"""Whatever clients ask: no exception, no shape of our own, and nobody touches what is another's.

One app, two owners. Mallory asks for anything, in any spelling, with every id that there is; what
she may never get is Alice's words, and what she may never do is to change Alice's responses.
"""

from __future__ import annotations

import gzip
import json
import os
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import Receive, Scope, Send
from tests.adapters.asgi.driver import (
    EVENT_STREAM,
    Call,
    calling,
    hosting,
    piece,
    read_body,
    request,
    sse,
    start,
    story,
)
from tests.fuzz.damage import json_values

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))

ALICE: Final = (b"authorization", b"Bearer alice")
SECRET: Final = "what-alice-was-told"
PASSED: Final = 299
"""The app's own answer to what is passed on."""

METHODS: Final = ("GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "get", "TRACE", "X")
ENDS: Final = ("", "/", "/cancel", "/input_items", "/cancel/", "//cancel", "/x", "%2fcancel", "/..")
STARTS: Final = ("/v1", "", "/openai/v1", "/openai", "/x/y", "//v1", "/v1/", "/v1/responses/x/..")
QUERIES: Final = (
    *("", "stream=true", "stream=1&starting_after=2", "starting_after=-1", "stream=maybe"),
    *("starting_after=99999999999999999999999999", "starting_after=%00", "limit=1&order=asc"),
    *("limit=0", "order=up", "after=x", "include[]=x&include[]=y", "&&==", "stream=true&stream=0"),
)
HEADERS: Final = (
    *((b"authorization", b"Bearer mallory"), (b"authorization", b""), (b"api-key", b"alice")),
    *((b"prefer", b"wait=0"), (b"prefer", b"wait=99999999999")),
    *((b"prefer", b'respond-async, wait="0"'), (b"if-none-match", b"*"), (b"if-none-match", b'"x')),
    *((b"content-encoding", b"gzip"), (b"content-encoding", b"br"), (b"idempotency-key", b"k")),
    *((b"idempotency-key", b"k" * 300), (b"x-forwarded-user", b"alice"), (b"origin", b"null")),
    *((b"content-type", b"text/plain"), (b"content-length", b"-1"), (b"cookie", b"\xff\xfe")),
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells background runs a story with the caller's credential in it; marks what is passed on."""
    assert scope["type"] == "http"
    await read_body(receive)
    if "response_cache" not in scope["extensions"]:
        await start(send, status=PASSED)
        await piece(send, b"passed on", more=False)
        return
    is_alice = ALICE in scope["headers"]
    await start(send, EVENT_STREAM)
    await piece(send, sse(*story(SECRET if is_alice else "hm", " and more")), more=False)


@st.composite
def paths(draw: st.DrawFn, ids: list[str]) -> str:
    start, id, end = (draw(st.sampled_from(options)) for options in (STARTS, ids, ENDS))
    id = draw(st.sampled_from((id, id, id, id.upper(), id[:-1], id + "0", "%72" + id[1:], "")))
    query = draw(st.sampled_from(QUERIES))
    return f"{start}/responses/{id}{end}?{query}"


@st.composite
def create_bodies(draw: st.DrawFn, ids: list[str]) -> bytes:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=30))
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "model": st.one_of(st.just("m"), json_values),
                "input": st.one_of(st.just("hi"), json_values),
                "background": st.sampled_from((True, True, True, False, None, 1, "true")),
                "stream": st.sampled_from((False, None, 0, "x")),
                "store": st.one_of(st.booleans(), json_values),
                "metadata": st.one_of(st.just({"a": "b"}), json_values),
                "previous_response_id": st.one_of(st.sampled_from(ids), json_values),
                "instructions": json_values,
                "tools": json_values,
                "text": json_values,
                "reasoning": json_values,
                "conversation": json_values,
            },
        )
    )
    body = json.dumps(fields).encode()
    return gzip.compress(body) if draw(st.integers(0, 5)) == 0 else body


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_request_breaks_a_promise(data: st.DataObject) -> None:
    anyio.run(siege, data)


async def siege(data: st.DataObject) -> None:
    """Some of Mallory's requests, and what must be so after each."""
    async with hosting(app) as middleware:
        ids = [await create_as_alice(middleware) for _ in range(2)]
        before = [await seen_by_alice(middleware, id) for id in ids]
        for _ in range(data.draw(st.integers(1, 6))):
            call = await ask(middleware, data, ids)
            check(call)
        assert [await seen_by_alice(middleware, id) for id in ids] == before


async def create_as_alice(middleware: ResponseCacheMiddleware) -> str:
    body = {"model": "m", "input": SECRET, "background": True, "stream": True}
    call = await request(middleware, "POST", "/v1/responses", json=body, headers=[ALICE])
    return str(call.events[0]["response"]["id"])


async def seen_by_alice(middleware: ResponseCacheMiddleware, id: str) -> Any:
    call = await request(middleware, "GET", f"/v1/responses/{id}", headers=[ALICE])
    assert call.status == 200
    assert call.json["status"] == "completed"
    return call.json


async def ask(middleware: ResponseCacheMiddleware, data: st.DataObject, ids: list[str]) -> Call:
    headers = data.draw(st.lists(st.sampled_from(HEADERS), max_size=4), label="headers")
    if data.draw(st.booleans(), label="a create"):
        method, path = "POST", f"/v1/responses?{data.draw(st.sampled_from(QUERIES))}"
        body = data.draw(create_bodies(ids), label="body")
    else:
        method = data.draw(st.sampled_from(METHODS), label="method")
        path, body = data.draw(paths(ids), label="path"), data.draw(st.binary(max_size=5))
    async with calling(middleware, method, path, body=body, headers=headers) as call:
        await call.until_over()
    if call.error is not None:
        raise call.error
    return call


def check(call: Call) -> None:
    """One whole answer: the app's own, or one of ours as the API words it."""
    assert SECRET.encode() not in call.body
    assert call.is_complete
    if call.status == PASSED:
        return
    assert call.status in (200, 304, 400, 404, 405, 413, 422)
    if call.status < 400:
        return
    assert call.scope["method"] != "HEAD" or not call.body
    if call.body:
        assert set(call.json) == {"error"}
        assert set(call.json["error"]) == {"message", "type", "param", "code"}
