"""``previous_response_id``: clients send our ids, the upstream gets its own."""

from __future__ import annotations

import gzip
import json
from typing import Final

import httpx
import pytest

from response_cache.testing._http_suite.site import (
    HttpSuite,
    JsonObject,
    Site,
    by_name,
    error_of,
    given,
    invalid,
    ok,
)
from response_cache.testing._upstream import UPSTREAM_ID, Call

COMPARISON: Final = "prompt_cache_options.comparison_response_id"
ALICE: Final = {"x-user": "alice"}
BOB: Final = {"x-user": "bob"}
ABOUT_CREATES: Final = ("/responses/compact", "/responses/input_tokens")


class Continuing(HttpSuite):
    """Creates that continue another response."""

    @pytest.mark.parametrize("background", [True, False])
    async def test_our_id_becomes_the_upstreams_own(self, site: Site, background: bool) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.complete()
        reply = await site.post(previous_response_id=id, background=background, mine=[1])
        assert reply.status_code == 200
        call = site.upstream.calls[-1]
        assert call.json["previous_response_id"] == UPSTREAM_ID
        assert call.json["mine"] == [1]
        assert call.headers["content-length"] == str(len(call.body))

    async def test_a_foreground_create_need_not_speak_of_background_for_that(
        self, site: Site
    ) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.complete()
        body = b'{"previous_response_id": "%b", "input": 1e2}' % id.encode()
        reply = await site.client.post("/responses", content=body)
        assert reply.status_code == 200
        assert site.upstream.calls[-1].json == {"previous_response_id": UPSTREAM_ID, "input": 100}

    async def test_a_compressed_create_is_passed_on_in_plain(self, site: Site) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.complete()
        body = gzip.compress(b'{"previous_response_id": "%b"}' % id.encode())
        await site.client.post("/responses", content=body, headers={"content-encoding": "gzip"})
        call = site.upstream.calls[-1]
        assert call.json == {"previous_response_id": UPSTREAM_ID}
        assert "content-encoding" not in call.headers

    async def test_the_response_names_our_id_all_along(self, site: Site) -> None:
        id = await site.completed()
        created = await site.create(previous_response_id=id)
        assert created["previous_response_id"] == id
        call = await site.upstream.next_call()
        await call.end("completed", previous_response_id=UPSTREAM_ID)
        final = await site.until_over(created["id"])
        assert final["previous_response_id"] == id
        assert UPSTREAM_ID not in (await site.get(created["id"], stream="true")).text

    async def test_a_chain_names_each_upstream_id_in_turn(self, site: Site) -> None:
        first = await site.completed()
        second = await site.completed(previous_response_id=first)
        ok(await site.post(previous_response_id=second))
        call = await site.upstream.next_call()
        assert call.json["previous_response_id"] == site.upstream.calls[1].id

    @pytest.mark.parametrize("background", [True, False])
    async def test_a_running_one_cannot_be_continued(self, site: Site, background: bool) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await site.until_shows(id, "Hel")
        reply = await site.post(previous_response_id=id, background=background)
        assert error_of(reply, 400) == invalid(
            f"Previous response '{id}' cannot be continued: it is in_progress.",
            "previous_response_id",
        )
        assert len(site.upstream.calls) == 1

    @pytest.mark.parametrize("background", [True, False])
    async def test_an_unknown_one_is_not_found(self, site: Site, background: bool) -> None:
        id = (await site.completed())[:-4] + "0000"
        reply = await site.post(previous_response_id=id, background=background)
        assert error_of(reply, 400) == invalid(
            f"Previous response with id '{id}' not found.",
            "previous_response_id",
            "previous_response_not_found",
        )
        assert len(site.upstream.calls) == 1

    async def test_one_that_the_upstream_never_named_is_not_found(self, site: Site) -> None:
        id, _ = await site.begin()
        await site.cancel(id)
        error = error_of(await site.post(previous_response_id=id), 400)
        assert error["code"] == "previous_response_not_found"

    @pytest.mark.parametrize("background", [True, False])
    async def test_an_id_that_is_not_ours_goes_through(self, site: Site, background: bool) -> None:
        site.upstream.play = lambda call: call.complete()
        await site.post(previous_response_id="resp_theirs", background=background)
        assert site.upstream.calls[0].json["previous_response_id"] == "resp_theirs"

    # Comparisons, and questions about creates.

    @pytest.mark.parametrize("background", [True, False])
    async def test_a_comparison_names_the_upstreams_own_id(
        self, site: Site, background: bool
    ) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.complete()
        options = {"mode": "explicit", "comparison_response_id": id}
        reply = await site.post(prompt_cache_options=options, background=background)
        assert reply.status_code == 200
        sent = site.upstream.calls[-1].json["prompt_cache_options"]
        assert sent == {**options, "comparison_response_id": UPSTREAM_ID}

    async def test_the_response_names_our_id_of_the_comparison_all_along(self, site: Site) -> None:
        id = await site.completed()
        options = {"ttl": "12h", "comparison_response_id": id}
        created = await site.create(prompt_cache_options=options)
        assert created["prompt_cache_options"] == options
        call = await site.upstream.next_call()
        applied = {"mode": "implicit", "ttl": "12h", "comparison_response_id": UPSTREAM_ID}
        await call.end("completed", prompt_cache_options=applied)
        final = await site.until_over(created["id"])
        assert final["prompt_cache_options"] == {**applied, "comparison_response_id": id}
        assert UPSTREAM_ID not in (await site.get(created["id"], stream="true")).text

    @pytest.mark.parametrize("background", [True, False])
    async def test_an_unknown_comparison_is_not_found(self, site: Site, background: bool) -> None:
        id = (await site.completed())[:-4] + "0000"
        options = {"comparison_response_id": id}
        reply = await site.post(prompt_cache_options=options, background=background)
        assert error_of(reply, 400)["param"] == COMPARISON
        assert len(site.upstream.calls) == 1

    @pytest.mark.parametrize("path", ABOUT_CREATES)
    async def test_questions_about_a_create_pass_with_the_upstreams_ids(
        self, site: Site, path: str
    ) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.reply(200, {"object": "x", "id": id})
        body = {
            "model": "m",
            "previous_response_id": id,
            "prompt_cache_options": {"comparison_response_id": id},
            "background": True,
        }
        reply = await site.client.post(path, json=body, headers={"x-mine": "kept"})
        assert ok(reply) == {"object": "x", "id": id}
        call = site.upstream.calls[-1]
        assert call.path.endswith(path)
        assert call.headers["x-mine"] == "kept"
        assert call.headers["content-length"] == str(len(call.body))
        assert call.json == {
            **body,
            "previous_response_id": UPSTREAM_ID,
            "prompt_cache_options": {"comparison_response_id": UPSTREAM_ID},
        }

    @pytest.mark.parametrize("path", ABOUT_CREATES)
    async def test_questions_without_an_id_of_ours_pass_as_they_came(
        self, site: Site, path: str
    ) -> None:
        site.upstream.play = lambda call: call.reply(200, {})
        for body in (b'{ "input": 1e2, "background": true }', b"no json", b""):
            assert (await site.client.post(path, content=body)).status_code == 200
            assert site.upstream.calls[-1].body == body

    @pytest.mark.parametrize("path", ["/responses", *ABOUT_CREATES])
    @pytest.mark.parametrize("field", ["previous_response_id", COMPARISON])
    @given(owner=by_name)
    async def test_nobody_names_a_response_of_somebody_else(
        self, site: Site, path: str, field: str
    ) -> None:
        made = await site.post(headers=ALICE)
        await (await site.upstream.next_call()).complete()
        id = ok(made)["id"]
        outer, _, inner = field.partition(".")
        body = {outer: {inner: id} if inner else id}
        reply = await site.client.post(path, json=body, headers=BOB)
        assert error_of(reply, 400) == invalid(
            f"Previous response with id '{id}' not found.", field, "previous_response_not_found"
        )
        assert len(site.upstream.calls) == 1

    # What an upstream refuses.

    @pytest.mark.parametrize("coding", ["", "gzip"])
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("background", [True, False])
    async def test_a_refusal_names_no_id_that_the_client_does_not_know(
        self, site: Site, background: bool, stream: bool, coding: str
    ) -> None:
        site.upstream.play = lambda call: call.complete()
        id = (await site.create())["id"]
        await site.until_over(id)
        site.upstream.play = lambda call: _refuse(call, coding)
        reply = await site.post(previous_response_id=id, background=background, stream=stream)
        _require_told(reply, id)

    @pytest.mark.parametrize("path", ABOUT_CREATES)
    async def test_nor_does_one_of_a_question(self, site: Site, path: str) -> None:
        id = await site.completed()
        site.upstream.play = _refuse
        body = {"prompt_cache_options": {"comparison_response_id": id}}
        _require_told(await site.client.post(path, json=body), id)

    @given(admission_wait=0.0)
    async def test_nor_does_a_failure_after_admission(self, site: Site) -> None:
        id = await site.completed()
        created, call = await site.begin(previous_response_id=id)
        await _refuse(call, "gzip")
        failed = await site.until_over(created)
        assert failed["error"] == {"code": "previous_response_not_found", "message": _message(id)}
        assert UPSTREAM_ID not in (await site.get(created, stream="true")).text

    async def test_a_refusal_in_pieces_is_told_as_well(self, site: Site) -> None:
        id = await site.completed()

        async def in_pieces(call: Call) -> None:
            content = json.dumps({"error": _error(UPSTREAM_ID)}).encode()
            middle = content.index(UPSTREAM_ID.encode()) + 9
            await call.start(404, {"content-type": "application/json"})
            await call.write(content[:middle])
            await call.finish(content[middle:])

        site.upstream.play = in_pieces
        reply = await site.post(previous_response_id=id, background=False)
        assert reply.json() == {"error": _error(id)}

    async def test_an_error_about_an_id_that_the_client_sent_itself_stays(self, site: Site) -> None:
        site.upstream.play = _refuse
        reply = await site.post(previous_response_id=UPSTREAM_ID, background=False)
        assert reply.json() == {"error": _error(UPSTREAM_ID)}

    async def test_a_success_passes_in_pieces_as_it_came(self, site: Site) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.complete()
        reply = await site.post(previous_response_id=id, background=False, stream=True)
        assert reply.status_code == 200
        assert site.upstream.calls[-1].id in reply.text  # the foreground is the upstream's own


def _message(id: str) -> str:
    return f"Previous response with id '{id}' not found."


def _error(id: str) -> JsonObject:
    return invalid(_message(id), "previous_response_id", "previous_response_not_found")


async def _refuse(call: Call, coding: str = "") -> None:
    content = json.dumps({"error": _error(UPSTREAM_ID)}).encode()
    headers = {"x-theirs": "kept"}
    if coding:
        content = gzip.compress(content)
        headers["content-encoding"] = coding
    await call.reply(400, content, {**headers, "content-length": str(len(content))})


def _require_told(reply: httpx.Response, id: str) -> None:
    assert reply.status_code == 400
    assert reply.json() == {"error": _error(id)}
    assert reply.headers["content-length"] == str(len(reply.content))
    assert reply.headers["x-theirs"] == "kept"
    assert "content-encoding" not in reply.headers
