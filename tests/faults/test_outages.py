"""Outages shorter and longer than the lease."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.deadlines import allowed
from tests.faults.lengths import BOTH, Lengths
from tests.faults.outage import Memory, Outage
from tests.faults.site import Live, Site
from tests.stores.servers import Server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("lengths", BOTH)
@pytest.mark.parametrize("memory", Memory)
async def test_a_short_outage_is_waited_out(
    site: Site, server: Server, client: Redis, lengths: Lengths, memory: Memory
) -> None:
    async with site.response() as live:
        await Outage(server, live, memory).last(lengths.short_outage)
        assert await live.is_back() < allowed(lengths.recovery)
        await live.goes_on()
    assert_told_no_more_than_was_so(live, memory, lengths)
    live.assert_stored_once(client)


@pytest.mark.parametrize("lengths", BOTH)
@pytest.mark.parametrize("memory", Memory)
async def test_an_outage_longer_than_the_lease_kills_no_response_that_somebody_polls(
    site: Site, server: Server, client: Redis, lengths: Lengths, memory: Memory
) -> None:
    async with site.response() as live:
        await Outage(server, live, memory).last(lengths.long_outage)
        assert await live.is_back() < allowed(lengths.recovery)
        await live.goes_on()
    assert_told_no_more_than_was_so(live, memory, lengths)
    live.assert_stored_once(client)


def assert_told_no_more_than_was_so(live: Live, memory: Memory, lengths: Lengths) -> None:
    """Nobody hears that a response is not there, unless the server has lost it, for a moment."""
    assert live.statuses() - {404} == {200, 503}
    if memory is not Memory.NOTHING:
        assert 404 not in live.statuses()
    for poller in live.pollers:
        assert poller.longest_absence() < allowed(lengths.recovery)
