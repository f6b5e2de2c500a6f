"""Whatever a wrapped app answers, in whatever form, becomes one well-formed response."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import anyio
import pytest

from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from tests.adapters.asgi.driver import (
    ADDRESS,
    EVENT_STREAM,
    JSON,
    answering,
    create,
    ended,
    hosting,
    message_item,
    piece,
    read_body,
    replay,
    request,
    response,
    sse,
    start,
    story,
)

STORY = story("Once ", "upon ", "a time")
TEXT = "Once upon a time"
TYPES = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_item.done",
    "response.completed",
]


def text_of(body: dict[str, Any]) -> str:
    return str(body["output"][0]["content"][0]["text"])


def named(*events: dict[str, Any]) -> bytes:
    """Events with an ``event`` line each."""
    return b"".join(b"event: %b\n%b" % (e["type"].encode(), sse(e)) for e in events)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]


PLAIN = sse(*STORY)
FRAMINGS = {
    "in-one-piece": [PLAIN],
    "byte-by-byte": pieces(PLAIN, 1),
    "in-odd-pieces": pieces(PLAIN, 7),
    "event-by-event": [sse(event) for event in STORY],
    "with-event-lines": [named(*STORY)],
    "CRLF": pieces(PLAIN.replace(b"\n", b"\r\n"), 5),
    "CR": pieces(PLAIN.replace(b"\n", b"\r"), 5),
    "comments-between": [b": hello\n\n", *(b":\n" + sse(event) for event in STORY)],
    "no-final-blank-line": [PLAIN.rstrip(b"\n")],
    "done-marker": [PLAIN, sse(b"[DONE]")],
    "byte-order-mark": [b"\xef\xbb\xbf" + PLAIN],
    "empty-pieces-between": [b"", *pieces(PLAIN, 100), b""],
}


@pytest.mark.parametrize("chunks", FRAMINGS.values(), ids=FRAMINGS)
async def test_a_stream_is_understood_in_any_framing(chunks: list[bytes]) -> None:
    async with hosting(answering(*chunks)) as app:
        id = await create(app)
        events = await replay(app, id)
        body = await ended(app, id)
    assert [event["type"] for event in events] == TYPES
    assert [event["sequence_number"] for event in events] == list(range(len(TYPES)))
    assert events[-1]["response"] == body
    assert (body["status"], body["id"], text_of(body)) == ("completed", id, TEXT)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((), id="none"),
        pytest.param(((b"content-type", b"text/plain"),), id="a-wrong-one"),
        pytest.param(((b"Content-Type", b"Text/Event-Stream; charset=utf-8"),), id="upper-case"),
    ],
)
async def test_a_stream_is_understood_under_any_content_type(headers: Any) -> None:
    async with hosting(answering(*pieces(PLAIN, 3), headers=headers)) as app:
        body = await ended(app, await create(app))
    assert (body["status"], text_of(body)) == ("completed", TEXT)


@pytest.mark.parametrize("headers", [(JSON,), ()], ids=["typed", "untyped"])
async def test_a_whole_answer_is_streamed_to_readers_event_by_event(headers: Any) -> None:
    answer = json.dumps(response(output=[message_item(TEXT)], usage={"total_tokens": 3})).encode()
    async with hosting(answering(*pieces(answer, 50), headers=headers)) as app:
        id = await create(app)
        events = await replay(app, id)
        body = await ended(app, id)
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == TEXT
    assert events[-1]["type"] == "response.completed"
    assert (text_of(body), body["usage"]) == (TEXT, {"total_tokens": 3})


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_compressed_answer_is_unpacked(encoding: str, size: int) -> None:
    pack = gzip.compress if "gzip" in encoding.lower() else zlib.compress
    headers = (EVENT_STREAM, (b"content-encoding", encoding.encode()))
    async with hosting(answering(*pieces(pack(PLAIN), size), headers=headers)) as app:
        body = await ended(app, await create(app))
    assert (body["status"], text_of(body)) == ("completed", TEXT)


async def test_raw_deflate_is_unpacked_too() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(PLAIN) + packer.flush()
    headers = (EVENT_STREAM, (b"content-encoding", b"deflate"))
    async with hosting(answering(*pieces(packed, 10), headers=headers)) as app:
        body = await ended(app, await create(app))
    assert (body["status"], text_of(body)) == ("completed", TEXT)


async def test_several_gzip_members_are_one_answer() -> None:
    packed = [gzip.compress(sse(event)) for event in STORY]
    headers = (EVENT_STREAM, (b"content-encoding", b"gzip"))
    async with hosting(answering(b"".join(packed[:3]), *packed[3:], headers=headers)) as app:
        body = await ended(app, await create(app))
    assert (body["status"], text_of(body)) == ("completed", TEXT)


async def test_an_unknown_encoding_fails_with_its_name() -> None:
    headers = (EVENT_STREAM, (b"content-encoding", b"compress"))
    async with hosting(answering(b"\x0b\x02\x80", headers=headers)) as app:
        body = await ended(app, await create(app))
    assert body["status"] == "failed"
    assert body["error"] == {
        "code": "server_error",
        "message": "The upstream's content-encoding 'compress' is not known.",
    }


async def test_a_broken_encoding_fails_and_says_so() -> None:
    headers = (EVENT_STREAM, (b"content-encoding", b"gzip"))
    async with hosting(answering(b"this is not gzip at all", headers=headers)) as app:
        body = await ended(app, await create(app))
    assert body["error"]["message"] == "The upstream's compressed answer is broken."


async def test_the_app_is_not_asked_for_compression() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"]))
            await answering(PLAIN)(scope, receive, send)

    body = json.dumps({"model": "m", "background": True, "input": "é"}).encode()
    fields = [(b"Accept-Encoding", b"gzip"), (b"content-length", b"%d" % len(body)), (b"x-y", b"z")]
    async with hosting(app) as middleware:
        call = await request(middleware, "POST", "/v1/responses", body=body, headers=fields)
        await ended(middleware, call.json["id"])
    assert seen[0][b"accept-encoding"] == b"identity"
    assert b"Accept-Encoding" not in seen[0]
    sent = b'{"model":"m","input":"\xc3\xa9","stream":true}'
    assert seen[0][b"content-length"] == b"%d" % len(sent)
    assert seen[0][b"x-y"] == b"z"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
async def test_a_refusal_before_admission_reaches_the_client_verbatim(status: int) -> None:
    refusal = b'{"error": {"message": "no",  "type": "t", "param": null, "code": "c"}}'
    headers = (JSON, (b"retry-after", b"7"), (b"x-own", b"1"), (b"x-own", b"2"))
    app = answering(*pieces(refusal, 9), headers=headers, status=status)
    async with hosting(app) as middleware:
        body = {"model": "m", "background": True}
        call = await request(middleware, "POST", "/v1/responses", json=body)
    assert (call.status, call.body) == (status, refusal)
    sent = call.sent[0]["headers"]
    assert [pair for pair in sent if pair[0] != b"content-length"] == list(headers)
    assert (b"content-length", b"%d" % len(refusal)) in sent


async def test_a_compressed_refusal_before_admission_stays_compressed() -> None:
    packed = gzip.compress(b'{"error": {"message": "no"}}')
    headers = (JSON, (b"content-encoding", b"gzip"))
    async with hosting(answering(packed, headers=headers, status=400)) as middleware:
        body = {"model": "m", "background": True}
        call = await request(middleware, "POST", "/v1/responses", json=body)
    assert (call.status, call.body) == (400, packed)
    assert call.headers["content-encoding"] == "gzip"


def late(app: ASGIApp) -> tuple[ASGIApp, anyio.Event]:
    """*app*, answering not before the event is set."""
    gate = anyio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await gate.wait()
        await app(scope, receive, send)

    return waiting, gate


@pytest.mark.parametrize(
    ("status", "answer", "headers", "error"),
    [
        pytest.param(
            429,
            b'{"error": {"message": "slow down", "code": "insufficient_quota"}}',
            (JSON,),
            {"code": "insufficient_quota", "message": "slow down"},
            id="the-provider's-words",
        ),
        pytest.param(
            429,
            gzip.compress(b'{"error": {"message": "slow down", "code": "insufficient_quota"}}'),
            (JSON, (b"content-encoding", b"gzip")),
            {"code": "insufficient_quota", "message": "slow down"},
            id="the-provider's-words-compressed",
        ),
        pytest.param(
            429,
            b"Too Many",
            (),
            {"code": "rate_limit_exceeded", "message": "Too Many"},
            id="a-text",
        ),
        pytest.param(
            429,
            b"<p>Too Many",
            (),
            {
                "code": "rate_limit_exceeded",
                "message": "The upstream answered with HTTP status 429.",
            },
            id="markup",
        ),
        pytest.param(
            307,
            b"",
            ((b"location", b"/elsewhere"),),
            {"code": "server_error", "message": "The upstream answered with HTTP status 307."},
            id="a-redirect",
        ),
    ],
)
async def test_a_refusal_after_admission_fails_the_response(
    status: int, answer: bytes, headers: Any, error: dict[str, str]
) -> None:
    waiting, gate = late(answering(answer, headers=headers, status=status))
    async with hosting(waiting, admission_wait=0.01) as app:
        id = await create(app)
        gate.set()
        body = await ended(app, id)
    assert body["status"] == "failed"
    assert body["error"] == error


@pytest.mark.parametrize("body", [b"", b"{}", b"<html></html>", b"[1]", b"not json", b'{"a":'])
@pytest.mark.parametrize("headers", [(JSON,), ()], ids=["typed", "untyped"])
async def test_an_answer_that_is_no_response_object_fails(body: bytes, headers: Any) -> None:
    async with hosting(answering(body, headers=headers)) as app:
        found = await ended(app, await create(app))
    assert found["status"] == "failed"
    assert found["error"]["code"] == "server_error"
    assert found["error"]["message"]


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("with secret content")


async def returning(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that returns without an answer."""


