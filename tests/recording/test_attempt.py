"""One call of an upstream, as its job sees it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from response_cache._recording.answer import UpstreamStopped
from response_cache._recording.attempt import Refusal
from response_cache.testing._virtual_time import virtual_backend
from tests.recording.listening import END, JSON, SSE, WORD, Listening


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@pytest.mark.parametrize("chunks", [[], [b""], [WORD], [WORD, b"data: [DONE]\n\n"]])
async def test_a_stream_without_an_end_has_failed(chunks: list[bytes]) -> None:
    listening = await Listening().hear(chunks, SSE)
    assert "without saying how" in listening.failure
    assert listening.attempt.has_ended


async def test_a_refusal_is_kept_whole() -> None:
    chunks, headers = [b'{"err', b'or":1}'], ((b"x", b"Y"), JSON)
    listening = await Listening().hear(chunks, *headers, status=422)
    assert listening.refusal == Refusal(422, headers, b'{"error":1}')
    assert listening.attempt.is_refusal
    assert (listening.admissions, listening.types) == (0, [])


async def test_finishing_twice_or_after_the_end_changes_nothing() -> None:
    listening = await Listening().hear([WORD, END, WORD], SSE)
    listening.answer.finish()
    listening.answer.finish()
    assert listening.types[-1] == "completed"


async def test_a_refusal_that_is_announced_is_one_until_the_status_comes() -> None:
    listening = Listening()
    assert not listening.attempt.is_refusal
    listening.answer.refusing()
    assert listening.attempt.is_refusal
    assert listening.attempt.status is None
    listening.answer.start(200, [SSE])
    assert not listening.attempt.is_refusal
    assert listening.admissions == 1


async def test_a_status_that_refuses_goes_before_what_was_announced() -> None:
    listening = Listening()
    listening.answer.admitted()
    listening.answer.start(503, [JSON])
    assert listening.attempt.is_refusal
    assert listening.admissions == 1


@pytest.mark.parametrize("sign", ["begin", "refusing", "start"])
async def test_each_sign_of_life_ends_the_silence(sign: str) -> None:
    listening = Listening()
    await anyio.sleep(10)
    assert listening.attempt.heard_at == anyio.current_time() - 10
    match sign:
        case "begin":
            listening.attempt.begin()
        case "refusing":
            listening.answer.refusing()
        case "start":
            listening.answer.start(200, [SSE])
    assert listening.attempt.heard_at == anyio.current_time()


async def test_a_stop_is_told_to_who_waits_for_it_and_to_who_writes() -> None:
    listening = Listening()
    assert not listening.answer.stopped.is_set()
    listening.attempt.stop()
    assert listening.answer.stopped.is_set()
    assert listening.answer.left.is_set()
    with pytest.raises(UpstreamStopped):
        listening.answer.require_wanted()


async def test_a_refusal_that_nobody_can_be_told_of_ends_the_response_once() -> None:
    listening = await Listening(told=False).hear([b'{"error":{"message":"No."}}'], JSON, status=500)
    assert listening.failure == "No."
    assert listening.refusal is None
    assert listening.types == ["failed"]
