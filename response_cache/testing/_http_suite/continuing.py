"""``previous_response_id``: clients send our ids, the upstream gets its own."""

from __future__ import annotations

import gzip

import pytest

from response_cache.testing._http_suite.site import HttpSuite, Site, error_of, invalid, ok
from response_cache.testing._upstream import UPSTREAM_ID


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
