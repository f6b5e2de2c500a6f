"""What a create asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from response_cache._protocol.headers import Headers
from response_cache._protocol.ids import ANYBODY, Owner
from response_cache.cache import ResponseCache
from response_cache.errors import InvalidRequest
from response_cache.http._creates import BackgroundCreate, read_create, reply_without_cache
from response_cache.http._messages import Body, PassThrough, Request
from response_cache.options import Options

OURS = "resp_rc" + "0a" * 24


def create(headers: Headers = (), **body: Any) -> Request:
    return Request("POST", "/v1/responses", b"", headers, json.dumps(body).encode())


async def anybody(_request: Request) -> Owner:
    return ANYBODY


async def read(request: Request, **options: Any) -> BackgroundCreate | Body | PassThrough:
    return await read_create(ResponseCache(options=Options(**options)), anybody, request)


async def background(request: Request, **options: Any) -> BackgroundCreate:
    found = await read(request, **options)
    assert isinstance(found, BackgroundCreate)
    return found


# --- Without a cache ---------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"background_options": {}}, {"input": "in the background"}])
def test_foreground_work_needs_no_cache(body: dict[str, Any]) -> None:
    assert reply_without_cache(create(**body)) == PassThrough()


@pytest.mark.parametrize(
    "request_",
    [
        create(background=True),
        create(background=False),
        create(previous_response_id=OURS),
        create(((b"content-encoding", b"gzip"),)),
    ],
    ids=["background", "foreground, said", "continues ours", "encoded"],
)
def test_what_may_be_ours_needs_a_cache(request_: Request) -> None:
    assert reply_without_cache(request_) is None


def test_what_is_too_long_is_refused_only_where_it_asks_for_background_work() -> None:
    assert reply_without_cache(create(input="x"), cut_at=20) == PassThrough()
    refused = reply_without_cache(create(background=True), cut_at=20)
    assert isinstance(refused, Body)
    assert refused.status == 413
    assert b"20 bytes" in refused.content


# --- With one ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"background": False}, {"background": None}])
async def test_foreground_work_passes_as_it_came(given: dict[str, Any]) -> None:
    assert await read(create(input="hi", **given)) == PassThrough()


async def test_background_work_is_read() -> None:
    request = create(background=True, input="hi")
    found = await background(request)
    assert (found.request.body["input"], found.data) == ("hi", request.body)
    assert (found.owner, found.key, found.wait) == (ANYBODY, None, None)
    assert not found.may_take_long


async def test_a_wait_and_a_key_may_take_long() -> None:
    waiting = await background(create(((b"prefer", b"wait=99"),), background=True), max_wait=40)
    assert (waiting.wait, waiting.may_take_long) == (40, True)
    keyed = await background(create(((b"idempotency-key", b"k"),), background=True))
    assert (keyed.key, keyed.may_take_long) == ("k", True)


async def test_nobody_waits_for_the_end_of_a_stream_before_it_begins() -> None:
    found = await background(create(((b"prefer", b"wait=9"),), background=True, stream=True))
    assert found.wait is None


@pytest.mark.parametrize("length", [255, 256])
async def test_a_key_has_at_most_255_characters(length: int) -> None:
    request = create(((b"idempotency-key", b"k" * length),), background=True)
    if length <= 255:
        assert (await background(request)).key == "k" * length
        return
    with pytest.raises(InvalidRequest, match="255"):
        await read(request)


async def test_a_value_that_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await read(create(background="yes"))
    assert caught.value.param == "background"
