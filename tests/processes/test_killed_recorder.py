"""The process that records is killed: others see it, and exactly one of them ends the response."""

from __future__ import annotations

from typing import Final

import anyio
import pytest

from response_cache.testing._http_suite.site import JsonObject, Reader, Site, text_of
from tests.faults.lengths import BOTH, Lengths
from tests.processes.logs import Event, assert_is_whole, text_in, view_of
from tests.processes.replicas import replicas

pytestmark = pytest.mark.slow

WORDS: Final = [f"word{number} " for number in range(20)]
SEEN: Final = 10  # words that a reader has when the process dies
POLLERS: Final = 10  # in each process


@pytest.mark.parametrize("lengths", BOTH)
async def test_one_of_many_readers_ends_what_a_killed_process_recorded(
    store_url: str, lengths: Lengths
) -> None:
    async with replicas(2, store_url, **lengths.options) as (here, (a, b)):
        id, call = await a.site.begin()
        async with here.reading(id) as one, b.site.reading(id) as other:
            await call.say(*WORDS)
            seen = await until_words(one, SEEN)
            await a.kill()
            with anyio.fail_after(lengths.lease + lengths.watch + lengths.recovery):
                ends = await polled_by_many([here, b.site], id)
            followed = [seen + await one.rest(), await other.rest()]
        failed = ends[0]
        assert ends == [failed] * len(ends)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "server_error"
        assert failed["error"]["message"] == "The worker that produced this response was lost."
        assert text_of(failed).startswith(text_in(seen))
        assert "".join(WORDS).startswith(text_of(failed))
        view = await view_of(store_url, id)
        assert_is_whole(view)
        assert view.epoch > 1
        for events in followed:
            assert [event["sequence_number"] for event in events] == list(range(view.tail))
            assert text_in(events) == text_of(failed)
            assert events[-1]["response"] == failed


async def until_words(reader: Reader, count: int) -> list[Event]:
    """The events until the *count*-th word."""
    events: list[Event] = []
    while len([event for event in events if "delta" in event]) < count:
        events.append(await reader.next())
    return events


async def polled_by_many(sites: list[Site], id: str) -> list[JsonObject]:
    """The ends that many clients of each site come to see."""
    ends: list[JsonObject] = []

    async def poll(site: Site) -> None:
        ends.append(await site.until_over(id))

    async with anyio.create_task_group() as tasks:
        for site in sites * POLLERS:
            tasks.start_soon(poll, site)
    return ends
