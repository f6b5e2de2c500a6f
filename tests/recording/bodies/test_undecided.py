"""The first bytes decide whether a body is an event stream or JSON, whatever its label says."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Final

import anyio
import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._recording.intake import Intake
from tests.recording.listening import END, WORD, Listening

ANSWER: Final = {"id": "up", "status": "completed", "output": [{"id": "msg_1", "type": "message"}]}
STREAM: Final = WORD + END
STREAM_TYPES: Final = ["in_progress", "acme:word", "completed"]
DOCUMENT_TYPES: Final = ["in_progress", "output_item.added", "output_item.done", "completed"]

LABELS: Final = (
    b"",
    b"text/event-stream",
    b"application/json",
    b"application/problem+json; charset=utf-8",
    b"text/plain",
    b"text/html",
    b"application/octet-stream",
)
SPACE: Final = (
    b"",
    b"\xef\xbb\xbf",
    b"\n\n",
    b" \r\n\t",
    b"\xef\xbb\xbf\r\n",
    b" \xef\xbb\xbf\xef\xbb\xbf ",
)
OPENINGS: Final = (
    b"",
    b":\n",
    b": hello\n\n",
    b":\n\n: {\n\n",
    b"retry: 10\n",
    b"id\n",
    b"id: 7\n",
)
PACKERS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"br": brotli.compress,
}


def heard(body: bytes, cuts: list[int], label: bytes, coding: bytes = b"") -> Listening:
    """What is recorded of *body*, in pieces of the sizes *cuts*."""
    chunks = []
    for cut in cuts:
        chunks.append(body[:cut])
        body = body[cut:]
    headers = [(b"content-type", label)] * bool(label) + [(b"content-encoding", coding)]

    async def run() -> Listening:
        return await Listening().hear([*chunks, body], *headers)

    return anyio.run(run)


CUTS: Final = st.lists(st.integers(1, 9), max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SPACE),
    st.sampled_from(OPENINGS),
    st.sampled_from((WORD, WORD.partition(b"\n")[2])),
    st.sampled_from(LABELS),
    st.sampled_from(sorted(PACKERS)),
    CUTS,
)
def test_an_event_stream_is_one_under_every_label(
    space: bytes, opening: bytes, first: bytes, label: bytes, coding: bytes, cuts: list[int]
) -> None:
    body = PACKERS[coding](space + opening + first + END)
    assert heard(body, cuts, label, coding).types == STREAM_TYPES


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SPACE),
    st.sampled_from((None, 1)),
    st.sampled_from(LABELS),
    st.sampled_from(sorted(PACKERS)),
    CUTS,
)
def test_json_is_json_under_every_label(
    space: bytes, indent: int | None, label: bytes, coding: bytes, cuts: list[int]
) -> None:
    body = PACKERS[coding](space + json.dumps(ANSWER, indent=indent).encode())
    assert heard(body, cuts, label, coding).types == DOCUMENT_TYPES


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LABELS), CUTS)
def test_an_error_is_read_under_every_label(label: bytes, cuts: list[int]) -> None:
    body = b'{"error":{"message":"blocked","code":"content_filter"}}'
    assert heard(body, cuts, label).failure == "blocked"


@pytest.mark.parametrize("label", LABELS)
async def test_a_stream_is_read_as_it_comes(label: bytes) -> None:
    listening = Listening()
    listening.answer.start(200, [(b"content-type", label)])
    await listening.answer.write(b"even")
    assert listening.types == []
    await listening.answer.write(WORD[4:])
    assert listening.types == STREAM_TYPES[:2]
    assert isinstance(listening.attempt.body, Intake)


@pytest.mark.parametrize("rest", [b"", b"\n"])
@pytest.mark.parametrize("begin", [b"\xef", b"\xef\xbb", b"dat", b"retry", b"i", b"hello", b"<p>"])
async def test_what_begins_as_neither_is_what_the_label_says(begin: bytes, rest: bytes) -> None:
    stream, document, bare = [
        await Listening().hear([begin, rest], (b"content-type", label))
        for label in (b"text/event-stream", b"application/json", b"")
    ]
    is_field = begin == b"retry" and rest
    assert "without saying how" in stream.failure
    assert ("without saying how" if is_field else "not a Response") in document.failure
    assert ("without saying how" if is_field else "not a Response") in bare.failure


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b" \n\n"])
async def test_an_empty_body_without_a_label_says_nothing(body: bytes) -> None:
    assert "without saying how" in (await Listening().hear([body])).failure


async def test_white_space_before_an_answer_is_not_kept() -> None:
    listening = Listening()
    listening.answer.start(200, [(b"content-type", b"application/json")])
    for _ in range(100):
        await listening.answer.write(b" \n" * 100)
    await listening.answer.write(json.dumps(ANSWER).encode())
    listening.answer.finish()
    assert listening.types == DOCUMENT_TYPES
