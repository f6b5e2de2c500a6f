"""A body that is one JSON document."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import payload
from tests.recording.listening import JSON, Listening

ITEM: Final = {"id": "msg_1", "type": "message", "content": []}


async def last(response: Any) -> dict[str, Any]:
    """The response at its end, after an answer of *response*."""
    body = response if isinstance(response, bytes) else json.dumps(response).encode()
    listening = await Listening().hear([body], JSON)
    return dict(load(payload(listening.intake.parse_backlog().pending[-1]))["response"])


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
async def test_a_status_that_ends_it_is_its_status(status: str) -> None:
    assert (await last({"status": status, "output": [ITEM]}))["status"] == status


@pytest.mark.parametrize("status", [None, "unheard of", 7, {}])
async def test_a_status_that_says_nothing_is_no_failure(status: Any) -> None:
    assert (await last({"status": status, "output": [ITEM]}))["status"] == "completed"


@pytest.mark.parametrize("output", [[], [ITEM]])
@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_an_answer_that_is_not_finished_has_failed(status: str, output: list[Any]) -> None:
    response = await last({"id": "up", "status": status, "output": output, "error": None})
    assert response["status"] == "failed"
    assert f"'{status}'" in response["error"]["message"]
    assert "background by itself" in response["error"]["message"]
    assert [item["id"] for item in response["output"]] == [item["id"] for item in output]


@pytest.mark.parametrize("status", ["queued", "failed", None])
@pytest.mark.parametrize("error", [{"code": "c", "message": "No."}, {"detail": "No."}, "No."])
async def test_an_error_beside_the_output_is_the_failure(status: Any, error: Any) -> None:
    response = await last({"status": status, "output": [ITEM], "error": error})
    assert response["status"] == "failed"
    assert "No." in json.dumps(response["error"])
    assert response["output"] == [ITEM]


async def test_an_answer_that_completed_does_so_beside_an_error() -> None:
    response = await last({"status": "completed", "output": [ITEM], "error": {"message": "x"}})
    assert (response["status"], response["error"]) == ("completed", None)


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "No.", "code": "c"}},
        {"status": "failed", "error": {"message": "No.", "code": "c"}},
        [{"error": {"message": "No.", "code": "c"}}],
        {"detail": {"error": {"message": "No.", "code": "c"}}},
        {"errors": [{"message": "No.", "code": "c"}]},
    ],
)
async def test_an_error_is_the_failure_in_whatever_form(error: Any) -> None:
    assert (await last(error))["error"] == {"code": "c", "message": "No."}


async def test_a_text_is_no_answer_and_is_shown() -> None:
    error = (await last(b"prompt is too long\n"))["error"]
    assert error["message"] == "The upstream's answer is not a Response object: prompt is too long"


@pytest.mark.parametrize("body", [b"<html>no", b"\xff\xfe", b'{"id":"up","outp'])
async def test_what_no_client_can_read_is_not_shown(body: bytes) -> None:
    error = (await last(body))["error"]
    assert error["message"] == "The upstream's answer is not a Response object."
