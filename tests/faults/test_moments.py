"""The server fails at the moments that matter: before the end, just after it, and in a silence."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis

from response_cache.testing._http_suite.site import text_of
from tests.adapters.servers import eventually
from tests.deadlines import allowed
from tests.faults.lengths import Lengths
from tests.faults.readers import Follower
from tests.faults.site import Live, Site, site_over, store_url
from tests.stores.servers import Server

pytestmark = pytest.mark.slow


async def test_a_response_that_ends_while_the_server_is_away_is_closed_when_it_is_back(
    site: Site, server: Server, client: Redis
) -> None:
    async with site.response() as live:
        await asyncio.to_thread(server.stop)
        await live.is_refused()
        site.upstream.enough.set()
        await live.call.ended()
        await live.is_refused()
        await asyncio.to_thread(server.start)
    live.assert_stored_once(client)


async def test_a_response_that_is_lost_just_after_its_end_is_restored(
    site: Site, client: Redis
) -> None:
    async with site.response() as live:
        site.upstream.enough.set()
        await live.is_over()
        client.flushall()
        assert (await site.client.get(live.follower.url)).status_code == 404
        await eventually(lambda: bool(client.exists(live.key)))
        await assert_follows_the_same_again(site, live)
    live.assert_stored_once(client)


async def assert_follows_the_same_again(site: Site, live: Live) -> None:
    """A stream from the start, once the log is whole."""
    again = Follower(site.client, live.follower.url, site.upstream)
    await again.run()
    assert again.events == live.follower.events


async def test_a_response_whose_upstream_is_silent_is_restored_as_soon_as_the_server_is_back(
    site: Site, server: Server, lengths: Lengths
) -> None:
    async with site.response() as live:
        site.upstream.is_silent = True
        await live.is_back()
        await asyncio.to_thread(server.stop)
        await live.is_refused()
        await asyncio.to_thread(server.start)
        for poller in live.pollers:
            await poller.reads(site.upstream.text, asyncio.get_running_loop().time())
        assert max(poller.longest_absence() for poller in live.pollers) < allowed(lengths.recovery)
        site.upstream.is_silent = False
        await live.goes_on()


async def test_a_response_that_cannot_be_restored_fails_with_all_that_was_said(
    server: Server, client: Redis, lengths: Lengths
) -> None:
    url = store_url(server.url, lengths)
    async with site_over(url, url, lengths, retain_bytes=0) as site:
        id = (await site.create()).json()["id"]
        call = await site.upstream.next_call()
        await eventually(lambda: site.upstream.said > 20)
        client.flushall()
        await call.stopped()
        stream = Follower(site.client, f"{site.reading}/v1/responses/{id}", site.upstream)
        await stream.run()
        end = stream.events[-1]
        assert end["type"] == "response.failed"
        assert end["response"]["error"]["code"] == "server_error"
        assert site.upstream.text.startswith(text_of(end["response"]))
        assert len(text_of(end["response"]).split()) > 20
        assert (await site.client.get(stream.url)).json() == end["response"]
