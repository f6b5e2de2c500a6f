"""Creates: the answer, the request to the upstream, refusals, and what passes through."""

from __future__ import annotations

import gzip
import json
from typing import Final

import pytest

from response_cache.http import ACCEPT_ENCODING
from response_cache.testing._http_suite.site import (
    HttpSuite,
    JsonObject,
    Reader,
    Site,
    error_of,
    given,
    invalid,
    ok,
)
from response_cache.testing._upstream import Call

QUEUED: Final[JsonObject] = {
    "object": "response",
    "status": "queued",
    "background": True,
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "scripted-1",
    "output": [],
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
    "user": None,
    "metadata": {},
}
"""Every field of a response that has not begun, as recorded from the real service."""

FOREGROUND: Final = [{}, {"background": False}, {"background": None}]
OF_ITS_CONNECTION: Final = {"connection": "x-hop", "keep-alive": "timeout=5", "te": "trailers"}
REFUSALS: Final = [300, 400, 401, 403, 404, 413, 422, 429, 500, 502, 503]


class Creating(HttpSuite):
    """POST /responses in the background."""

    async def test_the_answer_is_the_queued_object_with_every_field(self, site: Site) -> None:
        created = await site.create()
        assert created.pop("id").startswith("resp_")
        assert type(created.pop("created_at")) is int
        assert created == QUEUED

    async def test_what_was_asked_for_is_echoed(self, site: Site) -> None:
        asked = {"metadata": {"a": "b"}, "temperature": 0.5, "instructions": "be brief"}
        created = await site.create(**asked, reasoning={"effort": "low"}, user="u")
        assert asked.items() <= created.items()
        assert created["reasoning"] == {"effort": "low", "summary": None}
        assert (await site.object(created["id"]))["metadata"] == {"a": "b"}

    @pytest.mark.parametrize("store", [None, True, False])
    async def test_store_is_echoed_from_the_create_to_the_end(
        self, site: Site, store: bool | None
    ) -> None:
        asked = {} if store is None else {"store": store}
        created = await site.create(**asked)
        call = await site.upstream.next_call()
        await call.complete()
        final = await site.until_over(created["id"])
        assert created["store"] is final["store"] is (store is not False)

    @pytest.mark.parametrize("store", [True, False])
    async def test_a_streamed_create_is_answered_with_the_events_from_the_first_on(
        self, site: Site, store: bool
    ) -> None:
        async with site.posting(store=store, metadata={"a": "b"}) as reader:
            created = await reader.next()
            assert (created["type"], created["sequence_number"]) == ("response.created", 0)
            assert created["response"]["status"] == "queued"
            assert (await reader.next())["type"] == "response.queued"
            call = await site.upstream.next_call()
            await call.say("Hel", "lo")
            assert (await reader.next())["type"] == "response.in_progress"
            await call.complete()
            final = (await reader.rest())[-1]
        assert final["type"] == "response.completed"
        for response in (created["response"], final["response"]):
            assert response["background"] is True
            assert response["store"] is store
            assert response["metadata"] == {"a": "b"}
        assert await site.object(created["response"]["id"]) == final["response"]

    async def test_the_upstream_is_asked_for_a_stream_in_the_foreground(self, site: Site) -> None:
        await site.post(
            headers={"x-mine": "kept", "accept-encoding": "compress"},
            background_options={"completion_window": "soonest"},
            unknown={"kept": 1},
        )
        call = await site.upstream.next_call()
        assert call.json == {
            "model": "scripted-1",
            "input": "hi",
            "unknown": {"kept": 1},
            "stream": True,
        }
        assert call.headers["x-mine"] == "kept"
        assert call.headers["authorization"] == "Bearer sk-alice"
        assert call.headers["content-length"] == str(len(call.body))
        asked = call.headers.get("accept-encoding", "identity").split(", ")
        assert {*asked} <= {"identity", *ACCEPT_ENCODING.decode().split(", ")}

    @pytest.mark.parametrize(
        "asked",
        [
            {"completion_window": "2h"},
            {"completion_window": "8h"},
            {"completion_window": 8},
            {"continuation_id": "chat-1"},
            "soonest",
        ],
    )
    @given(check_requests=False)
    async def test_background_options_that_cannot_be_kept_are_refused_everywhere(
        self, site: Site, asked: object
    ) -> None:
        error = error_of(await site.post(background_options=asked), 400)
        assert error["param"] == "background_options"
        assert site.upstream.calls == []

    async def test_a_compressed_request_is_understood(self, site: Site) -> None:
        asked = json.dumps({"model": "m", "input": "hi", "background": True}).encode()
        reply = await site.client.post(
            "/responses", content=gzip.compress(asked), headers={"content-encoding": "gzip"}
        )
        assert ok(reply)["model"] == "m"
        call = await site.upstream.next_call()
        assert call.json == {"model": "m", "input": "hi", "stream": True}
        assert "content-encoding" not in call.headers
        [item] = (await site.input_items(ok(reply)["id"])).json()["data"]
        assert item["content"] == [{"type": "input_text", "text": "hi"}]

    async def test_what_the_upstream_says_becomes_the_object(self, site: Site) -> None:
        id, call = await site.begin(metadata={"a": "b"})
        await call.say("Hello")
        await call.complete()
        final = await site.until_over(id)
        assert final["status"] == "completed"
        assert final["model"] == "scripted-1"
        assert final["output"] == [call.message()]
        assert final["usage"]["total_tokens"] == 8
        assert (final["id"], final["metadata"]) == (id, {"a": "b"})
        assert type(final["completed_at"]) is int

    async def test_an_answer_that_is_no_stream_serves_as_well(self, site: Site) -> None:
        id, call = await site.begin()
        await call.reply(200, call.response("completed", output=[call.message()]))
        assert (await site.until_over(id))["output"] == [call.message()]
        events = await site.events(id)
        assert events[-1]["type"] == "response.completed"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


