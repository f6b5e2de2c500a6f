"""One running response: its upstream, its writer and its guard."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from response_cache._protocol.ids import ANYBODY
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.requests import create_request
from response_cache._protocol.sse import frame
from response_cache._recording.answer import Answer, Upstream, UpstreamStopped
from response_cache._recording.attempt import Refusal
from response_cache.cache import Created, ResponseCache, body_of
from response_cache.options import Options
from response_cache.store import Claim
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Fault, FaultyStore, Process, ScriptedAnswer
from response_cache.testing._virtual_time import virtual_backend

SSE = ((b"content-type", b"text/event-stream"),)
JSON = ((b"content-type", b"application/json"),)
WORD = {"type": "acme:word"}
COMPLETED = {"type": "response.completed", "response": {"id": "up", "output": []}}
BODY = {"model": "m", "input": "hi", "background": True}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Host:
    """A process with one store."""

    def __init__(self, kind: type[MemoryStore] = MemoryStore, **options: Any) -> None:
        self.shared = FaultyStore(lambda clock: kind(clock=clock))
        self.process = Process(self.shared, Options(lease=6.0, **options))
        self.cache: ResponseCache = self.process.cache

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Host]:
        async with self.process.running():
            yield self

    async def ask(self, upstream: Upstream) -> Created | Refusal:
        return await self.cache.create(create_request(BODY), dump(BODY), upstream, owner=ANYBODY)

    async def accepted(self, upstream: Upstream) -> str:
        created = await self.ask(upstream)
        assert isinstance(created, Created)
        return created.id

    async def response(self, id: str) -> dict[str, Any]:
        return dict(load(body_of(await self.cache.retrieve(id, ANYBODY))))


def sse(event: dict[str, Any]) -> bytes:
    return frame(event["type"], dump(event))


# After the end.


async def test_clean_up_after_the_end_runs_on_and_delays_nothing() -> None:
    steps: list[str] = []

    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        await answer.write(sse(COMPLETED))
        answer.finish()
        await anyio.sleep(50)
        steps.append("billed")

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(1)
        assert (await host.response(id))["status"] == "completed"
        assert steps == []
        await anyio.sleep(50)
        assert steps == ["billed"]


async def test_clean_up_is_bounded() -> None:
    ended = anyio.Event()

    async def upstream(_body: bytes, answer: Answer) -> None:
        try:
            answer.start(200, SSE)
            await answer.write(sse(COMPLETED))
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with Host(after_end_timeout=20.0).running() as host:
        await host.accepted(upstream)
        await anyio.sleep(19)
        assert not ended.is_set()
        await anyio.sleep(2)
        assert ended.is_set()


async def test_what_comes_after_the_end_is_thrown_away() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        for event in (COMPLETED, WORD, {"type": "response.failed", "response": {}}, WORD):
            await answer.write(sse(event))
        answer.finish()

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(1)
        assert (await host.response(id))["status"] == "completed"
        assert (await host.cache.retrieve(id, ANYBODY)).tail == 4


@pytest.mark.parametrize("content", [b"", b'{"error":{"code":"c","message":"No."}}'])
async def test_an_upstream_that_failed_late_may_clean_up_too(content: bytes) -> None:
    steps: list[str] = []

    async def upstream(_body: bytes, answer: Answer) -> None:
        await anyio.sleep(5)
        answer.start(500 if content else 200, JSON if content else SSE)
        await answer.write(content)
        answer.finish()
        await anyio.sleep(5)
        steps.append("cleaned up")

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(6)
        response = await host.response(id)
        assert response["status"] == "failed"
        assert (response["error"]["message"] == "No.") is bool(content)
        await anyio.sleep(5)
        assert steps == ["cleaned up"]


async def test_whoever_hosts_it_can_wait_for_the_end_of_one_response() -> None:
    upstream, other = ScriptedAnswer(), ScriptedAnswer()
    async with Host().running() as host:
        id = await host.accepted(upstream)
        await host.accepted(other)
        await host.cache.finished("resp_unknown")
        with anyio.move_on_after(5) as waiting:
            await host.cache.finished(id)
        assert waiting.cancelled_caught
        upstream.send(COMPLETED)
        upstream.finish()
        with anyio.fail_after(1):
            await host.cache.finished(id)
        assert (await host.response(id))["status"] == "completed"
        await host.cache.finished(id)


# Stopping.


async def test_an_upstream_is_not_called_when_the_process_ends_before() -> None:
    called: list[bytes] = []

    class Ending(MemoryStore):
        async def create(self, *args: Any, **kwargs: Any) -> Claim:
            claim = await super().create(*args, **kwargs)
            ending.cancel()
            return claim

    async def upstream(body: bytes, _answer: Answer) -> None:
        called.append(body)

    host = Host(Ending)
    with anyio.CancelScope() as ending:
        async with host.running():
            await host.ask(upstream)
    assert ending.cancelled_caught
    assert called == []


async def test_a_cancel_tells_a_silent_upstream_and_then_cancels_it() -> None:
    steps: list[str] = []

    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        try:
            await answer.stopped.wait()
            steps.append("told")
            await anyio.sleep_forever()
        finally:
            steps.append("cancelled")

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await host.cache.cancel(id, ANYBODY)
        with anyio.fail_after(0.25):
            while steps != ["told", "cancelled"]:  # noqa: ASYNC110 - on a virtual clock
                await anyio.sleep(0.01)
        assert (await host.response(id))["status"] == "cancelled"


async def test_an_upstream_that_writes_after_a_cancel_learns_that_its_client_has_gone() -> None:
    raised: list[type[BaseException]] = []
    go_on = anyio.Event()

    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        await answer.stopped.wait()
        try:
            await answer.write(sse(WORD))
        except OSError as error:
            raised.append(type(error))
            raise
        finally:
            go_on.set()

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await host.cache.cancel(id, ANYBODY)
        await go_on.wait()
        assert raised == [UpstreamStopped]
        assert (await host.cache.retrieve(id, ANYBODY)).tail == 3


async def test_a_delete_stops_the_upstream() -> None:
    upstream = ScriptedAnswer()
    async with Host().running() as host:
        id = await host.accepted(upstream)
        await host.cache.delete(id, ANYBODY)
        with anyio.fail_after(0.5):
            await upstream.has_ended.wait()
        assert upstream.was_told


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=False)
async def test_a_thread_cannot_be_stopped_but_the_status_is_right_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("response_cache._recording.job.REPORT_DELAY", 0.0)
    release = threading.Event()
    late = anyio.Event()

    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        await anyio.to_thread.run_sync(release.wait)

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "does not stop" in record.getMessage():
                late.set()

    async with Host(stop_grace=0.0).running() as host:
        id = await host.accepted(upstream)
        handler = Watch()
        logging.getLogger("response_cache.job").addHandler(handler)
        try:
            await host.cache.cancel(id, ANYBODY)
            assert (await host.response(id))["status"] == "cancelled"
            with anyio.fail_after(5):
                await late.wait()
            tail = (await host.cache.retrieve(id, ANYBODY)).tail
        finally:
            release.set()
            logging.getLogger("response_cache.job").removeHandler(handler)
        with anyio.fail_after(5):
            while host.cache.running:  # noqa: ASYNC110 - a thread ends when it ends
                await anyio.sleep(0.001)
        assert (await host.cache.retrieve(id, ANYBODY)).tail == tail
    assert "has stopped, late" in caplog.text


async def test_after_a_reconnect_the_lease_is_renewed_at_once() -> None:
    async with Host().running() as host:
        await host.accepted(ScriptedAnswer())
        await anyio.sleep(0.5)
        before = host.shared.operations["append"]
        host.shared.go_down()
        host.shared.come_back()
        await anyio.sleep(0.6)
        assert host.shared.operations["append"] == before + 1


# Failures.


async def test_an_exception_fails_the_response_and_is_logged_without_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        await answer.write(sse(WORD))
        raise RuntimeError("what the caller said")

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(1)
        response = await host.response(id)
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert "RuntimeError" in caplog.text
    assert "what the caller said" not in caplog.text


async def test_an_upstream_that_ends_without_an_answer_is_refused_as_a_server_error() -> None:
    async def upstream(_body: bytes, _answer: Answer) -> None:
        return

    async with Host().running() as host:
        refusal = await host.ask(upstream)
        assert isinstance(refusal, Refusal)
        assert refusal.status == 500
        await anyio.sleep(1)
        assert host.cache.running == 0
        assert host.shared.operations["delete"] == 1


@pytest.mark.parametrize("anyio_backend", [virtual_backend("asyncio")], ids=["asyncio"])
async def test_a_cancellation_that_nobody_asked_for_fails_the_response() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(200, SSE)
        await answer.write(sse(WORD))
        raise anyio.get_cancelled_exc_class()  # as of a task of its own that it awaited

    async with Host().running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(1)
        response = await host.response(id)
        assert response["status"] == "failed"
        assert "failed while it answered" in response["error"]["message"]


async def test_what_the_process_cannot_finish_is_said_before_it_ends() -> None:
    host = Host(drain_timeout=1.0)
    upstream = ScriptedAnswer()
    async with host.running():
        id = await host.accepted(upstream)
    view = await host.shared.truth.read(id)
    assert view is not None
    assert (view.closed, view.status) == (True, "failed")
    assert "shut down" in load(body_of(view))["error"]["message"]
    assert upstream.has_ended.is_set()


# Time limits.


@pytest.mark.parametrize("option", ["idle_timeout", "max_duration"])
async def test_a_limit_holds_at_a_time_where_the_difference_is_rounded(option: str) -> None:
    began, limit = 24.253333333333334, 20.0
    assert began + limit - began < limit
    upstream = ScriptedAnswer()
    limits: dict[str, Any] = {option: limit}
    async with Host(**limits).running() as host:
        await anyio.sleep_until(began)
        id = await host.accepted(upstream)
        await anyio.sleep_until(began + limit + 1)
        assert (await host.response(id))["status"] == "failed"
    assert host.shared.operations["wait"] < 20  # its guard slept


async def test_a_silent_upstream_fails_after_the_idle_timeout() -> None:
    upstream = ScriptedAnswer()
    async with Host(idle_timeout=30.0).running() as host:
        id = await host.accepted(upstream)
        await anyio.sleep(29)
        upstream.send(WORD)
        await anyio.sleep(29)
        assert (await host.response(id))["status"] == "in_progress"
        await anyio.sleep(2)
        response = await host.response(id)
        assert response["error"]["message"] == "The upstream was silent for 30 seconds."
        await anyio.sleep(1)
        assert upstream.has_ended.is_set()


async def test_an_upstream_that_is_held_back_by_the_store_is_not_silent() -> None:
    upstream = ScriptedAnswer()
    async with Host(idle_timeout=30.0, buffer_bytes=1).running() as host:
        id = await host.accepted(upstream)
        host.shared.go_down()
        for _ in range(10):
            upstream.send(WORD)
        await anyio.sleep(100)
        host.shared.come_back()
        upstream.send(COMPLETED)
        upstream.finish()
        await anyio.sleep(2)
        assert (await host.response(id))["status"] == "completed"


async def test_a_response_ends_after_its_longest_duration_however_busy() -> None:
    upstream = ScriptedAnswer()
    async with Host(max_duration=60.0).running() as host:
        id = await host.accepted(upstream)
        for _ in range(61):
            upstream.send(WORD)
            await anyio.sleep(1)
        response = await host.response(id)
        assert response["error"]["message"] == "The response took longer than 60 seconds."


async def test_waiting_for_a_place_counts_for_no_limit() -> None:
    first, second = ScriptedAnswer(), ScriptedAnswer()
    async with Host(max_running=1, idle_timeout=30.0, max_duration=50.0).running() as host:
        await host.accepted(first)
        id = await host.accepted(second)
        for _ in range(4):
            await anyio.sleep(10)
            first.send(WORD)
        assert second.bodies == []
        first.send(COMPLETED)
        first.finish()
        await anyio.sleep(25)
        assert len(second.bodies) == 1
        assert (await host.response(id))["status"] == "queued"


class Deaf(MemoryStore):
    """Tells nobody what happens."""

    async def wait(self, id: str, **seen: Any) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize("way", ["cancel", "delete"])
async def test_what_was_ended_while_it_waited_for_a_place_is_not_asked_for(way: str) -> None:
    first, second, third = ScriptedAnswer(), ScriptedAnswer(), ScriptedAnswer()
    async with Host(Deaf, max_running=1).running() as host:
        await host.accepted(first)
        id = await host.accepted(second)
        await getattr(host.cache, way)(id, ANYBODY)
        await host.accepted(third)
        first.send(COMPLETED)
        first.finish()
        await anyio.sleep(1)
        assert second.bodies == []
        assert len(third.bodies) == 1


async def test_what_was_failed_while_it_waited_for_a_place_is_not_asked_for() -> None:
    first, second = ScriptedAnswer(), ScriptedAnswer()
    async with Host(max_running=1).running() as host:
        await host.accepted(first)
        id = await host.accepted(second)
        host.shared.plan("append", None, Fault.SLOW)  # the first job ends before the second
        await host.cache.drain(1.0)
        await anyio.sleep(2)
        assert first.has_ended.is_set()
        assert (await host.response(id))["status"] == "failed"
        assert host.cache.running == 0
        assert second.bodies == []


# Admission.


async def test_a_refusal_is_handed_over_as_it_came_and_nothing_is_left() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.start(429, (*JSON, (b"retry-after", b"7")))
        await anyio.sleep(1)
        await answer.write(b'{"error":')
        await answer.write(b"{}}")
        answer.finish()

    async with Host().running() as host:
        refusal = await host.ask(upstream)
        assert refusal == Refusal(429, (*JSON, (b"retry-after", b"7")), b'{"error":{}}')
        await anyio.sleep(1)
        assert host.cache.running == 0
        assert host.shared.operations["delete"] == 1


async def test_after_the_wait_a_refusal_is_the_failure_of_the_response() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        await anyio.sleep(1)
        answer.start(429, JSON)
        await answer.write(b'{"error":{"message":"Slow.","code":"rate_limit_exceeded"}}')
        answer.finish()

    async with Host().running() as host:
        began = anyio.current_time()
        id = await host.accepted(upstream)
        assert anyio.current_time() - began == pytest.approx(0.25)
        await anyio.sleep(2)
        error = (await host.response(id))["error"]
        assert error == {"code": "rate_limit_exceeded", "message": "Slow."}


async def test_a_refusal_that_was_announced_is_waited_for() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.refusing()
        await anyio.sleep(1)
        answer.start(429, JSON)
        answer.finish()

    async with Host().running() as host:
        assert await host.ask(upstream) == Refusal(429, JSON, b"")


@pytest.mark.parametrize("raises", [True, False])
async def test_an_upstream_that_ends_instead_of_its_announced_refusal_is_a_server_error(
    *, raises: bool
) -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.refusing()
        await anyio.sleep(1)
        if raises:
            raise RuntimeError("it broke over its own refusal")

    async with Host().running() as host:
        refusal = await host.ask(upstream)
        assert isinstance(refusal, Refusal)
        assert refusal.status == 500


async def test_an_adapter_may_say_that_the_request_is_accepted() -> None:
    async def upstream(_body: bytes, answer: Answer) -> None:
        answer.admitted()
        await anyio.sleep_forever()

    async with Host(admission_wait=100.0).running() as host:
        began = anyio.current_time()
        await host.accepted(upstream)
        assert anyio.current_time() - began < 1


# An upstream that refuses a stream.

NO_STREAM = b'{"error":{"message":"no","param":"stream"}}'
WHOLE = b'{"id":"up","status":"completed","output":[]}'


class Streamless:
    """An upstream that refuses streams, *after* some seconds, and answers whole."""

    def __init__(self, after: float = 0.0, answer: tuple[int, bytes] = (200, WHOLE)) -> None:
        self.asked: list[bytes] = []
        self.after = after
        self._answer = answer

    async def __call__(self, body: bytes, answer: Answer) -> None:
        self.asked.append(body)
        await anyio.sleep(self.after)
        is_stream = load(body).get("stream") is True
        status, content = (400, NO_STREAM) if is_stream else self._answer
        answer.start(status, JSON)
        await answer.write(content)
        answer.finish()
        await self.end()

    async def end(self) -> None:
        pass


async def test_what_a_stream_was_refused_for_is_asked_without_and_remembered() -> None:
    upstream = Streamless()
    async with Host().running() as host:
        for _ in range(2):
            id = await host.accepted(upstream)
            await host.cache.finished(id)
            assert (await host.response(id))["status"] == "completed"
        await anyio.sleep(601)
        await host.cache.finished(await host.accepted(upstream))
    streamed = b'{"model":"m","input":"hi","stream":true}'
    whole = b'{"model":"m","input":"hi"}'
    assert upstream.asked == [streamed, whole, whole, streamed, whole]


async def test_a_second_attempt_is_waited_for_as_the_first_one_was() -> None:
    upstream = Streamless(0.9, (403, b"{}"))
    async with Host(admission_wait=1.0).running() as host:
        refusal = await host.ask(upstream)
        assert refusal == Refusal(403, JSON, b"{}")
        assert anyio.current_time() == pytest.approx(1.8, abs=0.1)


async def test_a_second_attempt_that_takes_long_is_admitted() -> None:
    upstream = Streamless(3.0)
    async with Host(admission_wait=1.0).running() as host:
        id = await host.accepted(upstream)
        assert anyio.current_time() < 3
        await anyio.sleep(7)
        assert (await host.response(id))["status"] == "completed"


async def test_what_is_remembered_costs_no_client_time() -> None:
    upstream = Streamless()
    async with Host(admission_wait=1.0).running() as host:
        await host.cache.finished(await host.accepted(upstream))
        upstream.after = 3.0
        before = anyio.current_time()
        await host.accepted(upstream)
        assert anyio.current_time() - before == pytest.approx(1.0, abs=0.1)
    assert len(upstream.asked) == 3


async def test_a_refusal_of_both_attempts_after_admission_is_the_failure() -> None:
    upstream = Streamless(3.0, (400, b'{"detail":"No."}'))
    async with Host(admission_wait=1.0).running() as host:
        id = await host.accepted(upstream)
        await host.cache.finished(id)
        assert (await host.response(id))["error"]["message"] == "No."
        assert len(upstream.asked) == 2


@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_what_was_cancelled_meanwhile_is_not_asked_again(verb: str) -> None:
    upstream = Streamless(3.0)
    async with Host(admission_wait=1.0, stop_grace=10.0).running() as host:
        id = await host.accepted(upstream)
        await getattr(host.cache, verb)(id, ANYBODY)
        await host.cache.finished(id)
        assert len(upstream.asked) == 1


async def test_what_is_cancelled_while_the_first_attempt_cleans_up_is_not_asked_again() -> None:
    class Cleaning(Streamless):
        async def end(self) -> None:
            await anyio.sleep(5)

    upstream = Cleaning()
    async with Host(admission_wait=1.0).running() as host:
        id = await host.accepted(upstream)
        await host.cache.cancel(id, ANYBODY)
        await host.cache.finished(id)
        assert (await host.response(id))["status"] == "cancelled"
        assert len(upstream.asked) == 1


async def test_a_first_attempt_that_raises_after_its_refusal_is_reported_and_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaking(Streamless):
        async def end(self) -> None:
            if len(self.asked) == 1:
                raise RuntimeError("what the caller said")

    upstream = Breaking()
    async with Host().running() as host:
        id = await host.accepted(upstream)
        await host.cache.finished(id)
        assert (await host.response(id))["status"] == "completed"
    assert "RuntimeError" in caplog.text
    assert "what the caller said" not in caplog.text


async def test_a_second_attempt_has_the_whole_idle_timeout_for_its_silence() -> None:
    upstream = Streamless(8.0)
    async with Host(idle_timeout=10.0).running() as host:
        id = await host.accepted(upstream)
        await host.cache.finished(id)
        assert (await host.response(id))["status"] == "completed"