@pytest.mark.parametrize("app", [raising, returning])
async def test_an_app_that_fails_before_it_answers_is_a_server_error(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(app) as middleware:
        body = {"model": "m", "background": True}
        call = await request(middleware, "POST", "/v1/responses", json=body)
    assert call.status == 500
    assert call.json["error"]["message"] == "The upstream failed before it answered."
    assert "with secret content" not in caplog.text


@pytest.mark.parametrize("app", [raising, returning])
async def test_an_app_that_fails_after_admission_fails_the_response(app: ASGIApp) -> None:
    waiting, gate = late(app)
    async with hosting(waiting, admission_wait=0.01) as middleware:
        id = await create(middleware)
        gate.set()
        body = await ended(middleware, id)
    assert (body["status"], body["error"]["code"]) == ("failed", "server_error")


async def test_a_body_without_a_start_is_a_server_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await piece(send, PLAIN, more=False)

    async with hosting(app) as middleware:
        body = {"model": "m", "background": True}
        call = await request(middleware, "POST", "/v1/responses", json=body)
    assert call.status == 500


async def test_an_exception_in_the_middle_keeps_what_was_produced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, EVENT_STREAM)
        await piece(send, sse(*STORY[:5]))
        raise RuntimeError("with secret content")

    async with hosting(app) as middleware:
        id = await create(middleware)
        body = await ended(middleware, id)
        events = await replay(middleware, id)
    assert body["status"] == "failed"
    assert body["error"]["message"] == "The upstream failed while it answered."
    assert text_of(body) == "Once upon "
    assert events[-1]["type"] == "response.failed"
    assert "RuntimeError at" in caplog.text
    assert "with secret content" not in caplog.text


