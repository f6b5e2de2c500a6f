"""A canceller dies when it has taken the response and not closed it yet."""

from __future__ import annotations

import anyio
import pytest

from response_cache.testing._http_suite.site import ok, text_of
from tests.processes.canceller import kill_between_the_steps_of_a_cancel
from tests.processes.logs import assert_is_whole, view_of
from tests.processes.replicas import QUICK, WAIT_TIMEOUT, replicas

pytestmark = pytest.mark.slow


async def test_a_half_cancelled_response_fails_once_the_short_lease_is_over(
    store_url: str,
) -> None:
    options = {**QUICK, "lease": 6.0}  # the recorder's own: only its third plays a part
    async with replicas(1, store_url, **options) as (here, (a,)):
        id, call = await a.site.begin()
        async with a.site.reading(id) as reader:
            await call.say("Hello")
            await reader.until("response.output_text.delta")
            await kill_between_the_steps_of_a_cancel(store_url, id, lease=1.0)
            with anyio.fail_after(WAIT_TIMEOUT):
                await call.stopped()
                failed = await here.until_over(id)
                [end] = await reader.rest()
        assert (failed["status"], text_of(failed)) == ("failed", "Hello")
        assert end["response"] == failed
        view = await view_of(store_url, id)
        assert_is_whole(view)
        assert view.epoch > 2


async def test_a_half_done_cancel_can_be_repeated_at_once(store_url: str) -> None:
    async with replicas(0, store_url) as (here, _):
        id, call = await here.begin()
        await call.say("Hello")
        await here.until_shows(id, "Hello")
        await kill_between_the_steps_of_a_cancel(store_url, id, lease=60.0)
        await call.stopped()
        cancelled = ok(await here.cancel(id))
        assert (cancelled["status"], text_of(cancelled)) == ("cancelled", "Hello")
        assert_is_whole(await view_of(store_url, id))
