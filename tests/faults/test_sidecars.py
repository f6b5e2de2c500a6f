"""The longest outage once more, with sidecars that are processes, as they are in real life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.adapters.servers import Program, program, serving
from tests.faults.lengths import FULL
from tests.faults.outage import Memory, Outage
from tests.faults.site import Site, store_url
from tests.faults.talker import Talker
from tests.stores.servers import Server

pytestmark = pytest.mark.slow

LENGTHS = FULL  # the defaults, as nothing else is set


@asynccontextmanager
async def sidecar(server: Server, upstream: str) -> AsyncIterator[Program]:
    """``response-cache serve`` over the server."""
    store = store_url(server.url, LENGTHS)
    arguments = ("--port", "0", "--store", store, "--upstream", f"{upstream}/v1")
    async with program("serve", *arguments) as running:
        await running.listening()
        yield running


@pytest.mark.soak
@pytest.mark.parametrize("memory", Memory)
async def test_no_sidecar_takes_a_live_response_for_dead(server: Server, memory: Memory) -> None:
    upstream = Talker()
    async with (
        serving(upstream) as url,
        sidecar(server, url) as recording,
        sidecar(server, url) as reading,
        httpx.AsyncClient(timeout=None) as client,
    ):
        site = Site(upstream, client, recording.url, reading.url)
        async with site.response() as live:
            await Outage(server, live, memory).last(LENGTHS.long_outage)
            assert await live.is_back() < LENGTHS.recovery
            await live.goes_on()
        assert live.statuses() - {404} == {200, 503}