async def test_a_stream_that_breaks_off_fails() -> None:
    async with hosting(answering(sse(*STORY[:4]))) as app:
        body = await ended(app, await create(app))
    assert body["status"] == "failed"
    assert "without saying how it ended" in body["error"]["message"]
    assert text_of(body) == "Once "


async def test_what_follows_the_terminal_event_is_thrown_away() -> None:
    more = {"type": "response.output_text.delta", **ADDRESS, "delta": "more"}
    failed = {"type": "response.failed", "response": response("failed")}
    async with hosting(answering(sse(*STORY), sse(more), sse(failed), sse(STORY[-1]))) as app:
        id = await create(app)
        body = await ended(app, id)
        events = await replay(app, id)
    assert (body["status"], text_of(body)) == ("completed", TEXT)
    assert [event["type"] for event in events] == TYPES


ODDITIES: dict[str, bytes | dict[str, Any]] = {
    "malformed-json": b'{"type": "response.output_text.delta", "delta": ',
    "no-object": b"[1, 2]",
    "no-type": b'{"delta": "x"}',
    "delta-for-an-unknown-item": {
        "type": "response.output_text.delta",
        "output_index": 7,
        "content_index": 3,
        "item_id": "msg_none",
        "delta": "lost",
    },
    "unknown-event": {"type": "vendor:thing", "payload": {"deep": [1, None]}},
    "keepalive": {"type": "keepalive", "sequence_number": 4},
}


@pytest.mark.parametrize("odd", ODDITIES.values(), ids=ODDITIES)
async def test_what_cannot_be_folded_does_not_harm_the_rest(odd: bytes | dict[str, Any]) -> None:
    async with hosting(answering(sse(*STORY[:4]), sse(odd), sse(*STORY[4:]))) as app:
        id = await create(app)
        events = await replay(app, id)
        body = await ended(app, id)
    assert (body["status"], text_of(body)) == ("completed", TEXT)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_unknown_events_and_fields_reach_the_readers() -> None:
    odd = {"type": "vendor:thing", "payload": {"deep": [1, None]}}
    end = {**STORY[-1], "vendor": 1, "response": {**STORY[-1]["response"], "vendor_field": [2]}}
    async with hosting(answering(sse(*STORY[:-1], odd, end))) as app:
        id = await create(app)
        events = await replay(app, id)
        body = await ended(app, id)
    assert events[-2] == {**odd, "sequence_number": len(events) - 2}
    assert events[-1]["vendor"] == 1
    assert body["vendor_field"] == [2]