class Refusing(HttpSuite):
    """Creates that are not accepted, by us or by the upstream."""

    async def test_a_body_that_is_not_json_is_refused(self, site: Site) -> None:
        reply = await site.client.post("/responses", content=b'{"background": true')
        assert error_of(reply, 400) == invalid("The body of the request could not be read as JSON.")

    async def test_a_body_that_is_no_object_is_refused(self, site: Site) -> None:
        reply = await site.client.post("/responses", content=b'["background"]')
        assert error_of(reply, 400) == invalid("The body of the request must be a JSON object.")

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("background", "true", "a boolean"),
            ("background", 0, "a boolean"),
            ("stream", "true", "a boolean"),
            ("store", 0, "a boolean"),
            ("model", 5, "a string"),
            ("input", {}, "a string or an array"),
            ("metadata", ["a"], "an object"),
            ("previous_response_id", 7, "a string"),
        ],
    )
    async def test_a_field_of_the_wrong_type_is_refused_by_name(
        self, site: Site, name: str, value: object, words: str
    ) -> None:
        asked: JsonObject = {name: value}
        reply = await site.post(**asked)
        message = f"Invalid type for '{name}': it must be {words}."
        assert error_of(reply, 400) == invalid(message, name)
        assert site.upstream.calls == []

    @pytest.mark.parametrize(
        "metadata", [{"a": 1}, {"a": None}, {"k" * 65: ""}, {"a": "v" * 513}], ids=str
    )
    async def test_metadata_out_of_bounds_is_refused(
        self, site: Site, metadata: JsonObject
    ) -> None:
        assert error_of(await site.post(metadata=metadata), 400)["param"] == "metadata"

    @given(max_request_bytes=500)
    async def test_a_body_that_is_too_large_is_refused(self, site: Site) -> None:
        error = error_of(await site.post(input="x" * 500), 413)
        assert (error["type"], error["code"]) == ("invalid_request_error", None)
        assert "500 bytes" in error["message"]

    @given(max_request_bytes=500)
    async def test_a_compressed_body_is_not_unpacked_past_the_limit(self, site: Site) -> None:
        body = gzip.compress(b'{"background": true, "input": "%b"}' % (b"x" * 100_000))
        assert len(body) < 500
        reply = await site.client.post(
            "/responses", content=body, headers={"content-encoding": "gzip"}
        )
        assert "500 bytes" in error_of(reply, 413)["message"]

    @given(max_request_values=50)
    async def test_a_body_that_holds_too_much_is_refused(self, site: Site) -> None:
        assert "50 JSON values" in error_of(await site.post(x=[0] * 99), 413)["message"]
        assert site.upstream.calls == []

    @given(max_input_items=5)
    async def test_input_of_too_many_entries_is_refused(self, site: Site) -> None:
        await site.create(input=[{}] * 5)
        error = error_of(await site.post(input=[{}] * 6), 400)
        assert error == invalid("Invalid 'input': it may have at most 5 entries.", "input")

    @given(max_echo_bytes=5000)
    @pytest.mark.parametrize("name", ["instructions", "user", "prompt_cache_key"])
    async def test_more_than_a_response_would_repeat_is_refused(
        self, site: Site, name: str
    ) -> None:
        await site.create(input="x" * 5000)
        long: JsonObject = {name: "x" * 5000}
        error = error_of(await site.post(**long), 400)
        message = f"Invalid '{name}': a response repeats at most 5000 bytes of its request."
        assert error == invalid(message, name)

    async def test_a_body_that_is_not_in_its_encoding_is_refused(self, site: Site) -> None:
        reply = await site.client.post(
            "/responses", content=b'{"background": true}', headers={"content-encoding": "gzip"}
        )
        assert error_of(reply, 400) == invalid("The body of the request is not valid gzip.")

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", REFUSALS)
    async def test_a_refusal_of_the_upstream_is_handed_on_as_it_came(
        self, site: Site, status: int, stream: bool
    ) -> None:
        body = b'{"error" : {"message": "no", "mine": true}}'

        async def refuse(call: Call) -> None:
            headers = {"retry-after": "7", "x-request-id": "theirs", "content-length": "43"}
            await call.reply(status, body, {**headers, **OF_ITS_CONNECTION})

        site.upstream.play = refuse
        reply = await site.post(stream=stream)
        assert (reply.status_code, reply.content) == (status, body)
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["retry-after"] == "7"
        assert reply.headers["x-request-id"] == "theirs"
        assert reply.headers["content-length"] == str(len(body)) == "43"
        assert set(OF_ITS_CONNECTION).isdisjoint(reply.headers)

    async def test_an_upstream_that_breaks_before_it_answers_is_a_server_error(
        self, site: Site
    ) -> None:
        async def crash(call: Call) -> None:
            await call.crash(ValueError("a secret"))

        site.upstream.play = crash
        error = error_of(await site.post(), 500)
        assert error["type"] == "server_error"
        assert "secret" not in error["message"]

    @pytest.mark.parametrize(
        ("status", "body", "code", "message"),
        [
            (429, {"error": {"message": "slow down", "code": "limit"}}, "limit", "slow down"),
            (429, {"error": {"message": "slow"}}, "rate_limit_exceeded", "slow"),
            (500, {"error": {"message": "oh", "code": None}}, "server_error", "oh"),
            (
                503,
                b"<html>",
                "server_error",
                "The upstream answered with HTTP status 503.",
            ),
        ],
    )
    async def test_a_refusal_that_comes_late_is_the_failure_of_the_response(
        self, site: Site, status: int, body: object, code: str, message: str
    ) -> None:
        id, call = await site.begin()
        await call.reply(status, body)
        final = await site.until_over(id)
        assert final["status"] == "failed"
        assert final["error"] == {"code": code, "message": message}
        assert (await site.events(id))[-1]["type"] == "response.failed"


