"""Cancels and deletes."""

from __future__ import annotations

import anyio
import httpx
import pytest

from response_cache.testing._http_suite.site import (
    HttpSuite,
    Site,
    error_of,
    given,
    invalid,
    not_found,
    ok,
)

ENDS = {
    "completed": ({}, "Cannot cancel a completed response."),
    "failed": (
        {"error": {"code": "server_error", "message": "no"}},
        "Cannot cancel a failed response.",
    ),
    "incomplete": (
        {"incomplete_details": {"reason": "max_output_tokens"}},
        "Cannot cancel a response in terminal state.",
    ),
}


class Cancelling(HttpSuite):
    """POST /responses/{id}/cancel."""

    async def test_a_queued_response_is_cancelled(self, site: Site) -> None:
        id, call = await site.begin()
        cancelled = ok(await site.cancel(id))
        assert (cancelled["status"], cancelled["output"]) == ("cancelled", [])
        assert cancelled["error"] is cancelled["usage"] is cancelled["completed_at"] is None
        await call.stopped()
        assert await site.object(id) == cancelled

    async def test_a_running_response_keeps_what_it_has(self, site: Site) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        await site.until_shows(id, "Hel")
        cancelled = ok(await site.cancel(id))
        assert cancelled["status"] == "cancelled"
        assert cancelled["output"][0]["status"] == "in_progress"
        assert cancelled["output"][0]["content"][0]["text"] == "Hel"
        await call.stopped()
        assert await site.object(id) == cancelled

    async def test_streams_of_it_end_with_a_failure_that_says_cancelled(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            await call.say("Hel")
            await reader.until("response.output_text.delta")
            cancelled = ok(await site.cancel(id))
            [end] = await reader.rest()
        assert (end["type"], end["response"]) == ("response.failed", cancelled)
        assert end["response"]["error"] is None
        assert (await site.events(id))[-1] == end

    async def test_cancelling_twice_gives_the_same_object_without_a_write(self, site: Site) -> None:
        id, _ = await site.begin()
        first = await site.cancel(id)
        tag = (await site.get(id)).headers["etag"]
        again = await site.cancel(id)
        assert (again.status_code, again.content) == (200, first.content)
        assert (await site.get(id)).headers["etag"] == tag

    @pytest.mark.parametrize("status", ENDS)
    async def test_a_response_that_is_over_cannot_be_cancelled_and_stays_as_it_is(
        self, site: Site, status: str
    ) -> None:
        fields, message = ENDS[status]
        id, call = await site.begin()
        await call.end(status, **fields)
        await site.until_over(id)
        before = await site.get(id)
        assert error_of(await site.cancel(id), 400) == invalid(message, "response_id")
        after = await site.get(id)
        assert after.content == before.content
        assert after.headers["etag"] == before.headers["etag"]

    @given(max_running=1)
    async def test_what_waits_for_its_turn_is_cancelled_without_ever_being_asked_for(
        self, site: Site
    ) -> None:
        _, first = await site.begin()
        waiting = await site.create()
        assert ok(await site.cancel(waiting["id"]))["status"] == "cancelled"
        await first.complete()
        id, third = await site.begin(input="third")
        await third.complete()
        assert (await site.until_over(id))["status"] == "completed"
        assert [call.json["input"] for call in site.upstream.calls] == ["hi", "third"]

    async def test_a_cancel_with_a_body_is_a_cancel(self, site: Site) -> None:
        id, _ = await site.begin()
        reply = await site.client.post(f"/responses/{id}/cancel/", json={"ignored": True})
        assert ok(reply)["status"] == "cancelled"

    async def test_many_cancels_at_once_agree(self, site: Site) -> None:
        id, call = await site.begin()
        await call.say("Hel")
        replies: list[bytes] = []

        async def cancel() -> None:
            reply = await site.cancel(id)
            assert reply.status_code == 200
            replies.append(reply.content)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(cancel)
        assert len(replies) == 20
        assert len(set(replies)) == 1
        types = [event["type"] for event in await site.events(id)]
        assert types.count("response.failed") == 1


class Deleting(HttpSuite):
    """DELETE /responses/{id}."""

    async def test_what_is_deleted_is_gone_on_every_route(self, site: Site) -> None:
        id = await site.completed()
        assert ok(await site.delete(id)) == {"id": id, "object": "response", "deleted": True}
        for reply in await every_route(site, id):
            assert error_of(reply, 404) == not_found(id)
        error = error_of(await site.post(previous_response_id=id), 400)
        assert error["code"] == "previous_response_not_found"

    async def test_deleting_twice_is_404(self, site: Site) -> None:
        id = await site.completed()
        ok(await site.delete(id))
        assert error_of(await site.delete(id), 404) == not_found(id)

    @given(done_marker=True)
    async def test_a_delete_stops_the_upstream_and_breaks_open_streams(self, site: Site) -> None:
        id, call = await site.begin()
        async with site.reading(id) as reader:
            await call.say("Hel")
            await reader.until("response.output_text.delta")
            ok(await site.delete(id))
            assert await reader.until_broken() == []
            assert b"[DONE]" not in reader.raw
        await call.stopped()
        assert (await site.get(id)).status_code == 404

    async def test_a_cancelled_response_can_be_deleted(self, site: Site) -> None:
        id, _ = await site.begin()
        await site.cancel(id)
        assert ok(await site.delete(id))["deleted"] is True
        assert (await site.get(id)).status_code == 404


async def every_route(site: Site, id: str) -> list[httpx.Response]:
    """The replies of every route about *id*."""
    return [
        await site.get(id),
        await site.get(id, stream="true"),
        await site.get(id, headers={"prefer": "wait=1"}),
        await site.get(id, headers={"if-none-match": "*"}),
        await site.cancel(id),
        await site.input_items(id),
        await site.delete(id),
    ]
