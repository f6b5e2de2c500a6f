"""Refusals of ``stream: true``."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._recording.bodies.stream_refusals import (
    MAX_REMEMBERED,
    REMEMBERED_TTL,
    StreamRefusals,
    refuses_stream,
)
from tests.recording.listening import JSON, Listening


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "param": param, "code": code}}


NOT_TRUE: Final = "Unsupported value: 'stream' does not support true with this model."
NOT_VERIFIED: Final = "Your organization must be verified to stream this model."
EXTRA: Final = {"loc": ["body", "stream"], "msg": "Extra inputs are not permitted"}
REPEATED: Final = {"loc": ["body", "input"], "msg": "x", "input": {"param": "stream"}}

# fmt: off
REFUSED: Final[dict[str, tuple[int, Any]]] = {
    "OpenAI":        (400, openai(NOT_TRUE, "stream", "unsupported_value")),
    "not verified":  (400, openai(NOT_VERIFIED, "stream", "unsupported_value")),
    "only words":    (400, openai(NOT_VERIFIED)),
    "only param":    (422, openai("Invalid request.", "stream")),
    "FastAPI":       (422, {"detail": [EXTRA]}),
    "text":          (501, "Streaming is not implemented."),
    "detail":        (400, {"detail": "Streaming isn't supported for this model"}),
    "Ollama":        (400, {"error": "model does not support streaming"}),
    "unknown":       (400, {"message": "Unknown parameter: stream"}),
    "quoted":        (400, {"message": "Invalid value for `stream`: expected false"}),
    "code":          (400, openai("Bad request.", None, "streaming_not_supported")),
    "Gemini":        (400, [{"error": {"code": 400, "message": "Streaming is unsupported."}}]),
    "disabled":      (400, {"message": "Streaming is disabled for this deployment."}),
}
OTHER: Final[dict[str, tuple[int, Any]]] = {
    "another status":     (500, openai("x", "stream")),
    "too many":           (429, openai("Too many streams: not now.", "stream")),
    "not found":          (404, openai("x", "stream")),
    "accepted":           (200, openai("x", "stream")),
    "another parameter":  (400, openai("'temperature' is not supported.", "temperature")),
    "options":            (400, openai("Unknown parameter: 'stream_options.x'.")),
    "nothing negative":   (400, openai("The stream of your input ended early.", "input")),
    "what was sent":      (422, {"detail": [REPEATED]}),
    "nothing":            (400, None),
    "no error":           (400, {}),
    "markup":             (400, "<html>streaming is not supported</html>"),
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_parameter_or_says_that_there_is_no_streaming(name: str) -> None:
    assert refuses_stream(*REFUSED[name])


@pytest.mark.parametrize("name", OTHER)
def test_other_refusals_are_not_about_the_stream(name: str) -> None:
    assert not refuses_stream(*OTHER[name])


JSON_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("stream"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(("error", "param", "loc", "code", "message", "x")), inner)
    ),
)


@given(st.sampled_from((400, 422, 501, 500)), JSON_VALUES)
def test_no_value_makes_it_raise(status: int, value: Any) -> None:
    assert refuses_stream(status, value) in (True, False)


def test_a_value_nested_deep_is_looked_into_to_a_bounded_depth() -> None:
    value: Any = {"param": "stream"}
    for _ in range(5_000):
        value = [value]
    assert not refuses_stream(400, value)


# What is remembered.


def test_a_refusal_is_remembered_per_owner_and_model_for_a_while() -> None:
    now = 0.0
    refusals = StreamRefusals(lambda: now)
    refusals.of("alice", "o1").remember()
    assert refusals.of("alice", "o1").is_known
    assert not refusals.of("alice", "o2").is_known
    assert not refusals.of("bob", "o1").is_known
    assert not refusals.of(None, "o1").is_known
    now = REMEMBERED_TTL - 1
    assert refusals.of("alice", "o1").is_known
    now = REMEMBERED_TTL
    assert not refusals.of("alice", "o1").is_known


def test_what_is_remembered_is_bounded() -> None:
    refusals = StreamRefusals(lambda: 0.0)
    for number in range(MAX_REMEMBERED + 1):
        refusals.of(None, str(number)).remember()
    known = [refusals.of(None, str(number)).is_known for number in range(MAX_REMEMBERED + 1)]
    assert sum(known) == MAX_REMEMBERED
    assert known[-1]


def test_a_name_that_no_model_has_is_not_remembered() -> None:
    refusals = StreamRefusals(lambda: 0.0)
    refusals.of(None, "m" * 10_000).remember()
    assert not refusals.of(None, "m" * 10_000).is_known


# What an attempt does with one.


@pytest.mark.parametrize("is_told", [False, True])
async def test_a_refusal_of_the_stream_is_neither_told_nor_recorded(*, is_told: bool) -> None:
    status, body = REFUSED["OpenAI"]
    content = json.dumps(body).encode()
    listening = await Listening(told=is_told).hear([content], JSON, status=status)
    assert listening.attempt.refused_stream
    assert not listening.attempt.is_refusal
    assert (listening.refusal, listening.types, listening.admissions) == (None, [], 0)


async def test_where_no_stream_was_asked_for_it_is_a_refusal_like_any_other() -> None:
    status, body = REFUSED["OpenAI"]
    content = json.dumps(body).encode()
    listening = await Listening(asks_for_stream=False).hear([content], JSON, status=status)
    assert not listening.attempt.refused_stream
    assert listening.refusal is not None
    assert listening.refusal.body == content
