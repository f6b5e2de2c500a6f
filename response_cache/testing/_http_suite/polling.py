"""Polls: the object, its headers, conditional requests, and long polls."""

from __future__ import annotations

import anyio
import httpx
import pytest

from response_cache.testing._http_suite.site import (
    HttpSuite,
    JsonObject,
    Site,
    given,
    ok,
    text_of,
)

HINTS = {"openai-poll-after-ms", "retry-after"}
ADDED = "response.output_item.added"
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "in_progress"}


def _call(arguments: str) -> JsonObject:
    """A call of a function, which a client carries out."""
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": arguments}
    return {"id": "fc_1", **call, "status": "in_progress"}


class Polling(HttpSuite):
    """GET /responses/{id}."""

    async def test_the_output_is_shown_while_it_grows(self, site: Site) -> None:
        id, call = await site.begin()
        assert ok(await site.get(id))["status"] == "queued"
        await call.say("Hel")
        partial = await site.until_shows(id, "Hel")
        assert partial["status"] == "in_progress"
        assert partial["output"][0]["status"] == "in_progress"
        assert partial["usage"] is None
        await call.say("lo")
        await site.until_shows(id, "Hello")

    async def test_a_call_for_the_client_is_shown_when_the_response_is_over(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        await call.say("Hello")
        await call.emit("response.output_item.added", output_index=1, item=_call('{"a":'))
        await call.emit("response.output_item.added", output_index=2, item=SEARCH)
        shown = await site.until(id, lambda response: len(response["output"]) == 2)
        assert _types(shown) == ["message", "web_search_call"]
        waited = ok(await site.get(id, headers={"prefer": "wait=0"}))
        assert _types(waited) == ["message", "web_search_call"]
        done = _call('{"a":1}')
        await call.emit("response.output_item.done", output_index=1, item=done)
        await call.end("completed", output=[call.message(), done, SEARCH])
        over = await site.until_over(id)
        assert over["output"][1] == done
        announced = [event["item"] for event in await site.events(id) if event["type"] == ADDED]
        assert announced[1:] == [_call('{"a":'), SEARCH], "a stream carries every event"

    @given(partial_output="all")
    async def test_all_output_is_shown_where_it_is_asked_for(self, site: Site) -> None:
        id, call = await site.begin()
        await call.emit("response.output_item.added", output_index=0, item=_call('{"a":'))
        shown = await site.until(id, lambda response: bool(response["output"]))
        assert shown["output"] == [_call('{"a":')]

    @given(partial_output="none")
    async def test_no_output_is_shown_where_that_is_asked_for(self, site: Site) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        async with site.reading(id) as reader:
            assert (await reader.until("response.output_text.delta"))["delta"] == "Hel"
            running = await site.get(id)
            assert (ok(running)["status"], ok(running)["output"]) == ("in_progress", [])
            await call.say("lo")
            await reader.until("response.output_text.delta")
        known = {"if-none-match": running.headers["etag"]}
        assert (await site.get(id, headers=known)).status_code == 304
        await call.complete()
        await site.until_over(id)
        assert text_of(ok(await site.get(id, headers=known))) == "Hello"

    async def test_it_is_there_in_every_spelling_of_its_path(self, site: Site) -> None:
        id = await site.completed()
        for path in (f"/responses/{id}/", f"/responses/{id}?beta=true"):
            assert ok(await site.client.get(path))["id"] == id

    @pytest.mark.parametrize("name", ["include", "include[]"])
    async def test_includes_are_ignored(self, site: Site, name: str) -> None:
        id = await site.completed()
        asked = await site.client.get(
            f"/responses/{id}?{name}=reasoning.encrypted_content&{name}=nonsense"
        )
        assert asked.content == (await site.get(id)).content

    async def test_the_headers_forbid_caching_for_others(self, site: Site) -> None:
        headers = (await site.get(await site.completed())).headers
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "private, no-cache"
        assert headers["vary"] == "authorization, api-key, x-api-key"
        assert headers["openai-version"] == "2020-10-01"
        assert headers["x-request-id"].startswith("req_")

    @given(poll_after=1.5)
    async def test_pending_answers_say_when_to_ask_again_and_final_ones_do_not(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        pending = (await site.get(id)).headers
        assert (pending["openai-poll-after-ms"], pending["retry-after"]) == ("1500", "2")
        await call.complete()
        await site.until_over(id)
        assert HINTS.isdisjoint((await site.get(id)).headers)

    async def test_head_is_get_without_the_body(self, site: Site) -> None:
        id, call = await site.begin()
        for path in (f"/responses/{id}", f"/responses/{id}/input_items"):
            got = await site.client.get(path)
            head = await site.client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert _without_request_id(head) == _without_request_id(got)
        head = await site.client.head(f"/responses/{id}?stream=true")
        assert head.headers["content-type"].startswith("text/event-stream")
        assert not call.is_stopped
        missing = await site.client.head(f"/responses/{id[:-4]}0000")
        assert (missing.status_code, missing.content) == (404, b"")


class Conditional(HttpSuite):
    """ETag and If-None-Match."""

    async def test_the_tag_stays_while_nothing_changes_and_differs_when_something_did(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        first = (await site.get(id)).headers["etag"]
        assert first == (await site.get(id)).headers["etag"]
        seen = {first}
        for text in ("H", "He", "Hel"):
            await call.say(text[-1])
            await site.until_shows(id, text)
            seen.add((await site.get(id)).headers["etag"])
        await call.complete()
        await site.until_over(id)
        seen.add((await site.get(id)).headers["etag"])
        assert len(seen) == 5

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', 'W/"x",W/{} , "y"', "*"])
    async def test_a_known_tag_is_answered_304_without_a_body(self, site: Site, form: str) -> None:
        id = await site.completed()
        tag = (await site.get(id)).headers["etag"]
        reply = await site.get(id, headers={"if-none-match": form.format(tag)})
        assert (reply.status_code, reply.content) == (304, b"")
        assert reply.headers["etag"] == tag
        assert reply.headers["cache-control"] == "private, no-cache"
        assert reply.headers["vary"] == "authorization, api-key, x-api-key"
        assert HINTS.isdisjoint(reply.headers)

    async def test_a_pending_304_says_when_to_ask_again(self, site: Site) -> None:
        id, _ = await site.begin()
        tag = (await site.get(id)).headers["etag"]
        reply = await site.get(id, headers={"if-none-match": tag})
        assert reply.status_code == 304
        assert set(reply.headers) >= HINTS

    @pytest.mark.parametrize("tags", ['"other"', 'W/"other", "more"', "", ",", "garbage"])
    async def test_another_tag_is_answered_with_the_object(self, site: Site, tags: str) -> None:
        id = await site.completed()
        assert ok(await site.get(id, headers={"if-none-match": tags}))["id"] == id


class LongPolling(HttpSuite):
    """``Prefer: wait``."""

    async def test_it_returns_when_the_response_ends(self, site: Site) -> None:
        id, call = await site.begin()
        async with anyio.create_task_group() as tasks:
            poll = _Poll(site, id, {"prefer": "wait=40"})
            tasks.start_soon(poll.run)
            await call.say("Hello")
            await call.complete()
        assert poll.body["status"] == "completed"
        assert poll.reply.headers["preference-applied"] == "wait=40"

    async def test_with_a_known_tag_it_returns_at_any_change(self, site: Site) -> None:
        id, call = await site.begin()
        tag = (await site.get(id)).headers["etag"]
        async with anyio.create_task_group() as tasks:
            poll = _Poll(site, id, {"prefer": "wait=40", "if-none-match": tag})
            tasks.start_soon(poll.run)
            await call.emit("response.created", response=call.response("in_progress"))
        assert poll.body["status"] == "in_progress"
        assert poll.reply.headers["preference-applied"] == "wait=40"

    async def test_it_returns_at_a_cancel(self, site: Site) -> None:
        id, _ = await site.begin()
        async with anyio.create_task_group() as tasks:
            poll = _Poll(site, id, {"prefer": "wait=40"})
            tasks.start_soon(poll.run)
            await site.cancel(id)
        assert poll.body["status"] == "cancelled"

    async def test_it_is_answered_404_at_a_delete(self, site: Site) -> None:
        id, _ = await site.begin()
        async with anyio.create_task_group() as tasks:
            poll = _Poll(site, id, {"prefer": "wait=40"})
            tasks.start_soon(poll.run)
            await site.delete(id)
        assert poll.reply.status_code == 404

    async def test_a_response_that_is_over_does_not_wait(self, site: Site) -> None:
        id = await site.completed()
        reply = await site.get(id, headers={"prefer": "respond-async, wait=40"})
        assert reply.headers["preference-applied"] == "wait=40"

    async def test_the_answer_after_no_change_is_304(self, site: Site) -> None:
        id, _ = await site.begin()
        tag = (await site.get(id)).headers["etag"]
        reply = await site.get(id, headers={"prefer": "wait=0", "if-none-match": tag})
        assert reply.status_code == 304
        assert reply.headers["preference-applied"] == "wait=0"

    @pytest.mark.parametrize("prefer", ["respond-async", "wait", "wait=soon", "await=5", "wait=-1"])
    async def test_other_preferences_are_ignored(self, site: Site, prefer: str) -> None:
        id, _ = await site.begin()
        reply = await site.get(id, headers={"prefer": prefer})
        assert ok(reply)["status"] == "queued"
        assert "preference-applied" not in reply.headers


class _Poll:
    """A poll that is answered while the test goes on."""

    def __init__(self, site: Site, id: str, headers: dict[str, str]) -> None:
        self._site, self._id, self._headers = site, id, headers
        self.reply = httpx.Response(500)

    @property
    def body(self) -> dict[str, object]:
        return ok(self.reply)

    async def run(self) -> None:
        self.reply = await self._site.get(self._id, headers=self._headers)


def _types(response: JsonObject) -> list[str]:
    return [item["type"] for item in response["output"]]


def _without_request_id(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name != "x-request-id"}
