"""The recording process has a bad line to the server; nobody else has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle

import pytest
from redis import Redis

from tests.adapters.servers import eventually
from tests.deadlines import allowed
from tests.faults.lengths import BOTH, Lengths
from tests.faults.site import Site, site_over, store_url
from tests.stores.proxy import Fault, Proxy, proxy_to
from tests.stores.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
async def line(server: Server) -> AsyncIterator[Proxy]:
    """What is between the recording process and the server."""
    async with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
async def distant(server: Server, line: Proxy, lengths: Lengths) -> AsyncIterator[Site]:
    """The process that records is at the far end of the line, the other is not."""
    far, near = f"redis://127.0.0.1:{line.port}", server.url
    async with site_over(store_url(far, lengths), store_url(near, lengths), lengths) as site:
        yield site


async def test_replies_that_are_cut_or_lost_to_the_very_end_lose_and_double_nothing(
    distant: Site, client: Redis, line: Proxy
) -> None:
    async with distant.response(poll_at=(distant.reading,)) as live:
        broken: list[Fault] = []
        breaking = asyncio.create_task(break_every_third_reply(line, broken))
        for _ in range(6):
            await live.goes_on()
        distant.upstream.enough.set()
        await live.is_over()
        breaking.cancel()
        line.fault = None
    assert len(broken) > 3
    assert live.statuses() == {200}
    live.assert_stored_once(client)


async def break_every_third_reply(line: Proxy, broken: list[Fault]) -> None:
    """One is cut, the next one lost, for ever; *broken* tells what was done."""
    for fault in cycle(Fault):
        replies = line.replies
        line.fault = fault
        await eventually(lambda: line.replies >= replies + 3)  # noqa: B023 - awaited at once
        broken.append(fault)


async def test_a_line_that_breaks_altogether_is_an_outage_of_one_process_alone(
    distant: Site, client: Redis, line: Proxy
) -> None:
    async with distant.response() as live:
        far, near = live.pollers
        began = asyncio.get_running_loop().time()
        for _ in range(6):
            line.cut_all()
            await live.goes_on()
    assert far.statuses() <= {200, 503}
    assert near.statuses(began) == {200}
    live.assert_stored_once(client)


async def test_a_slow_line_is_only_slow(distant: Site, client: Redis, line: Proxy) -> None:
    line.latency = 0.05
    async with distant.response() as live:
        await live.goes_on()
    assert live.statuses() == {200}
    live.assert_stored_once(client)


@pytest.mark.parametrize("lengths", BOTH)
async def test_a_server_that_is_frozen_for_longer_than_an_attempt_is_waited_for(
    site: Site, server: Server, client: Redis, lengths: Lengths
) -> None:
    clock = asyncio.get_running_loop().time
    async with site.response() as live:
        server.freeze()
        began = clock()
        await live.is_refused()
        await asyncio.sleep(lengths.freeze - (clock() - began))
        assert live.statuses(began, clock()) == {503}
        server.thaw()
        assert await live.is_back() < allowed(lengths.recovery)
        await live.goes_on()
    assert live.statuses() == {200, 503}
    live.assert_stored_once(client)
