"""Time: expiry, limits of duration, keep-alives, long polls that end without a change.

These tests need a site whose time is virtual (``response_cache.testing.virtual_backend``), also in
its store: hours pass in them.
"""

from __future__ import annotations

import anyio
import pytest

from response_cache.testing._http_suite.idempotency import KEY
from response_cache.testing._http_suite.site import (
    HttpSuite,
    Site,
    error_of,
    given,
    invalid,
    not_found,
    ok,
)
from response_cache.testing._upstream import Call

TOO_OLD = invalid("This response can no longer be streamed because it is more than 5 minutes old")


class Expiring(HttpSuite):
    """How long things are kept."""

    @given(ttl=100.0, stream_ttl=40.0)
    async def test_the_stream_goes_first_and_then_the_object(self, site: Site) -> None:
        id = await site.completed()
        final = await site.object(id)
        await anyio.sleep(39)
        assert len(await site.events(id)) == 9
        await anyio.sleep(2)
        for cursor in (-1, 3, 8, 100):
            reply = await site.get(id, stream="true", starting_after=cursor)
            assert error_of(reply, 400) == TOO_OLD
        assert await site.object(id) == final
        assert ok(await site.input_items(id))["data"]
        await anyio.sleep(60)
        assert error_of(await site.get(id), 404) == not_found(id)
        assert error_of(await site.input_items(id), 404) == not_found(id)

    @given(ttl=100.0, stream_ttl=100.0, unstored_ttl=30.0)
    async def test_what_shall_not_be_stored_goes_early(self, site: Site) -> None:
        id = await site.completed(store=False)
        await anyio.sleep(29)
        assert len(await site.events(id)) == 9
        await anyio.sleep(2)
        assert error_of(await site.get(id), 404) == not_found(id)

    @given(ttl=10.0, unstored_ttl=5.0, idle_timeout=10_000.0)
    async def test_a_running_response_never_expires(self, site: Site) -> None:
        id, call = await site.begin(store=False)
        await call.say("Hel")
        await anyio.sleep(5_000)
        await site.until_shows(id, "Hel")
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @given(ttl=50.0)
    async def test_an_expired_key_makes_a_new_response(self, site: Site) -> None:
        site.upstream.play = lambda call: call.complete()
        id = ok(await site.post(headers=KEY))["id"]
        await site.until_over(id)
        tag = (await site.get(id)).headers["etag"]
        await anyio.sleep(51)
        assert ok(await site.post(headers=KEY))["id"] == id
        assert (await site.until_over(id))["status"] == "completed"
        assert len(site.upstream.calls) == 2
        assert (await site.get(id)).headers["etag"] != tag


class Enduring(HttpSuite):
    """Time limits of the upstream."""

    @given(idle_timeout=30.0)
    async def test_a_silent_upstream_is_given_up(self, site: Site) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await anyio.sleep(29)
        assert (await site.object(id))["status"] == "in_progress"
        await anyio.sleep(2)
        final = await site.object(id)
        assert final["error"]["message"] == "The upstream was silent for 30 seconds."
        await call.stopped()
        assert (await site.events(id))[-1]["type"] == "response.failed"

    @given(idle_timeout=30.0)
    async def test_a_word_in_time_keeps_it(self, site: Site) -> None:
        id, call = await site.begin()
        for _ in range(5):
            await anyio.sleep(20)
            await call.say("x")
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @given(max_duration=60.0)
    async def test_an_upstream_that_takes_too_long_is_stopped(self, site: Site) -> None:
        id, call = await site.begin()
        for _ in range(5):
            await call.say("x")
            await anyio.sleep(11)
        assert (await site.object(id))["status"] == "in_progress"
        await anyio.sleep(6)
        final = await site.object(id)
        assert final["error"]["message"] == "The response took longer than 60 seconds."
        await call.stopped()

    @given(max_running=1, idle_timeout=30.0, max_duration=40.0)
    async def test_waiting_for_a_place_counts_for_neither(self, site: Site) -> None:
        _, first = await site.begin()
        waiting = await site.create(input="second")
        await anyio.sleep(25)
        await first.say("x")
        await anyio.sleep(10)
        await first.complete()
        second = await site.upstream.next_call()
        await anyio.sleep(25)
        await second.complete()
        assert (await site.until_over(waiting["id"]))["status"] == "completed"