class Passing(HttpSuite):
    """Requests for the wrapped app: they arrive as they were sent."""

    @pytest.mark.parametrize("asked", FOREGROUND, ids=str)
    async def test_a_create_in_the_foreground_reaches_the_app_untouched(
        self, site: Site, asked: JsonObject
    ) -> None:
        body = json.dumps({"input": 'say "background"', **asked}, indent=3).encode()

        async def answer(call: Call) -> None:
            await call.reply(201, b"theirs", {"content-type": "text/x-theirs"})

        site.upstream.play = answer
        reply = await site.client.post("/responses", content=body, headers={"x-mine": "kept"})
        assert (reply.status_code, reply.content) == (201, b"theirs")
        assert reply.headers["content-type"] == "text/x-theirs"
        [call] = site.upstream.calls
        assert call.body == body
        assert call.headers["x-mine"] == "kept"

    async def test_a_compressed_create_in_the_foreground_stays_compressed(self, site: Site) -> None:
        site.upstream.play = _accept
        body = gzip.compress(b'{"input": "hi", "background": false}')
        await site.client.post("/responses", content=body, headers={"content-encoding": "gzip"})
        [call] = site.upstream.calls
        assert (call.body, call.headers["content-encoding"]) == (body, "gzip")

    async def test_a_body_in_an_encoding_that_we_do_not_know_is_for_the_app_to_judge(
        self, site: Site
    ) -> None:
        site.upstream.play = _accept
        headers = {"content-encoding": "br"}
        await site.client.post("/responses", content=b"\x8b\x02", headers=headers)
        [call] = site.upstream.calls
        assert (call.body, call.headers["content-encoding"]) == (b"\x8b\x02", "br")

    @given(max_request_values=50, max_input_items=5, max_echo_bytes=5000)
    @pytest.mark.parametrize("asked", FOREGROUND, ids=str)
    async def test_what_is_too_much_for_us_is_not_too_much_for_the_app(
        self, site: Site, asked: JsonObject
    ) -> None:
        site.upstream.play = _accept
        body = {"input": ["background"] * 99, "instructions": "x" * 5000, **asked}
        reply = await site.client.post("/responses", json=body)
        assert reply.status_code == 202
        assert site.upstream.calls[0].json == body

    async def test_a_foreground_stream_is_not_held_back(self, site: Site) -> None:
        async def speak(call: Call) -> None:
            await call.emit("response.created")

        site.upstream.play = speak
        body = {"model": "m", "input": "hi", "stream": True}
        async with (
            site.client.stream("POST", "/responses", json=body) as reply,
            Reader.of(reply) as reader,
        ):
            assert (await reader.next())["type"] == "response.created"
            assert not site.upstream.calls[0].is_stopped
        await site.upstream.calls[0].stopped()

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/responses/{id}?include[]=a"),
            ("GET", "/responses/{id}?stream=1&starting_after=x"),
            ("HEAD", "/responses/{id}"),
            ("DELETE", "/responses/{id}"),
            ("PUT", "/responses/{id}"),
            ("POST", "/responses/{id}/cancel"),
            ("GET", "/responses/{id}/input_items?limit=0"),
            ("GET", "/responses"),
            ("POST", "/responses/input_tokens"),
            ("POST", "/responses/compact"),
            ("OPTIONS", "/responses"),
            ("GET", "/models"),
        ],
    )
    @pytest.mark.parametrize("id", ["resp_" + "0a" * 25, "resp_rcxyz", "chatcmpl-1"])
    async def test_what_is_about_no_response_of_ours_reaches_the_app(
        self, site: Site, method: str, path: str, id: str
    ) -> None:
        site.upstream.play = _accept
        path, _, query = path.format(id=id).partition("?")
        reply = await site.client.request(method, path, params=query)
        assert reply.status_code == 202
        [call] = site.upstream.calls
        assert call.method == method
        assert call.path.endswith(path)
        assert call.query.decode() == str(reply.request.url.query, "ascii")

    async def test_a_preflight_on_a_response_of_ours_reaches_the_app(self, site: Site) -> None:
        id = await site.completed()
        site.upstream.play = _accept
        reply = await site.client.options(f"/responses/{id}")
        assert reply.status_code == 202


async def _accept(call: Call) -> None:
    await call.reply(202, {"theirs": True})
