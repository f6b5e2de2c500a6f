"""Streams: the wire format, cursors, late readers, many readers, readers that hang up."""

from __future__ import annotations

import anyio
import pytest

from response_cache.testing._http_suite.site import (
    HttpSuite,
    JsonObject,
    Site,
    error_of,
    given,
    invalid,
)

NOT_AN_INTEGER = invalid(
    "'starting_after' must be an integer, the sequence number of an event.", "starting_after"
)


class Streaming(HttpSuite):
    """GET /responses/{id}?stream=true."""

    async def test_a_stream_is_bare_events_with_their_type_and_dense_numbers(
        self, site: Site
    ) -> None:
        id = await site.completed()
        async with site.reading(id) as reader:
            events = await reader.rest()
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events] == [
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.output_item.done",
            "response.completed",
        ]
        lines = reader.raw.split(b"\n")
        assert {line.partition(b":")[0] for line in lines} == {b"event", b"data", b""}
        assert b"[DONE]" not in reader.raw
        assert reader.raw.endswith(b"}\n\n")

    async def test_the_headers_keep_proxies_from_holding_it_back(self, site: Site) -> None:
        async with site.reading(await site.completed()) as reader:
            headers = reader.reply.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "private, no-cache"
        assert headers["x-accel-buffering"] == "no"
        assert headers["vary"] == "authorization, api-key, x-api-key"
        assert headers["x-request-id"].startswith("req_")

    @given(done_marker=True)
    async def test_the_end_is_marked_where_that_is_asked_for(self, site: Site) -> None:
        reply = await site.get(await site.completed(), stream="true")
        assert reply.content.endswith(b"}\n\ndata: [DONE]\n\n")
        assert reply.content.count(b"[DONE]") == 1

    async def test_a_reader_sees_each_event_when_it_is_sent(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id, starting_after=1) as reader:
            for word in ("one ", "two ", "three "):
                await call.say(word)
                event = await reader.until("response.output_text.delta")
                assert event["delta"] == word
            await call.complete()
            await reader.until("response.completed")
            assert await reader.rest() == []

    async def test_a_response_that_was_not_created_as_a_stream_has_one_all_the_same(
        self, site: Site
    ) -> None:
        id = await site.completed(stream=False)
        assert len(await site.events(id)) == 9

    @pytest.mark.parametrize("flag", ["true", "True", "1"])
    async def test_the_flag_for_a_stream(self, site: Site, flag: str) -> None:
        reply = await site.get(await site.completed(), stream=flag)
        assert reply.headers["content-type"].startswith("text/event-stream")

    async def test_deltas_are_padded_where_the_client_asks_for_it(self, site: Site) -> None:
        async with site.posting(stream_options={"include_obfuscation": True}) as created:
            call = await site.upstream.next_call()
            await call.say("Hel", "lo")
            id = (await created.next())["response"]["id"]
            live = await created.until("response.output_text.delta")
            async with site.reading(id, starting_after=2, include_obfuscation="true") as resumed:
                await call.complete()
                padded = [*_deltas([live, *await created.rest()]), *_deltas(await resumed.rest())]
        assert [len(event["delta"] + event["obfuscation"]) for event in padded] == [16] * 4
        plain = [*await site.events(id), *await site.events(id, include_obfuscation="false")]
        assert [event["delta"] for event in _deltas(plain)] == ["Hel", "lo"] * 2
        assert not any("obfuscation" in event for event in plain)

    async def test_padding_is_asked_for_by_true_or_false(self, site: Site) -> None:
        reply = await site.get(await site.completed(), stream="true", include_obfuscation="maybe")
        assert error_of(reply, 400)["param"] == "include_obfuscation"

    async def test_what_else_may_be_included_is_passed_over(self, site: Site) -> None:
        id = await site.completed()
        asked = {"include[]": ["reasoning.encrypted_content", "of.a.later.release"], "include": ""}
        polled = await site.client.get(f"/responses/{id}", params=asked)
        assert polled.json() == await site.object(id)
        streamed = await site.client.get(f"/responses/{id}", params={**asked, "stream": "true"})
        assert streamed.content == (await site.get(id, stream="true")).content
        listed = await site.client.get(f"/responses/{id}/input_items", params=asked)
        assert listed.json() == (await site.input_items(id)).json()
        assert {reply.status_code for reply in (polled, streamed, listed)} == {200}

    @pytest.mark.parametrize("flag", ["false", "False", "0"])
    async def test_the_flag_against_a_stream(self, site: Site, flag: str) -> None:
        reply = await site.get(await site.completed(), stream=flag)
        assert reply.headers["content-type"] == "application/json"

    @pytest.mark.parametrize("flag", ["", "yes", "2", "null"])
    async def test_another_word_for_the_flag_is_refused(self, site: Site, flag: str) -> None:
        reply = await site.get(await site.completed(), stream=flag)
        assert error_of(reply, 400) == invalid("'stream' must be true or false.", "stream")

    async def test_a_reader_that_goes_stops_nothing(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            await call.say("Hel")
            await reader.until("response.output_text.delta")
        await call.say("lo")
        await call.complete()
        assert (await site.until_over(id))["output"] == [call.message()]

    async def test_a_poster_that_goes_stops_nothing(self, site: Site) -> None:
        async with site.posting() as reader:
            id = (await reader.next())["response"]["id"]
        call = await site.upstream.next_call()
        await call.say("Hello")
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    async def test_many_readers_see_the_same(self, site: Site) -> None:
        id, call = await site.begin()
        seen: list[list[JsonObject]] = []

        async def read() -> None:
            seen.append(await site.events(id))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(read)
            await call.say("Hel", "lo")
            await call.complete()
        assert len(seen) == 10
        assert all(events == seen[0] for events in seen)
        assert seen[0][-1]["response"] == await site.object(id)


class Resuming(HttpSuite):
    """``starting_after``."""

    async def test_a_cursor_skips_the_events_through_it(self, site: Site) -> None:
        id = await site.completed()
        events = await site.events(id)
        for cursor in range(-1, len(events)):
            assert await site.events(id, starting_after=cursor) == events[cursor + 1 :]

    async def test_a_reader_that_resumes_a_running_response_misses_and_repeats_nothing(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        seen: list[JsonObject] = []
        for word in ("one ", "two ", "three "):
            cursor = len(seen) - 1
            async with site.reading(id, starting_after=cursor) as reader:
                await call.say(word)
                while not seen or seen[-1].get("delta") != word:
                    seen.append(await reader.next())
        await call.complete()
        seen += await site.events(id, starting_after=len(seen) - 1)
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        assert seen == await site.events(id)

    @pytest.mark.parametrize("cursor", ["8", "9", "1000", "9" * 16, "9" * 30])
    async def test_a_cursor_past_the_end_of_what_is_over_gets_an_empty_stream(
        self, site: Site, cursor: str
    ) -> None:
        reply = await site.get(await site.completed(), stream="true", starting_after=cursor)
        assert (reply.status_code, reply.content) == (200, b"")

    async def test_a_cursor_past_the_tail_of_what_runs_waits_for_what_comes_after_it(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        async with site.reading(id, starting_after=5) as reader:
            await call.say("one", "two", "three")
            assert [(await reader.next())["sequence_number"] for _ in range(2)] == [6, 7]

    async def test_a_cursor_that_is_never_reached_ends_with_the_response(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id, starting_after=1_000_000) as reader:
            await call.complete()
            assert await reader.rest() == []

    @pytest.mark.parametrize("cursor", ["x", "", "1.5", "-2", "-100", "1e3", "0x1", "1 2", "٣"])
    async def test_a_cursor_that_is_no_number_of_an_event_is_refused(
        self, site: Site, cursor: str
    ) -> None:
        reply = await site.get(await site.completed(), stream="true", starting_after=cursor)
        assert error_of(reply, 400) == NOT_AN_INTEGER


class Breaking(HttpSuite):
    """The ends of a stream without ``response.completed``."""

    async def test_an_upstream_that_stops_short_fails_the_response(self, site: Site) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await call.finish()
        final = await site.until_over(id)
        assert (final["status"], final["error"]["code"]) == ("failed", "server_error")
        assert final["output"][0]["content"][0]["text"] == "Hel"
        assert (await site.events(id))[-1] == {
            "type": "response.failed",
            "sequence_number": 6,
            "response": final,
        }

    async def test_an_upstream_that_raises_fails_the_response_without_telling_why(
        self, site: Site
    ) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await call.crash(ValueError("a secret"))
        final = await site.until_over(id)
        assert final["error"]["code"] == "server_error"
        assert "secret" not in str(final)

    @pytest.mark.parametrize(
        ("status", "fields"),
        [
            ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}),
            ("failed", {"error": {"code": "server_error", "message": "theirs"}}),
        ],
    )
    async def test_the_upstreams_own_end_is_kept(
        self, site: Site, status: str, fields: JsonObject
    ) -> None:
        id = await _ended(site, status, **fields)
        final = await site.object(id)
        assert final["status"] == status
        assert fields.items() <= final.items()
        assert final["completed_at"] is None
        assert (await site.events(id))[-1]["type"] == f"response.{status}"

    async def test_an_error_event_is_passed_on_and_becomes_the_error(self, site: Site) -> None:
        id, call = await site.begin()
        await call.begin()
        error = {"type": "too_many_requests", "code": "slow", "message": "later", "param": None}
        await call.emit("error", error=error)
        await call.finish()
        final = await site.until_over(id)
        assert final["error"] == {"code": "slow", "message": "later"}
        *_, told, end = await site.events(id)
        assert (told["type"], told["error"], end["type"]) == ("error", error, "response.failed")


async def _ended(site: Site, status: str, **fields: object) -> str:
    id, call = await site.begin()
    await call.begin()
    await call.end(status, **fields)
    await site.until_over(id)
    return id


def _deltas(events: list[JsonObject]) -> list[JsonObject]:
    return [event for event in events if event["type"].endswith(".delta")]
