"""When WSGI answers, and until when: the promises of ``HttpTimeConformance``, with real threads.

Threads cannot live in virtual time. What the store judges is judged by a clock that the test sets;
what the event loop times has short intervals here, and a wide margin where something must *not*
happen yet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from response_cache.store import Append, Appended, Claim
from response_cache.stores.memory import MemoryStore
from response_cache.testing import Serve
from response_cache.testing._http_suite.idempotency import KEY
from response_cache.testing._http_suite.lifetimes import TOO_OLD
from response_cache.testing._http_suite.site import HttpSuite, Site, error_of, given, not_found, ok
from response_cache.testing._upstream import Call
from response_cache_wsgi import ResponseCacheMiddleware
from tests.adapters.wsgi.driver import WAIT_TIMEOUT, request, served_in_threads

pytestmark = pytest.mark.slow


class Clocked(MemoryStore):
    """A memory store whose time the test moves, and which counts what is written."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 0.0
        self.appends = 0

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        appended = await super().append(claim, append, lease)
        self.appends += 1
        return appended


class OverWSGI(HttpSuite):
    """The site of every test: the middleware around a scripted app, called in threads."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Of the client and the upstream."""
        return "asyncio"

    @pytest.fixture
    def store(self) -> Clocked:
        return Clocked()

    @pytest.fixture
    def serve(self, store: Clocked) -> Serve:
        hurried = {"admission_wait": 0.0, "drain_timeout": 0.0, "stop_grace": 0.01}
        return lambda upstream, **options: served_in_threads(
            upstream, store, {**hurried, **options}
        )


class TestExpiring(OverWSGI):
    """How long things are kept."""

    @given(ttl=100.0, stream_ttl=40.0)
    async def test_the_stream_goes_first_and_then_the_object(
        self, site: Site, store: Clocked
    ) -> None:
        id = await site.completed()
        final = await site.object(id)
        store.now += 39
        assert len(await site.events(id)) == 9
        store.now += 2
        assert error_of(await site.get(id, stream="true"), 400) == TOO_OLD
        assert await site.object(id) == final
        assert ok(await site.input_items(id))["data"]
        store.now += 60
        assert error_of(await site.get(id), 404) == not_found(id)
        assert error_of(await site.input_items(id), 404) == not_found(id)

    @given(ttl=100.0, stream_ttl=100.0, unstored_ttl=30.0)
    async def test_what_shall_not_be_stored_goes_early(self, site: Site, store: Clocked) -> None:
        id = await site.completed(store=False)
        store.now += 29
        assert len(await site.events(id)) == 9
        store.now += 2
        assert error_of(await site.get(id), 404) == not_found(id)

    @given(ttl=2.0, lease=0.6)
    async def test_a_running_response_never_expires(self, site: Site, store: Clocked) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        for _ in range(10):
            store.now += 0.5  # within the lease; all together are more than the response is kept
            await more_than(store, store.appends)
        await site.until_shows(id, "Hel")
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @given(ttl=50.0)
    async def test_an_expired_key_makes_a_new_response(self, site: Site, store: Clocked) -> None:
        site.upstream.play = lambda call: call.complete()
        id = ok(await site.post(headers=KEY))["id"]
        await site.until_over(id)
        tag = (await site.get(id)).headers["etag"]
        store.now += 51
        assert ok(await site.post(headers=KEY))["id"] == id
        assert (await site.until_over(id))["status"] == "completed"
        assert len(site.upstream.calls) == 2
        assert (await site.get(id)).headers["etag"] != tag


class TestEnduring(OverWSGI):
    """Time limits of the upstream; the scripted app yields an empty chunk where it is silent."""

    @given(max_duration=0.3)
    async def test_an_upstream_that_takes_too_long_is_stopped(self, site: Site) -> None:
        id, call = await site.begin()
        final = await site.until_over(id)
        assert final["error"]["message"] == "The response took longer than 0.3 seconds."
        await call.stopped()
        assert (await site.events(id))[-1]["type"] == "response.failed"

    @given(idle_timeout=1.5)
    async def test_empty_chunks_keep_it_as_words_do(self, site: Site) -> None:
        id, call = await site.begin()
        await anyio.sleep(2)
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @given(max_running=1, idle_timeout=1.5, max_duration=2.5)
    async def test_waiting_for_a_place_counts_for_neither_limit(self, site: Site) -> None:
        _, first = await site.begin()
        waiting = await site.create(input="second")
        await anyio.sleep(1.6)
        await first.complete()
        second = await site.upstream.next_call()
        await anyio.sleep(1)
        await second.complete()
        assert (await site.until_over(waiting["id"]))["status"] == "completed"


