"""How long what is kept lives, seen from a process that did not make it."""

from __future__ import annotations

import time
from typing import Final

import anyio
import pytest

from response_cache.testing._http_suite.site import JsonObject, Site, error_of, not_found, text_of
from tests.deadlines import allowed
from tests.faults.lengths import BOTH, Lengths
from tests.processes.replicas import WAIT_TIMEOUT, replicas

pytestmark = pytest.mark.slow

CLOCK_TOLERANCE: Final = 0.05  # two clocks are asked
END_GRACE: Final = 5.0  # seconds more on a machine that has other things to do


@pytest.mark.parametrize("lengths", BOTH)
async def test_a_silent_response_outlives_its_ttl_and_once_over_it_does_not(
    redis_url: str, sqlite_url: str, lengths: Lengths
) -> None:
    async with anyio.create_task_group() as tasks:  # most of it is waiting
        for url in (redis_url, sqlite_url):
            tasks.start_soon(silent_then_over, url, lengths)


async def silent_then_over(store_url: str, lengths: Lengths) -> None:
    ttl, stream_ttl = lengths.ttl, lengths.ttl / 2
    lease = ttl / 4  # so that several heartbeats come in the silence
    options = {**lengths.options, "lease": lease, "ttl": ttl, "stream_ttl": stream_ttl}
    async with replicas(1, store_url, **options) as (here, (a,)):
        id, call = await a.site.begin()
        await call.say("Hel")
        await here.until_shows(id, "Hel")
        await anyio.sleep(lengths.silence)
        async with here.reading(id) as reader:
            await call.say("lo")
            before_the_end = time.monotonic()
            await call.complete()
            [*_, end] = await reader.rest()
            after_the_end = time.monotonic()
        assert (end["type"], text_of(end["response"])) == ("response.completed", "Hello")

        error = await refusal(here, id, 400, stream="true")
        assert "can no longer be streamed" in error["message"]
        assert time.monotonic() - before_the_end > stream_ttl - CLOCK_TOLERANCE
        assert time.monotonic() - after_the_end < stream_ttl + allowed(END_GRACE)

        assert await refusal(here, id, 404) == not_found(id)
        assert time.monotonic() - before_the_end > ttl - CLOCK_TOLERANCE
        assert time.monotonic() - after_the_end < ttl + allowed(END_GRACE)


async def refusal(site: Site, id: str, status: int, **query: str) -> JsonObject:
    """The error of the first answer that is not a success."""
    with anyio.fail_after(WAIT_TIMEOUT):
        while True:
            reply = await site.get(id, headers=None, **query)
            if not reply.is_success:
                return error_of(reply, status)
            await anyio.sleep(0.02)
