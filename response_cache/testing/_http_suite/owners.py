"""Owners: by credential (the default), and by a callback."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest

from response_cache.testing._http_suite.ending import every_route
from response_cache.testing._http_suite.site import (
    CREDENTIALS,
    HttpSuite,
    JsonObject,
    Serve,
    Site,
    by_name,
    error_of,
    not_found,
    ok,
)
from response_cache.testing._upstream import ScriptedUpstream

ALICE = [
    {"authorization": "Bearer sk-alice"},
    {"api-key": "alice"},
    {"x-api-key": "alice"},
]
NOT_ALICE = [{}, {"authorization": "Bearer sk-bob"}, {"api-key": "bob"}, {"x-api-key": "bob"}]


def seen_as(site: Site, headers: dict[str, str]) -> None:
    """From now on the client sends these credentials only."""
    for name in ("authorization", "api-key", "x-api-key", "x-user"):
        site.client.headers.pop(name, None)
    site.client.headers.update(headers)


class Owning(HttpSuite):
    """Owners by credential."""

    @pytest.mark.parametrize("other", NOT_ALICE, ids=str)
    @pytest.mark.parametrize("own", ALICE, ids=str)
    async def test_somebody_elses_response_is_as_one_that_never_was(
        self, site: Site, own: dict[str, str], other: dict[str, str]
    ) -> None:
        seen_as(site, own)
        id = await site.completed()
        before = await site.get(id)
        seen_as(site, other)
        never = id[:-4] + "0000"
        theirs = await every_route(site, id)
        unknown = await every_route(site, never)
        for reply, expected in zip(theirs, unknown, strict=True):
            assert error_of(reply, 404) == not_found(id)
            assert reply.content == expected.content.replace(never.encode(), id.encode())
            assert _names(reply) == _names(expected)
        for background in (True, False):
            reply = await site.post(previous_response_id=id, background=background)
            assert error_of(reply, 400)["code"] == "previous_response_not_found"
        seen_as(site, own)
        assert (await site.get(id)).content == before.content

    async def test_a_running_response_is_not_touched_by_somebody_else(self, site: Site) -> None:
        id, call = await site.begin()
        seen_as(site, {"authorization": "Bearer sk-bob"})
        for reply in await every_route(site, id):
            assert reply.status_code == 404
        seen_as(site, CREDENTIALS)
        await call.complete()
        assert (await site.until_over(id))["status"] == "completed"

    @pytest.mark.parametrize("reader", NOT_ALICE, ids=str)
    async def test_without_a_credential_the_id_is_all_it_takes(
        self, site: Site, reader: dict[str, str]
    ) -> None:
        seen_as(site, {})
        id = await site.completed()
        seen_as(site, reader)
        assert ok(await site.get(id))["id"] == id

    async def test_authorization_counts_before_other_keys(self, site: Site) -> None:
        id = await site.completed()
        site.client.headers["x-api-key"] = "changes"
        assert ok(await site.get(id))["id"] == id


class OwnersByCallback(HttpSuite):
    """``owner=``."""

    @pytest.fixture
    async def asking(self, serve: Serve, options: JsonObject) -> AsyncGenerator[Site]:
        """A site with the owner callback ``by_name``."""
        upstream = ScriptedUpstream()
        async with serve(upstream, owner=by_name, **options) as client:
            client.headers["x-user"] = "alice"
            yield Site(client, upstream)

    async def test_its_word_decides_and_credentials_do_not(self, asking: Site) -> None:
        id = await asking.completed()
        asking.client.headers["authorization"] = "Bearer new"
        assert ok(await asking.get(id))["id"] == id
        seen_as(asking, {"x-user": "bob"})
        for reply in await every_route(asking, id):
            assert error_of(reply, 404) == not_found(id)

    async def test_an_admin_sees_and_ends_everything(self, asking: Site) -> None:
        id, call = await asking.begin()
        seen_as(asking, {"x-user": "root"})
        assert ok(await asking.get(id))["id"] == id
        assert ok(await asking.input_items(id))["data"]
        assert ok(await asking.cancel(id))["status"] == "cancelled"
        await call.stopped()
        assert (await asking.events(id))[-1]["type"] == "response.failed"
        assert ok(await asking.delete(id))["deleted"]

    async def test_it_is_asked_and_may_refuse_on_every_route(self, asking: Site) -> None:
        id = await asking.completed()
        seen_as(asking, {"x-user": "mallory"})
        replies = [
            *await every_route(asking, id),
            *await every_route(asking, id[:-4] + "0000"),
            await asking.post(),
            await asking.post(stream=True),
            await asking.post(store="wrong"),
            await asking.post(background=False, previous_response_id=id),
        ]
        for reply in replies:
            assert error_of(reply, 403)["code"] == "forbidden"
        assert len(asking.upstream.calls) == 1

    async def test_plain_foreground_work_is_the_apps_to_judge(self, asking: Site) -> None:
        asking.upstream.play = lambda call: call.reply(200, {})
        seen_as(asking, {"x-user": "mallory"})
        assert (await asking.post(background=False)).status_code == 200

    async def test_nobody_in_particular_leaves_the_id_as_the_capability(self, asking: Site) -> None:
        seen_as(asking, {})
        id = await asking.completed()
        seen_as(asking, {"x-user": "bob"})
        assert ok(await asking.get(id))["id"] == id


def _names(reply: httpx.Response) -> set[str]:
    return set(reply.headers)
