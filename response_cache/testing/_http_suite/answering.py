"""What an upstream may answer with: refusals of the stream, wrong labels, content codings."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Final

import pytest

from response_cache.testing._http_suite.site import HttpSuite, JsonObject, Site, ok, text_of
from response_cache.testing._upstream import Call

NO_STREAM: Final = {
    "error": {
        "message": "'stream' does not support true with this model.",
        "type": "invalid_request_error",
        "param": "stream",
        "code": "unsupported_value",
    }
}
OTHER: Final = {"error": {"message": "no such model", "code": "model_not_found"}}
LABELS: Final = ["text/event-stream", "application/json", "application/problem+json", "text/html"]
CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "identity, aws-chunked": bytes,
    "gzip": gzip.compress,
}


class Answering(HttpSuite):
    """Answers that are not the stream which was asked for."""

    @pytest.mark.parametrize("stream", [False, True])
    async def test_an_upstream_that_refuses_a_stream_is_asked_without(
        self, site: Site, stream: bool
    ) -> None:
        site.upstream.play = _answer_whole
        if stream:
            async with site.posting(stream_options={"include_obfuscation": False}) as reader:
                events = await reader.rest()
            final = events[-1]["response"]
            assert "response.output_text.delta" in {event["type"] for event in events}
        else:
            final = await site.until_over((await site.create())["id"])
        assert (final["status"], text_of(final)) == ("completed", "Hello")
        first, second = site.upstream.calls
        assert first.json["stream"] is True
        assert {"stream", "stream_options"}.isdisjoint(second.json)
        left_out = {"stream": True, "stream_options": first.json.get("stream_options")}
        assert {**left_out, **second.json} == {**left_out, **first.json}
        assert _lasting(second) == _lasting(first)

    async def test_that_is_remembered_for_the_model(self, site: Site) -> None:
        site.upstream.play = _answer_whole
        for model in ("a", "a", "b"):
            final = await site.until_over((await site.create(model=model))["id"])
            assert final["status"] == "completed"
        asked = [(call.json["model"], "stream" in call.json) for call in site.upstream.calls]
        assert asked == [("a", True), ("a", False), ("a", False), ("b", True), ("b", False)]

    async def test_a_stream_that_is_refused_late_is_no_failure(self, site: Site) -> None:
        id, call = await site.begin()
        await call.reply(422, NO_STREAM)
        again = await site.upstream.next_call()
        assert "stream" not in again.json
        await again.reply(200, _whole(again))
        final = await site.until_over(id)
        assert (final["status"], text_of(final)) == ("completed", "Hello")

    async def test_what_is_refused_without_a_stream_is_handed_on(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await call.reply(400, NO_STREAM if "stream" in call.json else OTHER)

        site.upstream.play = refuse
        for _ in range(2):  # nothing is remembered of it
            reply = await site.post()
            assert (reply.status_code, reply.json()) == (400, OTHER)
        asked = ["stream" in call.json for call in site.upstream.calls]
        assert asked == [True, False, True, False]

    async def test_it_is_asked_twice_at_most(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await call.reply(400, NO_STREAM)

        site.upstream.play = refuse
        reply = await site.post()
        assert (reply.status_code, reply.json()) == (400, NO_STREAM)
        assert len(site.upstream.calls) == 2

    async def test_it_is_asked_once_when_it_has_answered_with_success(self, site: Site) -> None:
        async def fail(call: Call) -> None:
            await call.reply(200, NO_STREAM)

        site.upstream.play = fail
        final = await site.until_over((await site.create())["id"])
        assert final["status"] == "failed"
        assert final["error"]["message"] == NO_STREAM["error"]["message"]
        assert len(site.upstream.calls) == 1

    async def test_a_refusal_that_is_not_about_the_stream_is_final(self, site: Site) -> None:
        async def refuse(call: Call) -> None:
            await call.reply(400, OTHER)

        site.upstream.play = refuse
        assert (await site.post()).json() == OTHER
        assert len(site.upstream.calls) == 1

    @pytest.mark.parametrize("label", LABELS)
    async def test_a_stream_is_shown_as_it_comes_under_every_label(
        self, site: Site, label: str
    ) -> None:
        id, call = await site.begin()
        await call.start(200, {"content-type": label})
        await call.say("Hel")
        assert text_of(await site.until_shows(id, "Hel")) == "Hel"
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @pytest.mark.parametrize("label", LABELS)
    async def test_a_whole_answer_is_one_under_every_label(self, site: Site, label: str) -> None:
        async def answer(call: Call) -> None:
            await call.reply(200, _whole(call), {"content-type": label})

        site.upstream.play = answer
        final = await site.until_over((await site.create())["id"])
        assert (final["status"], text_of(final)) == ("completed", "Hello")

    @pytest.mark.parametrize("status", ["queued", "in_progress"])
    async def test_a_whole_answer_that_is_not_finished_is_no_success(
        self, site: Site, status: str
    ) -> None:
        async def answer(call: Call) -> None:
            await call.reply(200, call.response(status))

        site.upstream.play = answer
        final = await site.until_over((await site.create())["id"])
        assert final["status"] == "failed"
        assert f"'{status}'" in final["error"]["message"]

    @pytest.mark.parametrize("coding", CODINGS)
    async def test_an_answer_is_unpacked(self, site: Site, coding: str) -> None:
        async def answer(call: Call) -> None:
            body = CODINGS[coding](json.dumps(_whole(call)).encode())
            await call.reply(200, body, {"content-encoding": coding})

        site.upstream.play = answer
        final = await site.until_over((await site.create())["id"])
        assert (final["status"], text_of(final)) == ("completed", "Hello")

    async def test_a_coding_that_cannot_be_read_is_named(self, site: Site) -> None:
        async def answer(call: Call) -> None:
            await call.reply(200, b"?", {"content-encoding": "compress"})

        site.upstream.play = answer
        final = await site.until_over((await site.create())["id"])
        assert final["status"] == "failed"
        assert "'compress'" in final["error"]["message"]

    async def test_a_poll_tells_the_upstreams_own_reason(self, site: Site) -> None:
        id, call = await site.begin()
        await call.reply(400, {"detail": [{"loc": ["body", "input"], "msg": "is too long"}]})
        final = await site.until_over(id)
        assert final["error"] == {"code": "server_error", "message": "is too long"}
        assert ok(await site.get(id)) == final


async def _answer_whole(call: Call) -> None:
    """Refuse a stream, and answer whole where none is asked for."""
    if "stream" in call.json:
        await call.reply(400, NO_STREAM)
    else:
        await call.reply(200, _whole(call))


def _whole(call: Call) -> JsonObject:
    content = [{"type": "output_text", "text": "Hello", "annotations": []}]
    return call.response("completed", output=[{**call.message(), "content": content}])


def _lasting(call: Call) -> dict[str, str]:
    """The headers of a call that do not depend on its body."""
    return {name: value for name, value in call.headers.items() if name != "content-length"}
