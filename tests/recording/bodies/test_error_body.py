"""The body of an HTTP error becomes the failure of a response that was admitted."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import payload
from tests.protocol.test_error_forms import FORMS
from tests.recording.listening import JSON, Listening

TEXT: Final = (b"content-type", b"text/plain")


async def error_of(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    listening = await Listening(told=False).hear([body], *headers, status=status)
    response = load(payload(listening.intake.parse_backlog().pending[-1]))["response"]
    return dict(response["error"])


@pytest.mark.parametrize("label", [JSON, TEXT, (b"content-type", b"text/event-stream")])
@pytest.mark.parametrize("name", FORMS)
async def test_every_form_gives_its_message_and_code(name: str, label: tuple[bytes, bytes]) -> None:
    body, code = FORMS[name]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert await error_of(400, content, label) == {"code": code, "message": "prompt is too long"}


@pytest.mark.parametrize("name", FORMS)
async def test_every_form_is_the_reason_of_an_answer_with_status_200(name: str) -> None:
    body, code = FORMS[name]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = await error_of(200, content, JSON)
    assert error["code"] == code
    assert "prompt is too long" in error["message"]


async def test_a_coding_that_is_not_known_hides_the_reason() -> None:
    coded = (b"content-encoding", b"compress")
    error = await error_of(500, b'{"error":{"message":"No."}}', JSON, coded)
    assert error["message"] == "The upstream answered with HTTP status 500."
