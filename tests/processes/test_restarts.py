"""A process crashes, and another one starts on what it has left in the store."""

from __future__ import annotations

import pytest

from response_cache.testing import ScriptedUpstream
from response_cache.testing._http_suite.site import text_of
from tests.adapters.servers import serving
from tests.processes.logs import assert_is_whole, view_of
from tests.processes.replicas import QUICK, started

pytestmark = pytest.mark.slow


async def test_closed_responses_survive_a_restart_and_running_ones_end_failed(
    sqlite_url: str,
) -> None:
    upstream = ScriptedUpstream()
    async with serving(upstream) as url:
        async with started(1, sqlite_url, upstream, url, **QUICK) as (first,):
            closed = await first.site.completed("Hello")
            object = await first.site.object(closed)
            events = await first.site.events(closed)
            running, call = await first.site.begin()
            await call.say("Hel")
            await first.site.until_shows(running, "Hel")
            await first.kill()
        await call.stopped()
        async with started(1, sqlite_url, upstream, url, **QUICK) as (second,):
            assert await second.site.object(closed) == object
            assert await second.site.events(closed) == events
            failed = await second.site.until_over(running)
            assert (failed["status"], text_of(failed)) == ("failed", "Hel")
            assert failed["error"]["message"] == "The worker that produced this response was lost."
            assert_is_whole(await view_of(sqlite_url, running))
            again = await second.site.completed("Once more")
            assert text_of(await second.site.object(again)) == "Once more"