def test_an_app_that_blocks_is_given_up_and_closed_by_its_own_thread() -> None:
    may_go_on, closed_in = threading.Event(), list[str]()

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        try:
            assert may_go_on.wait(WAIT_TIMEOUT)
            yield b""
        finally:
            closed_in.append(threading.current_thread().name)

    wrapped = ResponseCacheMiddleware(app, idle_timeout=0.2, drain_timeout=0.0, stop_grace=0.01)
    body = {"model": "m", "input": "hi", "background": True}
    id = request(wrapped, "POST", "/v1/responses", body).json()["id"]
    wait = [("prefer", "wait=20")]
    given_up = request(wrapped, "GET", f"/v1/responses/{id}", headers=wait).json()
    assert given_up["error"]["message"] == "The upstream was silent for 0.2 seconds."
    assert closed_in == []
    may_go_on.set()
    wrapped.close()
    assert closed_in == ["response_cache app"]


class TestWaiting(OverWSGI):
    """Silence on the way to the client, and waiting for news."""

    @given(keep_alive=0.3)
    async def test_a_comment_is_sent_after_each_silence(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id, starting_after=1) as reader:
            assert await reader.block() == b": keep-alive"  # at once: it brings the headers
            started = time.monotonic()
            for beat in range(1, 4):
                assert await reader.block() == b": keep-alive"
                assert time.monotonic() - started > 0.3 * beat - 0.2
            await call.complete()
            assert (await reader.rest())[-1]["type"] == "response.completed"

    @given(keep_alive=1.2)
    async def test_no_comment_is_sent_while_events_come(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            for _ in range(15):
                await anyio.sleep(0.1)
                await call.say("x")
                await reader.until("response.output_text.delta")
            await call.complete()
            await reader.rest()
        assert b"keep-alive" not in reader.raw

    async def test_a_long_poll_without_news_returns_in_time(self, site: Site) -> None:
        id, _ = await site.begin()
        reply, seconds = await timed_poll(site, id, {"prefer": "wait=1"})
        assert ok(reply)["status"] == "queued"
        assert 1 <= seconds < WAIT_TIMEOUT

    @given(max_wait=1.0)
    async def test_a_long_poll_waits_no_longer_than_allowed(self, site: Site) -> None:
        id, _ = await site.begin()
        reply, seconds = await timed_poll(site, id, {"prefer": "wait=9999999999999"})
        assert reply.headers["preference-applied"] == "wait=1"
        assert 1 <= seconds < WAIT_TIMEOUT

    async def test_a_long_poll_with_a_tag_returns_at_the_first_news(self, site: Site) -> None:
        id, call = await site.begin()
        tag = (await site.get(id)).headers["etag"]

        async def answer() -> None:
            await call.start()  # which is no news
            await call.say("x")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            reply = await site.get(id, headers={"prefer": "wait=40", "if-none-match": tag})
        assert ok(reply)["status"] == "in_progress"

    async def test_a_long_poll_without_a_tag_waits_for_the_end_not_for_news(
        self, site: Site
    ) -> None:
        id, call = await site.begin()

        async def answer() -> None:
            for _ in range(3):
                await call.say("x")
                await site.until(id, lambda response: response["status"] == "in_progress")
            await call.complete()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            reply = await site.get(id, headers={"prefer": "wait=40"})
        assert ok(reply)["status"] == "completed"

    @given(admission_wait=0.25)
    async def test_who_comes_second_joins_when_the_first_is_admitted(self, site: Site) -> None:
        started = time.monotonic()
        ids: list[str] = []

        async def post() -> None:
            ids.append(ok(await site.post(headers=KEY))["id"])
            assert time.monotonic() - started >= 0.25

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            tasks.start_soon(post)
        assert len(set(ids)) == 1
        assert len(site.upstream.calls) == 1

    @given(admission_wait=1000.0)
    async def test_a_create_is_answered_as_soon_as_the_upstream_accepts(self, site: Site) -> None:
        site.upstream.play = lambda call: call.start()
        with anyio.fail_after(WAIT_TIMEOUT):
            assert (await site.create())["status"] == "queued"

    @given(admission_wait=1.0)
    async def test_a_refusal_is_awaited_until_its_last_byte(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await call.start(429, {"content-type": "application/json"})
            await anyio.sleep(1.5)
            await call.finish(b'{"error": 1}')

        site.upstream.play = refuse
        reply = await site.post()
        assert (reply.status_code, reply.content) == (429, b'{"error": 1}')


async def more_than(store: Clocked, appends: int) -> None:
    """Return when *store* was written to again, as it is by a heartbeat."""
    with anyio.fail_after(WAIT_TIMEOUT):
        while store.appends <= appends:  # noqa: ASYNC110 - it is written to in another thread
            await anyio.sleep(0.005)


async def timed_poll(site: Site, id: str, headers: dict[str, str]) -> tuple[httpx.Response, float]:
    """The reply to a poll, and the seconds until it came."""
    started = time.monotonic()
    reply = await site.get(id, headers=headers)
    return reply, time.monotonic() - started
