"""One reader for all forms of errors."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.error_forms import MAX_TEXT, failure_in
from response_cache._protocol.responses import Failure

WHY: Final = "prompt is too long"
LONG: Final = "context_length_exceeded"
PLAIN: Final = "server_error"

# fmt: off
FORMS: Final[dict[str, tuple[Any, str]]] = {
    "OpenAI":                  ({"error": {"message": WHY, "type": "x", "code": LONG}}, LONG),
    "OpenAI without a code":   ({"error": {"message": WHY, "type": "x", "code": None}}, PLAIN),
    "vLLM before 0.11":        ({"object": "error", "message": WHY, "code": 400}, PLAIN),
    "vLLM":                    ({"error": {"message": WHY, "type": "x", "code": 400}}, PLAIN),
    "a status as text":        ({"error": {"message": WHY, "code": "400"}}, PLAIN),
    "FastAPI":                 ({"detail": WHY}, PLAIN),
    "FastAPI, LiteLLM":        ({"detail": {"error": WHY}}, PLAIN),
    "FastAPI, nested":         ({"detail": {"error": {"message": WHY, "code": LONG}}}, LONG),
    "FastAPI, validation":     ({"detail": [{"type": "missing", "msg": WHY}]}, PLAIN),
    "Ollama":                  ({"error": WHY}, PLAIN),
    "gateways":                ({"message": WHY}, PLAIN),
    "Azure API Management":    ({"statusCode": 429, "message": WHY}, PLAIN),
    "Gemini":                  ([{"error": {"code": 400, "message": WHY}}], PLAIN),
    "Cloudflare":              ({"errors": [{"message": WHY, "code": 5006}]}, PLAIN),
    "RFC 9457":                ({"title": "Bad Request", "detail": WHY}, PLAIN),
    "an event, nested":        ({"type": "error", "error": {"code": LONG, "message": WHY}}, LONG),
    "an event, flat":          ({"type": "error", "code": LONG, "message": WHY}, LONG),
    "a failed response":       ({"response": {"error": {"code": LONG, "message": WHY}}}, LONG),
    "text":                    (f" {WHY}\n", PLAIN),
}

NONE: Final[dict[str, Any]] = {
    "markup":          "<html><body>Bad Gateway</body></html>",
    "no text":         " ",
    "nothing":         None,
    "a number":        4,
    "an empty object": {},
    "no error":        {"error": None},
    "an empty list":   [],
    "an answer":       {"id": "resp_1"},
}
# fmt: on


@pytest.mark.parametrize("name", FORMS)
def test_message_and_code_are_found_in_every_form(name: str) -> None:
    body, code = FORMS[name]
    assert failure_in(body) == Failure(WHY, code)


@pytest.mark.parametrize("name", NONE)
def test_what_tells_no_error_is_none(name: str) -> None:
    assert failure_in(NONE[name]) is None


def test_the_code_of_the_status_stands_where_the_error_has_none() -> None:
    assert failure_in({"message": WHY}, "rate_limit_exceeded") == Failure(
        WHY, "rate_limit_exceeded"
    )


def test_a_long_text_is_cut() -> None:
    failure = failure_in("x" * 5000)
    assert failure is not None
    assert len(failure.message) == MAX_TEXT


def test_a_deep_body_is_not_followed_for_ever() -> None:
    body: dict[str, Any] = {"message": WHY}
    for _ in range(10_000):
        body = {"error": body}
    assert failure_in(body) is None
