"""Limits of one response, and of all responses together."""

from __future__ import annotations

import anyio
import pytest

from response_cache.testing._http_suite.idempotency import KEY
from response_cache.testing._http_suite.site import (
    PAUSE,
    WAIT_TIMEOUT,
    HttpSuite,
    Site,
    error_of,
    given,
    ok,
)


class Limits(HttpSuite):
    """What happens above each limit."""

    @given(max_running=1, max_waiting=1)
    async def test_past_the_running_ones_they_wait_and_past_the_waiting_ones_are_refused(
        self, site: Site
    ) -> None:
        first, call = await site.begin(input="first")
        second = await site.create(input="second")
        refused = await site.post(input="third")
        error = error_of(refused, 429)
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await site.object(second["id"]))["status"] == "queued"
        assert len(site.upstream.calls) == 1
        await call.complete()
        assert (await site.until_over(first))["status"] == "completed"
        call = await site.upstream.next_call()
        assert call.json["input"] == "second"
        await call.complete()
        assert (await site.until_over(second["id"]))["status"] == "completed"

    @given(max_running=1, max_waiting=0)
    async def test_there_is_room_again_when_one_has_ended(self, site: Site) -> None:
        id, call = await site.begin()
        error_of(await site.post(), 429)
        await site.cancel(id)
        await call.stopped()
        await site.until_over(id)
        # Its place is free a moment after its end can be read.
        with anyio.fail_after(WAIT_TIMEOUT):
            while (reply := await site.post()).status_code == 429:  # noqa: ASYNC110 - over HTTP
                await anyio.sleep(PAUSE)
        assert ok(reply)["status"] == "queued"

    @given(max_running=1, max_waiting=0)
    async def test_a_repeat_finds_its_response_also_where_there_is_no_room(
        self, site: Site
    ) -> None:
        id = ok(await site.post(headers=KEY))["id"]
        assert ok(await site.post(headers=KEY))["id"] == id
        error_of(await site.post(headers={"idempotency-key": "another"}), 429)
        error_of(await site.post(headers=KEY, input="else"), 422)

    @given(max_streams=1)
    async def test_past_the_open_streams_none_is_opened_and_no_job_made_for_one(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            await reader.next()
            for refused in (await site.get(id, stream="true"), await site.post(stream=True)):
                assert error_of(refused, 503)["code"] == "service_unavailable"
                assert int(refused.headers["retry-after"]) >= 1
            assert (await site.object(id))["id"] == id
            await call.complete()
            assert (await reader.rest())[-1]["type"] == "response.completed"
        assert (await site.events(id))[-1]["type"] == "response.completed"
        assert len(site.upstream.calls) == 1

    @given(max_events=10)
    async def test_too_many_events_fail_the_response_and_stop_the_upstream(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        await call.say("1", "2", "3", "4")
        await call.say("5")
        final = await site.until_over(id)
        assert final["status"] == "failed"
        assert "10 events" in final["error"]["message"]
        events = await site.events(id)
        assert len(events) == 10
        assert events[-1]["type"] == "response.failed"
        await call.stopped()

    @pytest.mark.parametrize("chunk", [b"data: " + b"x" * 3000, b": comment\n\n" * 400])
    @given(max_response_bytes=2000)
    async def test_too_many_bytes_fail_the_response_and_stop_the_upstream(
        self, site: Site, chunk: bytes
    ) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await call.write(chunk)
        final = await site.until_over(id)
        assert final["status"] == "failed"
        assert "2000 bytes" in final["error"]["message"]
        await call.stopped()
