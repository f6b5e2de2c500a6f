"""What an operator, or another application, does to a server that is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis.asyncio
from redis import Redis

from response_cache.stores.redis._store import RedisStore
from tests.deadlines import allowed
from tests.faults.lengths import Lengths
from tests.faults.site import Live, Site, site_over, store_url
from tests.stores.servers import Server

pytestmark = pytest.mark.slow


async def test_each_part_of_a_response_can_be_evicted(
    site: Site, client: Redis, lengths: Lengths
) -> None:
    await lose_each_part(site, client, lengths, client.delete)


async def test_each_part_of_a_response_can_be_overwritten_with_another_type(
    site: Site, client: Redis, lengths: Lengths
) -> None:
    def overwrite(key: str) -> None:
        with client.pipeline() as transaction:
            transaction.delete(key)
            transaction.rpush(key, "of somebody else")
            transaction.execute()

    await lose_each_part(site, client, lengths, overwrite)


async def lose_each_part(
    site: Site, client: Redis, lengths: Lengths, lose: Callable[[str], object]
) -> None:
    async with site.response() as live:
        for key in live.keys:
            lose(key)
            assert await live.is_back() < allowed(lengths.recovery)
            await live.goes_on()
    assert live.statuses() <= {200, 404}
    assert max(poller.longest_absence() for poller in live.pollers) < allowed(lengths.recovery)
    live.assert_stored_once(client)


async def test_scripts_that_are_flushed_are_not_missed(site: Site, client: Redis) -> None:
    async with site.response() as live:
        for _ in range(6):
            client.script_flush()
            await live.goes_on()
    assert live.statuses() == {200}
    live.assert_stored_once(client)


async def test_a_server_that_is_full_for_longer_than_the_lease_takes_no_new_work_and_kills_none(
    site: Site, client: Redis, lengths: Lengths
) -> None:
    async with site.response() as live:
        client.config_set("maxmemory", 1)
        await site.is_refused()
        await asyncio.sleep(lengths.lease + 1.3 * lengths.watch)
        client.config_set("maxmemory", 0)
        assert await live.is_back() < allowed(lengths.recovery)
        await live.goes_on()
    assert live.statuses() == {200}
    live.assert_stored_once(client)


async def test_a_response_that_ends_at_maxmemory_is_over_at_once(site: Site, client: Redis) -> None:
    async with site.response() as live:
        client.config_set("maxmemory", 1)
        await site.is_refused()
        site.upstream.enough.set()
        await live.is_over()
    assert live.statuses() == {200}
    live.assert_stored_once(client)


async def test_a_password_that_is_wrong_for_longer_than_the_lease_is_an_outage(
    site: Site, client: Redis, lengths: Lengths
) -> None:
    clock = asyncio.get_running_loop().time
    async with site.response() as live:
        client.config_set("requirepass", "changed")
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)
        await live.is_refused()
        began = clock()
        await site.is_refused()
        await asyncio.sleep(lengths.long_outage - (clock() - began))
        assert live.statuses(began, clock()) == {503}
        client.config_set("requirepass", "")
        assert await live.is_back() < allowed(lengths.recovery)
        await live.goes_on()
    assert live.statuses() == {200, 503}
    live.assert_stored_once(client)


@pytest.mark.parametrize("is_blocking", [True, False])
async def test_a_pool_that_others_exhaust_is_an_outage_of_one_process_alone(
    server: Server, client: Redis, lengths: Lengths, is_blocking: bool
) -> None:
    kind = redis.asyncio.BlockingConnectionPool if is_blocking else redis.asyncio.ConnectionPool
    pool = kind(port=server.port, max_connections=1)
    async with redis.asyncio.Redis.from_pool(pool) as shared:
        store = RedisStore(shared, socket_timeout=lengths.socket_timeout)
        async with site_over(store, store_url(server.url, lengths), lengths) as site:
            live = await exhausted(site, pool)
    near = live.pollers[1]
    assert near.statuses() == {200}
    live.assert_stored_once(client)


async def exhausted(site: Site, pool: redis.asyncio.ConnectionPool) -> Live:
    """A response during which somebody else takes the connection for a while."""
    async with site.response() as live:
        far = live.pollers[0]
        connection = await taken(pool)
        await far.is_refused(asyncio.get_running_loop().time())
        await pool.release(connection)
        await live.is_back()
        await live.goes_on()
    return live


async def taken(pool: redis.asyncio.ConnectionPool) -> redis.asyncio.Connection:
    """The connection, as soon as it is free for a moment."""
    while True:
        try:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # the driver's
        except redis.exceptions.MaxConnectionsError:
            await asyncio.sleep(0)
        else:
            assert isinstance(connection, redis.asyncio.Connection)
            return connection
