"""What an upstream may say, and when it is held back or stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from response_cache._protocol.jsontext import load
from response_cache._recording.answer import UpstreamStopped
from response_cache._recording.intake import MAX_BACKLOG_BYTES, SHORTEST_TERMINAL_EVENT
from response_cache.testing._virtual_time import virtual_backend
from tests.recording.listening import END, SSE, WORD, Listening

SILENCE = b":" + b" " * 98 + b"\n"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


async def test_a_note_is_kept_until_the_end_and_not_after_it() -> None:
    listening = Listening()
    listening.answer.note("cost", 0.5)
    await listening.hear([WORD], SSE)
    listening.answer.note("cost", 0.7)
    notes = load(listening.recorder.take_notes() or b"")
    assert notes == {"cost": 0.5}
    assert listening.recorder.take_notes() is None
    assert listening.answer.id == "resp_rc1"


async def test_who_writes_too_fast_is_held_back_and_meanwhile_not_silent() -> None:
    listening = Listening(buffer_bytes=10)
    listening.answer.start(200, [SSE])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listening.answer.write, WORD)
        await anyio.sleep(100)
        assert listening.attempt.heard_at == anyio.current_time()
        listening.may_go_on.set()
    heard_at = listening.attempt.heard_at
    await anyio.sleep(5)
    assert listening.attempt.heard_at == heard_at


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
        listening.attempt.stop()

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
        listening.attempt.stop()
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
    listening.attempt.stop()
    with pytest.raises(UpstreamStopped):
        await listening.answer.write(WORD)
    assert issubclass(UpstreamStopped, OSError)


async def test_a_body_before_its_headers_is_ignored() -> None:
    listening = Listening()
    await listening.answer.write(WORD)
    assert listening.types == []