class Waiting(HttpSuite):
    """Silence on the way to the client."""

    @given(keep_alive=15.0)
    async def test_a_comment_is_sent_after_each_silence(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id, starting_after=1) as reader:
            started = anyio.current_time()
            for beat in range(1, 4):
                assert await reader.block() == b": keep-alive"
                assert anyio.current_time() - started == pytest.approx(15 * beat, abs=0.5)
            await call.complete()
            events = await reader.rest()
        assert events[-1]["type"] == "response.completed"
        assert reader.raw.startswith(b": keep-alive\n\n: keep-alive\n\n: keep-alive\n\nevent: ")

    @given(keep_alive=15.0)
    async def test_no_comment_is_sent_while_events_come(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            for _ in range(4):
                await anyio.sleep(14)
                await call.say("x")
                await reader.until("response.output_text.delta")
            await call.complete()
            await reader.rest()
        assert b"keep-alive" not in reader.raw

    async def test_a_long_poll_without_news_returns_in_time(self, site: Site) -> None:
        id, _ = await site.begin()
        started = anyio.current_time()
        reply = await site.get(id, headers={"prefer": "wait=20"})
        assert ok(reply)["status"] == "queued"
        assert anyio.current_time() - started == pytest.approx(20, abs=0.5)

    @given(max_wait=30.0)
    async def test_a_long_poll_waits_no_longer_than_allowed(self, site: Site) -> None:
        id, _ = await site.begin()
        started = anyio.current_time()
        reply = await site.get(id, headers={"prefer": "wait=9999999999999"})
        assert reply.headers["preference-applied"] == "wait=30"
        assert anyio.current_time() - started == pytest.approx(30, abs=0.5)

    async def test_a_long_poll_with_a_tag_returns_at_the_first_news(self, site: Site) -> None:
        id, call = await site.begin()
        tag = (await site.get(id)).headers["etag"]
        started = anyio.current_time()

        async def answer() -> None:
            await anyio.sleep(5)
            await call.start()
            await anyio.sleep(5)
            await call.say("x")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            reply = await site.get(id, headers={"prefer": "wait=40", "if-none-match": tag})
            assert ok(reply)["status"] == "in_progress"
            assert anyio.current_time() - started == pytest.approx(10, abs=0.5)

    async def test_a_long_poll_without_a_tag_waits_for_the_end_not_for_news(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        started = anyio.current_time()

        async def answer() -> None:
            for _ in range(3):
                await anyio.sleep(5)
                await call.say("x")
            await call.complete()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            reply = await site.get(id, headers={"prefer": "wait=40"})
        assert ok(reply)["status"] == "completed"
        assert anyio.current_time() - started == pytest.approx(15, abs=0.5)

    async def test_a_create_that_is_waited_for_is_answered_at_the_end(self, site: Site) -> None:
        async def answer(call: Call) -> None:
            await anyio.sleep(5)
            await call.say("Hello")
            await anyio.sleep(5)
            await call.complete()

        site.upstream.play = answer
        started = anyio.current_time()
        reply = await site.post(headers={"prefer": "wait=40"})
        assert ok(reply)["status"] == "completed"
        assert anyio.current_time() - started == pytest.approx(10, abs=0.5)

    @given(max_wait=30.0)
    async def test_and_no_later_than_allowed(self, site: Site) -> None:
        started = anyio.current_time()
        reply = await site.post(headers={"prefer": "wait=99"})
        assert ok(reply)["status"] == "queued"
        assert reply.headers["preference-applied"] == "wait=30"
        assert anyio.current_time() - started == pytest.approx(30, abs=0.5)

    async def test_a_refusal_reaches_who_waits_for_it(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await anyio.sleep(3)
            await call.reply(429, b"slow down")

        site.upstream.play = refuse
        reply = await site.post(headers={"prefer": "wait=10"})
        assert (reply.status_code, reply.content) == (429, b"slow down")

    async def test_past_the_time_it_is_the_failure_of_the_response(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await anyio.sleep(12)
            await call.reply(429, {"error": {"message": "slow down"}})

        site.upstream.play = refuse
        reply = await site.post(headers={"prefer": "wait=10"})
        final = await site.until_over(ok(reply)["id"])
        assert final["error"]["message"] == "slow down"

    async def test_who_joins_waits_for_a_refusal_no_longer_than_asked(self, site: Site) -> None:
        times: list[float] = []
        started = anyio.current_time()

        async def post(wait: int) -> None:
            reply = await site.post(headers={**KEY, "prefer": f"wait={wait}"})
            assert ok(reply)["status"] == "queued"
            times.append(anyio.current_time() - started)

        async with anyio.create_task_group() as tasks:
            for wait in (20, 5):
                tasks.start_soon(post, wait)
        assert times == [pytest.approx(5, abs=0.5), pytest.approx(20, abs=0.5)]
        assert len(site.upstream.calls) == 1

    async def test_who_comes_second_joins_when_the_first_is_admitted(self, site: Site) -> None:
        started = anyio.current_time()
        times: list[float] = []

        async def post() -> None:
            ok(await site.post(headers=KEY))
            times.append(anyio.current_time() - started)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            tasks.start_soon(post)
        assert times == [pytest.approx(0.25, abs=0.1)] * 2
        assert len(site.upstream.calls) == 1

    @given(admission_wait=10.0)
    async def test_a_create_is_answered_as_soon_as_the_upstream_accepts(self, site: Site) -> None:
        async def accept(call: Call) -> None:
            await anyio.sleep(3)
            await call.start()

        site.upstream.play = accept
        started = anyio.current_time()
        assert (await site.create())["status"] == "queued"
        assert anyio.current_time() - started == pytest.approx(3, abs=0.1)

    @given(admission_wait=10.0)
    async def test_a_refusal_is_awaited_until_its_last_byte(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await anyio.sleep(9)
            await call.start(429, {"content-type": "application/json"})
            await anyio.sleep(3)
            await call.finish(b'{"error": 1}')

        site.upstream.play = refuse
        reply = await site.post()
        assert (reply.status_code, reply.content) == (429, b'{"error": 1}')
