"""What an upstream answers, in whatever form."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache.protocol.jsontext import load
from response_cache.protocol.sse import payload
from response_cache.recording.answer import Answer, Refusal, UpstreamStopped
from response_cache.recording.intake import (
    MAX_BACKLOG_BYTES,
    SHORTEST_TERMINAL_EVENT,
    Intake,
)
from response_cache.recording.recorder import Recorder
from response_cache.recording.timers import Timers
from response_cache.testing.virtual_time import virtual_backend

SSE = (b"Content-Type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")
WORD = b'event: acme:word\ndata: {"type":"acme:word"}\n\n'
SILENCE = b":" + b" " * 98 + b"\n"
END = b'data: {"type":"response.completed","response":{"id":"up"}}\n\n'
DOCUMENT = json.dumps({"id": "up", "output": [{"id": "msg_1", "type": "message"}]}).encode()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Listening:
    """An answer and the recorder behind it."""

    def __init__(
        self, *, buffer_bytes: int = 1 << 20, max_bytes: int = 1 << 20, told: bool = True
    ) -> None:
        queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
        self.recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=1000)
        self.recorder.take()
        self.intake = Intake(self.recorder)
        self.refusal: Refusal | None = None
        self.admissions = 0
        self.changes = 0
        self.timers = Timers()
        self.may_go_on = anyio.Event()
        self._told = told
        self.answer = Answer(
            self.intake,
            changed=self._changed,
            timers=self.timers,
            wait_for_capacity=self._wait_for_capacity,
            admit=self._admit,
            refuse=self._refuse,
            buffer_bytes=buffer_bytes,
            max_bytes=max_bytes,
        )

    def _changed(self, _now: float) -> None:
        self.changes += 1

    async def _wait_for_capacity(self) -> None:
        await self.may_go_on.wait()

    def _admit(self) -> None:
        self.admissions += 1

    def _refuse(self, refusal: Refusal) -> bool:
        self.refusal = refusal if self._told else None
        return self._told

    async def hear(
        self, chunks: Iterable[bytes], *headers: tuple[bytes, bytes], status: int = 200
    ) -> Listening:
        self.answer.start(status, headers)
        for chunk in chunks:
            await self.answer.write(chunk)
        self.answer.finish()
        return self

    @property
    def types(self) -> list[str]:
        events = [load(payload(event)) for event in self.intake.parse_backlog().pending]
        return [event["type"].removeprefix("response.") for event in events]

    @property
    def failure(self) -> str:
        response = load(payload(self.intake.parse_backlog().pending[-1]))["response"]
        assert response["status"] == "failed"
        return str(response["error"]["message"])


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


@pytest.mark.parametrize("chunks", [[], [b""], [WORD], [WORD, b"data: [DONE]\n\n"]])
async def test_a_stream_without_an_end_has_failed(chunks: list[bytes]) -> None:
    listening = await Listening().hear(chunks, SSE)
    assert "without saying how" in listening.failure
    assert listening.answer.has_ended


async def test_a_note_is_kept_until_the_end_and_not_after_it() -> None:
    listening = Listening()
    listening.answer.note("cost", 0.5)
    await listening.hear([WORD], SSE)
    listening.answer.note("cost", 0.7)
    notes = load(listening.recorder.take_notes() or b"")
    assert notes == {"cost": 0.5}
    assert listening.recorder.take_notes() is None
    assert listening.answer.id == "resp_rc1"


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
    unknown = await Listening().hear([WORD], SSE, (b"content-encoding", b"br"))
    assert "'br' is not known" in unknown.failure
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


async def test_a_refusal_is_kept_whole() -> None:
    chunks, headers = [b'{"err', b'or":1}'], ((b"x", b"Y"), JSON)
    listening = await Listening().hear(chunks, *headers, status=422)
    assert listening.refusal == Refusal(422, headers, b'{"error":1}')
    assert listening.answer.is_refusal
    assert (listening.admissions, listening.types) == (0, [])


@pytest.mark.parametrize(
    ("status", "body", "message", "code"),
    [
        (429, b'{"error":{"message":"Slow.","code":"rl"}}', "Slow.", "rl"),
        (429, b'{"error":{"message":"Slow.","code":null}}', "Slow.", "rate_limit_exceeded"),
        (429, b'{"error":{"message":"Slow.","code":"429"}}', "Slow.", "rate_limit_exceeded"),
        (500, b"<html>", "The upstream answered with HTTP status 500.", "server_error"),
        (307, b'{"error":"x"}', "The upstream answered with HTTP status 307.", "server_error"),
    ],
)
async def test_a_refusal_that_comes_too_late_is_the_failure(
    status: int, body: bytes, message: str, code: str
) -> None:
    listening = await Listening(told=False).hear([body], JSON, status=status)
    response = load(payload(listening.intake.parse_backlog().pending[-1]))["response"]
    assert response["error"] == {"code": code, "message": message}


async def test_who_writes_too_fast_is_held_back_and_meanwhile_not_silent() -> None:
    listening = Listening(buffer_bytes=10)
    listening.answer.start(200, [SSE])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listening.answer.write, WORD)
        await anyio.sleep(100)
        assert listening.answer.heard_at == anyio.current_time()
        listening.may_go_on.set()
    heard_at = listening.answer.heard_at
    await anyio.sleep(5)
    assert listening.answer.heard_at == heard_at


async def test_a_writer_that_never_waits_lets_others_run() -> None:
    listening = Listening()
    listening.answer.start(200, [SSE])
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(10 * MAX_BACKLOG_BYTES // len(SILENCE)):
            await listening.answer.write(SILENCE)
        tasks.cancel_scope.cancel()
    assert others >= 5


async def test_an_upstream_that_writes_on_after_the_end_lets_others_stop_it() -> None:
    listening = Listening()

    async def stop() -> None:
        listening.answer.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        with pytest.raises(UpstreamStopped):
            await listening.hear([END] + [WORD] * (2 * MAX_BACKLOG_BYTES // len(WORD)), SSE)


async def relayed(listening: Listening, chunks: Iterable[bytes]) -> None:
    async def stream() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    async with aclosing(stream()) as answered:
        await listening.answer.relay(answered)


async def test_to_relay_a_stream_is_to_write_each_of_its_chunks() -> None:
    longest = END.replace(b"\n\n", b"\n: %b\n\n" % (b"," * SHORTEST_TERMINAL_EVENT))
    chunks = [WORD, WORD * 2, WORD[:9], WORD[9:], SILENCE, longest, WORD]
    written, other = Listening(), Listening()
    await written.hear(chunks, SSE)
    other.answer.start(200, [SSE])
    await relayed(other, chunks)
    other.answer.finish()
    assert [*other.intake.parse_backlog().pending] == [*written.intake.parse_backlog().pending]
    assert other.changes == written.changes
    assert other.types[-1] == "completed"


async def test_a_relay_ends_where_nobody_wants_the_rest() -> None:
    listening = Listening()
    listening.answer.start(200, [SSE])

    def stopped_amid() -> Iterator[bytes]:
        yield WORD
        yield WORD
        listening.answer.stop()
        yield WORD
        raise AssertionError("it was asked for more")

    with pytest.raises(UpstreamStopped):
        await relayed(listening, stopped_amid())
    assert listening.types == ["in_progress", "acme:word", "acme:word"]


async def test_the_writer_is_told_of_the_first_chunk_of_a_batch_and_of_the_end() -> None:
    listening = Listening()
    answer = listening.answer
    answer.start(200, [SSE])
    await answer.write(WORD)
    for _ in range(2):
        listening.intake.parse_backlog().take()
        listening.changes = 0
        for _ in range(5):
            await answer.write(WORD)
        assert listening.changes == 1
    listening.intake.parse_backlog().take()
    padding = b"," * SHORTEST_TERMINAL_EVENT
    for _ in range(2):
        nothing = b'data: {"type":"keepalive","response":null}\n: %b\n\n' % padding
        await answer.write(nothing)
        assert not listening.intake.has_pending
    listening.changes = 0
    await answer.write(WORD)
    assert listening.changes == 1
    await answer.write(END.replace(b"\n\n", b"\n: %b\n\n" % padding))
    assert listening.changes == 2
    assert listening.recorder.is_over
    await answer.write(WORD)
    assert listening.changes == 2


@pytest.mark.parametrize("is_stream_over", [True, False])
async def test_an_end_shorter_than_real_ones_is_seen_with_its_batch_or_at_the_streams_end(
    *, is_stream_over: bool
) -> None:
    listening = Listening()
    listening.answer.start(200, [SSE])
    for chunk in (WORD, WORD, END):
        await listening.answer.write(chunk)
    assert not listening.recorder.is_over
    if is_stream_over:
        listening.answer.finish()
    else:
        listening.intake.parse_backlog().take()
    assert listening.recorder.ended_by_upstream


async def test_a_chunk_rings_for_whom_it_is_early_enough() -> None:
    listening = Listening()
    listening.answer.start(200, [SSE])
    for _ in range(2):
        await listening.answer.write(WORD)
    timer, woken = listening.timers.new(), anyio.Event()

    async def sleep() -> None:
        await timer.sleep_until(anyio.current_time() + 100, earliest=anyio.current_time() + 10)
        woken.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep)
        await anyio.sleep(9)
        listening.changes = 0
        await listening.answer.write(WORD)
        assert listening.changes == 0
        await anyio.sleep(2)
        await listening.answer.write(WORD)
        assert listening.changes == 1
        assert not woken.is_set()  # whoever is told rings
        listening.timers.fire_early(anyio.current_time())
        await woken.wait()


async def test_once_stopped_a_write_raises_what_servers_raise_for_a_lost_client() -> None:
    listening = Listening()
    listening.answer.start(200, [SSE])
    listening.answer.stop()
    with pytest.raises(UpstreamStopped):
        await listening.answer.write(WORD)
    assert issubclass(UpstreamStopped, OSError)


async def test_finishing_twice_or_after_the_end_changes_nothing() -> None:
    listening = await Listening().hear([WORD, END, WORD], SSE)
    listening.answer.finish()
    listening.answer.finish()
    assert listening.types[-1] == "completed"


async def test_a_body_before_its_headers_is_ignored() -> None:
    listening = Listening()
    await listening.answer.write(WORD)
    assert listening.types == []
