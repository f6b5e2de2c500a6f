"""A recorder that sleeps for longer than its lease, and wakes up when others have decided."""

from __future__ import annotations

import anyio
import pytest

from response_cache.testing._http_suite.site import text_of
from tests.processes.logs import assert_is_whole, view_of
from tests.processes.replicas import QUICK, WAIT_TIMEOUT, replicas

pytestmark = pytest.mark.slow


async def test_a_recorder_that_wakes_up_fenced_writes_nothing_more(store_url: str) -> None:
    async with replicas(1, store_url, **QUICK) as (here, (a,)):
        id, call = await a.site.begin()
        await call.say("Hello")
        await here.until_shows(id, "Hello")
        await a.freeze(store_url)
        await call.say(" and more", " that it finds when it wakes")
        failed = await here.until_over(id)
        assert (failed["status"], text_of(failed)) == ("failed", "Hello")
        closed = await view_of(store_url, id)
        assert_is_whole(closed)
        a.thaw()
        with anyio.fail_after(WAIT_TIMEOUT):
            await call.stopped()
        assert await a.site.object(id) == failed
        assert await view_of(store_url, id) == closed
