"""A server of its own for each test, two processes over it, and lengths that do not take long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from tests.faults.lengths import SCALED, Lengths
from tests.faults.site import CONNECTIONS, Site, site_over, store_url
from tests.stores.servers import Server, running_server, until


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


@pytest.fixture
def lengths() -> Lengths:
    """The scaled ones, where a test is not parametrised with both."""
    return SCALED


@pytest.fixture
def server() -> Iterator[Server]:
    """A server, whose clients must all be gone at the end."""
    with running_server() as server:
        yield server
        with server.client() as client:
            until(lambda: len(client.client_list()) == 1, "all connections are closed but this one")


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    """To look and to meddle."""
    with server.client() as client:
        yield client


@pytest.fixture
async def site(server: Server, lengths: Lengths) -> AsyncIterator[Site]:
    """Two processes over the server; in the end they have no more connections than they may."""
    url = store_url(server.url, lengths)
    async with site_over(url, url, lengths) as site:
        yield site
        with server.client() as client:
            assert len(client.client_list(_type="pubsub")) <= len(site.addresses)
            meddlers = 2  # the fixture above, and this one
            allowed = len(site.addresses) * (CONNECTIONS + 1) + meddlers
            assert len(client.client_list()) <= allowed
