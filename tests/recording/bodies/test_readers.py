"""What reads the body of an answer, by its status and headers."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import payload
from response_cache._recording.bodies.body import Body
from response_cache._recording.bodies.compressed import Compressed
from response_cache._recording.bodies.error_body import ErrorBody
from response_cache._recording.bodies.readers import reader_of
from response_cache._recording.bodies.undecided import Undecided
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache.testing._virtual_time import virtual_backend
from tests.recording.listening import END, JSON, SSE, WORD, Listening

DOCUMENT = json.dumps({"id": "up", "output": [{"id": "msg_1", "type": "message"}]}).encode()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


async def test_an_event_stream_is_recorded_event_by_event() -> None:
    listening = await Listening().hear([WORD, END], SSE)
    assert listening.types == ["in_progress", "acme:word", "completed"]
    assert listening.recorder.ended_by_upstream
    assert listening.admissions == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=20), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_cuts_and_line_ends_make_no_difference(cuts: list[int], line_end: bytes) -> None:
    whole = (b": hello\n\n" + WORD * 2 + END).replace(b"\n", line_end)
    chunks = []
    for cut in cuts:
        chunks.append(whole[:cut])
        whole = whole[cut:]

    async def run() -> list[str]:
        return (await Listening().hear([*chunks, whole], SSE)).types

    assert anyio.run(run) == ["in_progress", "acme:word", "acme:word", "completed"]


async def test_a_last_event_without_its_blank_line_counts() -> None:
    listening = await Listening().hear([WORD, END.rstrip(b"\n")], SSE)
    assert listening.types[-1] == "completed"


async def test_an_error_event_gives_the_reason() -> None:
    error = b'data: {"type":"error","error":{"code":"c","message":"Overloaded."}}\n\n'
    assert (await Listening().hear([error], SSE)).failure == "Overloaded."


@pytest.mark.parametrize("content_type", [b"application/json; charset=utf-8", b"text/json+json"])
async def test_a_document_is_recorded_as_a_stream(content_type: bytes) -> None:
    chunks = [DOCUMENT[:7], DOCUMENT[7:]]
    listening = await Listening().hear(chunks, (b"content-type", content_type))
    assert listening.types == ["in_progress", "output_item.added", "output_item.done", "completed"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"output":7}', b"1,2"])
async def test_a_document_that_is_no_response_has_failed(body: bytes) -> None:
    assert "not a Response" in (await Listening().hear([body], JSON)).failure


async def test_a_document_nested_too_deep_has_failed() -> None:
    body = b'{"output":[],"x":' + b"[" * 399 + b"]" * 399 + b"}"
    assert "not a Response" in (await Listening().hear([body], JSON)).failure


async def test_an_error_document_with_status_200_gives_its_reason() -> None:
    listening = await Listening().hear([b'{"error":{"message":"No.","code":"c"}}'], JSON)
    assert listening.failure == "No."


@pytest.mark.parametrize(
    ("chunks", "last"),
    [
        ([WORD, END], "completed"),
        ([b" \n", DOCUMENT], "completed"),
        ([b"\xef\xbb\xbf", WORD, END], "completed"),
    ],
)
async def test_without_a_content_type_the_first_bytes_decide(
    chunks: list[bytes], last: str
) -> None:
    assert (await Listening().hear(chunks)).types[-1] == last


@pytest.mark.parametrize("body", [b"", b"hi", b"<html>no</html>"])
async def test_without_a_content_type_nonsense_has_failed(body: bytes) -> None:
    assert (await Listening().hear([body])).failure


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"gzip", gzip.compress(WORD + END)), (b"Deflate", zlib.compress(WORD + END))],
    ids=["gzip", "deflate"],
)
async def test_a_compressed_answer_is_unpacked(encoding: bytes, packed: bytes) -> None:
    chunks = [packed[n : n + 5] for n in range(0, len(packed), 5)]
    listening = await Listening().hear(chunks, SSE, (b"content-encoding", encoding))
    assert listening.types == ["in_progress", "acme:word", "completed"]


async def test_an_unknown_or_broken_compression_has_failed() -> None:
    unknown = await Listening().hear([WORD], SSE, (b"content-encoding", b"Compress, gzip"))
    assert "'compress, gzip' is not known" in unknown.failure
    broken = await Listening().hear([WORD], SSE, (b"content-encoding", b"gzip"))
    assert "broken" in broken.failure


@pytest.mark.parametrize(
    ("chunks", "headers"),
    [
        ([b": " + b"x" * 2000], [SSE]),
        ([gzip.compress(b" " * 100_000)], [SSE, (b"content-encoding", b"gzip")]),
    ],
)
async def test_an_answer_that_is_too_long_has_failed(
    chunks: list[bytes], headers: list[tuple[bytes, bytes]]
) -> None:
    listening = await Listening(max_bytes=1000).hear(chunks, *headers)
    assert listening.failure == "The upstream's answer is longer than 1000 bytes."


@pytest.mark.parametrize(
    ("status", "body", "message", "code"),
    [
        (429, b'{"error":{"message":"Slow.","code":"rl"}}', "Slow.", "rl"),
        (429, b'{"error":{"message":"Slow.","code":null}}', "Slow.", "rate_limit_exceeded"),
        (429, b'{"error":{"message":"Slow.","code":"429"}}', "Slow.", "rate_limit_exceeded"),
        (500, b"<html>", "The upstream answered with HTTP status 500.", "server_error"),
        (307, b'{"error":"x"}', "x", "server_error"),
        (
            400,
            b'{"error":{"message":"cut',
            "The upstream answered with HTTP status 400.",
            "server_error",
        ),
        (400, b"\xff\xfe", "The upstream answered with HTTP status 400.", "server_error"),
        (400, b'\xef\xbb\xbf{"detail":"No."}', "No.", "server_error"),
        (503, b"Come back later.\n", "Come back later.", "server_error"),
        (400, b'event: error\ndata: {"error":{"message":"No.","code":"c"}}\n\n', "No.", "c"),
    ],
)
async def test_a_refusal_that_comes_too_late_is_the_failure(
    status: int, body: bytes, message: str, code: str
) -> None:
    listening = await Listening(told=False).hear([body], JSON, status=status)
    response = load(payload(listening.intake.parse_backlog().pending[-1]))["response"]
    assert response["error"] == {"code": code, "message": message}


def reader(status: int, *headers: tuple[bytes, bytes]) -> Body:
    queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
    recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=1000)
    return reader_of(Intake(recorder), status, headers, limit=1000, decided=lambda body: None)


@pytest.mark.parametrize(
    ("status", "kind", "coding", "expected"),
    [
        (200, b"text/event-stream", b"", Undecided),
        (200, b"Text/Event-Stream ; charset=utf-8", b"identity", Undecided),
        (204, b"application/json", b"", Undecided),
        (200, b"application/vnd.acme+json", b" IDENTITY ", Undecided),
        (200, b"", b"none, null, UTF-8", Undecided),
        (200, b"text/html", b"aws-chunked", Undecided),
        (200, b"text/event-stream", b"gzip", Compressed),
        (200, b"text/event-stream", b"aws-chunked,gzip", Compressed),
        (299, b"application/json", b"compress", Compressed),
        (199, b"text/event-stream", b"", ErrorBody),
        (300, b"application/json", b"", ErrorBody),
        (429, b"", b"gzip", ErrorBody),
    ],
)
def test_status_and_headers_say_what_reads_the_body(
    status: int, kind: bytes, coding: bytes, expected: type[Body]
) -> None:
    headers = [(b"content-type", kind), (b"content-encoding", coding)]
    assert type(reader(status, *headers)) is expected


async def test_of_a_label_that_comes_twice_the_first_one_counts() -> None:
    nothing = [b"retry"]  # a field of a stream, or nonsense
    assert "without saying how" in (await Listening().hear(nothing, SSE, JSON)).failure
    assert "not a Response" in (await Listening().hear(nothing, JSON, SSE)).failure


async def test_content_encodings_in_several_fields_are_one_list() -> None:
    coded = [(b"content-encoding", name) for name in (b"identity", b"gzip", b"none")]
    listening = await Listening().hear([gzip.compress(WORD + END)], SSE, *coded)
    assert listening.types[-1] == "completed"


def test_an_error_is_kept_as_it_came_and_read_as_it_was_meant() -> None:
    packed = gzip.compress(b'{"error":{"message":"Slow.","code":"rl"}}')
    queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
    intake = Intake(Recorder.begin(queued, now=lambda: 0.0, max_events=1000))
    coded = ((b"content-encoding", b"gzip"),)
    body = reader_of(intake, 429, coded, limit=1000, decided=lambda body: None)
    assert isinstance(body, ErrorBody)
    for byte in packed:
        body.feed(bytes((byte,)))
    assert body.content == packed
    body.finish()
    response = load(payload(intake.parse_backlog().pending[-1]))["response"]
    assert response["error"] == {"code": "rl", "message": "Slow."}


@given(st.binary(max_size=60), st.sampled_from([200, 429]), st.sampled_from([b"", b"gzip"]))
def test_no_body_makes_a_reader_raise(body: bytes, status: int, coding: bytes) -> None:
    for kind in (b"text/event-stream", b"application/json", b""):
        one = reader(status, (b"content-type", kind), (b"content-encoding", coding))
        for byte in body:
            one.feed(bytes((byte,)))
        one.finish()
