"""A response is everybody's: any process follows, ends and erases what another one records."""

from __future__ import annotations

from typing import Final

import anyio
import pytest

from response_cache.testing._http_suite.site import Site, error_of, not_found, ok
from tests.deadlines import allowed
from tests.processes.logs import assert_is_whole, text_in, view_of
from tests.processes.replicas import replicas

pytestmark = pytest.mark.slow

STOP_TIMEOUT: Final = 2.5
"""Seconds. A recorder that was not woken would hear of a cancel at its next heartbeat, after 5."""


async def test_one_process_records_another_is_read_and_a_third_cancels(store_url: str) -> None:
    async with replicas(2, store_url) as (here, (a, b)):
        id, call = await a.site.begin()
        async with b.site.reading(id) as reader:
            await call.say("Hel", "lo")
            events = [await reader.next() for _ in range(7)]
            await b.site.until_shows(id, "Hello")
            with anyio.fail_after(allowed(STOP_TIMEOUT)):
                cancelled = ok(await here.cancel(id))
                await call.stopped()
            events += await reader.rest()
        assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
        assert text_in(events) == "Hello"
        assert events[-1]["response"] == cancelled
        for site in (a.site, b.site, here):
            assert await site.object(id) == cancelled
        view = await view_of(store_url, id)
        assert_is_whole(view)
        assert view.epoch > 1
        assert ok(await a.site.delete(id))["deleted"]
        for site in (a.site, b.site, here):
            await assert_is_gone(site, id)


async def test_a_delete_in_another_process_stops_the_upstream_and_breaks_streams(
    store_url: str,
) -> None:
    async with replicas(1, store_url) as (here, (a,)):
        id, call = await a.site.begin()
        async with a.site.reading(id) as one, here.reading(id) as other:
            await call.say("Hel")
            for reader in (one, other):
                await reader.until("response.output_text.delta")
            with anyio.fail_after(allowed(STOP_TIMEOUT)):
                ok(await here.delete(id))
                await call.stopped()
            assert await one.until_broken() == await other.until_broken() == []
        await assert_is_gone(a.site, id)


async def assert_is_gone(site: Site, id: str) -> None:
    assert error_of(await site.get(id), 404) == not_found(id)
    assert error_of(await site.cancel(id), 404) == not_found(id)
