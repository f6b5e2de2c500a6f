"""Idempotency-Key: a request runs once, however often it is sent."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest

from response_cache.testing._http_suite.owners import seen_as
from response_cache.testing._http_suite.site import HttpSuite, Site, error_of, ok
from response_cache.testing._upstream import Call

KEY = {"idempotency-key": "once"}


class Idempotency(HttpSuite):
    """Creates with a key."""

    async def test_the_same_key_and_body_lead_to_the_same_response(self, site: Site) -> None:
        first = ok(await site.post(headers=KEY))
        call = await site.upstream.next_call()
        again = ok(await site.post(headers=KEY))
        assert again == first
        await call.say("Hello")
        await call.complete()
        final = await site.until_over(first["id"])
        assert ok(await site.post(headers=KEY)) == final
        assert len(site.upstream.calls) == 1

    async def test_key_order_and_white_space_make_no_other_body(self, site: Site) -> None:
        bodies = [
            b'{"model":"m","input":"hi","background":true,"metadata":{"a":"1","b":"2"}}',
            b'{"background": true, "metadata": {"b": "2", "a": "1"}, "input": "hi", "model": "m"}',
        ]
        ids = [
            ok(await site.client.post("/responses", content=body, headers=KEY))["id"]
            for body in bodies
        ]
        assert ids[0] == ids[1]

    async def test_another_body_is_refused(self, site: Site) -> None:
        await site.post(headers=KEY)
        error = error_of(await site.post(headers=KEY, input="else"), 422)
        assert "another body" in error["message"]
        assert len(site.upstream.calls) == 1

    async def test_a_deleted_response_does_not_come_back(self, site: Site) -> None:
        id = ok(await site.post(headers=KEY))["id"]
        await site.delete(id)
        assert "deleted" in error_of(await site.post(headers=KEY), 422)["message"]
        assert len(site.upstream.calls) == 1

    async def test_keys_are_each_owners_own(self, site: Site) -> None:
        first = ok(await site.post(headers=KEY))["id"]
        seen_as(site, {"authorization": "Bearer sk-bob"})
        second = ok(await site.post(headers=KEY))["id"]
        assert first != second

    async def test_another_key_is_another_response(self, site: Site) -> None:
        ids = {ok(await site.post(headers={"idempotency-key": key}))["id"] for key in "abc"}
        assert len(ids) == 3

    @pytest.mark.parametrize("headers", [{}, {"idempotency-key": ""}], ids=str)
    async def test_without_a_key_each_create_is_another_response(
        self, site: Site, headers: dict[str, str]
    ) -> None:
        ids = {ok(await site.post(headers=headers))["id"] for _ in range(3)}
        assert len(ids) == 3

    async def test_it_is_ignored_for_callers_without_a_credential(self, site: Site) -> None:
        seen_as(site, {})
        ids = {ok(await site.post(headers=KEY))["id"] for _ in range(2)}
        assert len(ids) == 2

    async def test_a_key_that_is_too_long_is_refused(self, site: Site) -> None:
        error = error_of(await site.post(headers={"idempotency-key": "k" * 256}), 400)
        assert "255" in error["message"]
        assert site.upstream.calls == []

    async def test_it_does_not_reach_the_id(self, site: Site) -> None:
        id = ok(await site.post(headers={"idempotency-key": "c0ffee"}))["id"]
        assert "c0ffee" not in id

    async def test_a_stream_joins_from_the_first_event(self, site: Site) -> None:
        async with site.posting(headers=KEY) as reader:
            call = await site.upstream.next_call()
            await call.say("Hel")
            await reader.until("response.output_text.delta")
        async with site.posting(headers=KEY) as reader:
            await call.complete()
            events = await reader.rest()
        assert [event["sequence_number"] for event in events] == list(range(9))
        assert events[-1]["type"] == "response.completed"
        assert len(site.upstream.calls) == 1

    async def test_many_at_once_make_one_call(self, site: Site) -> None:
        ids: set[str] = set()

        async def post() -> None:
            ids.add(ok(await site.post(headers=KEY))["id"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(post)
        assert len(ids) == 1
        assert len(site.upstream.calls) == 1

    async def test_who_comes_second_waits_for_the_firsts_admission(self, site: Site) -> None:
        answers: list[int] = []

        async def refuse(call: Call) -> None:
            await anyio.lowlevel.checkpoint()
            answers.append(0)
            await call.reply(429, {"error": {"message": f"no {len(answers)}"}})

        site.upstream.play = refuse
        replies: list[httpx.Response] = []

        async def post() -> None:
            replies.append(await site.post(headers=KEY))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(post)
        assert [reply.status_code for reply in replies] == [429] * 3
        assert len(site.upstream.calls) == 3  # no refused response can be joined

    async def test_after_a_refusal_the_key_is_free(self, site: Site) -> None:
        site.upstream.play = lambda call: call.reply(503, {})
        assert (await site.post(headers=KEY)).status_code == 503
        site.upstream.play = lambda call: call.complete()
        id = ok(await site.post(headers=KEY, input="other"))["id"]
        assert (await site.until_over(id))["status"] == "completed"
