"""``Prefer: wait`` on creates (RFC 7240 4.3): for clients that cannot poll."""

from __future__ import annotations

import anyio
import httpx
import pytest

from response_cache.testing._http_suite.idempotency import KEY
from response_cache.testing._http_suite.site import HttpSuite, JsonObject, Site, given, ok
from response_cache.testing._upstream import Call

WAIT = {"prefer": "wait=40"}
HINTS = {"openai-poll-after-ms", "retry-after"}


class Preferring(HttpSuite):
    """POST /responses in the background, to be answered when the response is over."""

    @pytest.mark.parametrize(
        "prefer",
        ["wait=40", 'respond-async, WAIT = "40"; x=y', "wait=40, wait=0", 'a="wait=0, ", wait=40'],
    )
    async def test_it_is_answered_with_the_end(self, site: Site, prefer: str) -> None:
        post = _Post(site, {"prefer": prefer})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post.run)
            call = await site.upstream.next_call()
            await call.say("Hello")
            await call.complete()
        assert post.body["status"] == "completed"
        assert post.reply.headers["preference-applied"] == "wait=40"
        poll = await site.get(str(post.body["id"]))
        assert poll.content == post.reply.content
        assert poll.headers["etag"] == post.reply.headers["etag"]
        assert HINTS.isdisjoint(post.reply.headers)

    async def test_what_is_not_over_in_time_is_answered_as_a_poll_is(self, site: Site) -> None:
        reply = await site.post(headers={"prefer": "wait=0"})
        body = ok(reply)
        assert body["status"] == "queued"
        assert reply.headers["preference-applied"] == "wait=0"
        assert set(reply.headers) >= HINTS
        tag = reply.headers["etag"]
        assert (await site.get(body["id"], headers={"if-none-match": tag})).status_code == 304

    @pytest.mark.parametrize("prefer", ["respond-async", "wait", "wait=soon", "x; wait=5", ""])
    async def test_a_create_waits_for_no_other_preference(self, site: Site, prefer: str) -> None:
        reply = await site.post(headers={"prefer": prefer})
        assert ok(reply)["status"] == "queued"
        assert "preference-applied" not in reply.headers

    @given(admission_wait=0.0)
    async def test_a_refusal_within_the_time_is_handed_on_as_it_came(self, site: Site) -> None:
        post = _Post(site, WAIT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post.run)
            call = await site.upstream.next_call()
            await call.reply(429, b"slow down", {"retry-after": "7"})
        assert (post.reply.status_code, post.reply.content) == (429, b"slow down")
        assert post.reply.headers["retry-after"] == "7"
        assert "preference-applied" not in post.reply.headers

    async def test_a_failure_is_an_end(self, site: Site) -> None:
        post = _Post(site, WAIT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post.run)
            call = await site.upstream.next_call()
            await call.say("Hel")
            await call.crash(ValueError("a secret"))
        assert post.body["status"] == "failed"

    async def test_a_cancel_ends_the_wait(self, site: Site) -> None:
        id = ok(await site.post(headers=KEY))["id"]
        post = _Post(site, {**KEY, **WAIT})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post.run)
            await site.cancel(id)
        assert (post.body["id"], post.body["status"]) == (id, "cancelled")

    async def test_a_stream_does_not_wait(self, site: Site) -> None:
        async with site.posting(headers=WAIT) as reader:
            assert (await reader.next())["type"] == "response.created"
            assert "preference-applied" not in reader.reply.headers

    async def test_foreground_work_is_the_apps(self, site: Site) -> None:
        async def answer(call: Call) -> None:
            await call.reply(200, {"theirs": True})

        site.upstream.play = answer
        reply = await site.post(headers=WAIT, background=False)
        assert reply.json() == {"theirs": True}
        assert "preference-applied" not in reply.headers
        assert site.upstream.calls[0].headers["prefer"] == "wait=40"

    async def test_who_joins_waits_as_well(self, site: Site) -> None:
        created = ok(await site.post(headers=KEY))
        call = await site.upstream.next_call()
        post = _Post(site, {**KEY, **WAIT})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post.run)
            await call.say("Hello")
            await call.complete()
        assert (post.body["id"], post.body["status"]) == (created["id"], "completed")
        assert post.reply.headers["preference-applied"] == "wait=40"
        assert len(site.upstream.calls) == 1


class _Post:
    """A create that is answered while the test goes on."""

    def __init__(self, site: Site, headers: dict[str, str]) -> None:
        self._site, self._headers = site, headers
        self.reply = httpx.Response(500)

    @property
    def body(self) -> JsonObject:
        return ok(self.reply)

    async def run(self) -> None:
        self.reply = await self._site.post(headers=self._headers)