async def test_numbers_are_kept_exactly_and_what_is_no_json_is_made_json() -> None:
    exact = "123456789012345678901234567890"
    odd = b'{"type":"vendor:thing","big":%b,"nan":NaN,"inf":-Infinity}' % exact.encode()
    end = json.dumps(STORY[-1]).replace(
        '"status": "completed"', f'"status": "completed", "n": {exact}', 1
    )
    async with hosting(answering(sse(*STORY[:-1], odd, end.encode()))) as app:
        id = await create(app)
        await ended(app, id)
        stream = (await request(app, "GET", f"/v1/responses/{id}?stream=true")).body
        poll = (await request(app, "GET", f"/v1/responses/{id}")).body
    assert exact.encode() in stream
    assert b"NaN" not in stream
    assert b"Infinity" not in stream
    found = json.loads(stream.partition(b"vendor:thing")[2].split(b"\n")[1].partition(b": ")[2])
    assert (found["big"], found["nan"], found["inf"]) == (int(exact), None, None)
    assert exact.encode() in poll


async def test_split_surrogates_become_the_character_they_stand_for() -> None:
    def delta(text: bytes) -> bytes:
        address = json.dumps(ADDRESS).encode()[1:-1]
        return b'{"type":"response.output_text.delta",%b,"delta":"%b"}' % (address, text)

    halves = [delta(rb"A\ud83d"), delta(rb"\ude00B"), delta(rb"lone \ud83d")]
    async with hosting(answering(sse(*STORY[:3], *halves), sse(response_end()))) as app:
        id = await create(app)
        events = await replay(app, id)
        body = await ended(app, id)
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert deltas == ["A\ud83d", "\ude00B", "lone \ud83d"]
    assert text_of(body) == "A\U0001f600Blone \ud83d"


def response_end() -> dict[str, Any]:
    """A terminal event without output: what was folded stays."""
    return {"type": "response.completed", "response": response()}


@pytest.mark.slow
async def test_an_image_of_twenty_megabytes_passes() -> None:
    image = "A" * 20_000_000
    item = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": image}
    events = [
        STORY[0],
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "result": None}},
        {
            "type": "response.image_generation_call.partial_image",
            "item_id": "ig_1",
            "output_index": 0,
            "partial_image_index": 0,
            "partial_image_b64": image,
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response(output=[item])},
    ]
    async with hosting(answering(*pieces(sse(*events), 2**16))) as app:
        id = await create(app)
        seen = await replay(app, id)
        body = await ended(app, id)
    assert seen[4]["partial_image_b64"] == image
    assert body["status"] == "completed"
    assert body["output"][0]["result"] == image


async def test_a_stream_without_pauses_does_not_hold_up_others() -> None:
    others = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await start(send, EVENT_STREAM)
        for event in story(*("x" for _ in range(1000))):
            await send({"type": "http.response.body", "body": sse(event), "more_body": True})
        await piece(send, b"", more=False)

    async def count() -> None:
        nonlocal others
        while True:
            await anyio.lowlevel.checkpoint()
            others += 1

    async with hosting(app) as middleware, anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        id = await create(middleware)
        body = await ended(middleware, id)
        tasks.cancel_scope.cancel()
    assert text_of(body) == "x" * 1000
    assert others >= 10


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 999])
async def test_a_status_that_is_none_is_a_502_and_after_admission_a_failure(status: int) -> None:
    odd = answering(PLAIN, status=status)
    async with hosting(odd, admission_wait=60) as middleware:
        body = {"model": "m", "background": True}
        call = await request(middleware, "POST", "/v1/responses", json=body)
    assert call.status == 502
    assert call.json["error"]["type"] == "server_error"
    waiting, gate = late(odd)
    async with hosting(waiting, admission_wait=0.01) as middleware:
        id = await create(middleware)
        gate.set()
        found = await ended(middleware, id)
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")


async def test_a_refusal_that_has_no_body_goes_out_without_a_length() -> None:
    headers = ((b"etag", b"a"), (b"content-length", b"99"))
    async with hosting(answering(b"", headers=headers, status=304), admission_wait=60) as app:
        call = await request(app, "POST", "/v1/responses", json={"model": "m", "background": True})
    assert (call.status, call.body) == (304, b"")
    assert "content-length" not in call.headers
    assert call.headers["etag"] == "a"
