"""A node of a cluster dies, and the replica that takes its place had not heard everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.adapters.servers import eventually
from tests.faults.lengths import Lengths
from tests.faults.site import Live, Site, site_over, store_url
from tests.stores.servers import ClusterOfThree, Server, ask, cluster_of_three, running_server

pytestmark = pytest.mark.slow

AS_A_NODE = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
HOWEVER_OLD = ("--cluster-replica-validity-factor", "0")  # its data may be, and it is elected
AT_ONCE = ("--repl-diskless-sync-delay", "0")  # no waiting for a second replica to join in


@pytest.fixture
def cluster() -> Iterator[ClusterOfThree]:
    with cluster_of_three(*AT_ONCE) as cluster:
        yield cluster


@pytest.fixture
def replica() -> Iterator[Server]:
    """A node that will follow one of the cluster."""
    with running_server(*AS_A_NODE, *HOWEVER_OLD) as node:
        yield node


async def test_what_a_lagging_replica_lacks_is_sent_again(
    cluster: ClusterOfThree, replica: Server, lengths: Lengths
) -> None:
    url = store_url(cluster.url, lengths)
    async with site_over(url, url, lengths) as site:
        live = await failed_over(site, cluster, replica)
        assert live.statuses() == {200, 503}


async def failed_over(site: Site, cluster: ClusterOfThree, replica: Server) -> Live:
    """A response whose node is replaced by *replica* while it is made."""
    async with site.response() as live:
        primary = await asyncio.to_thread(node_of, live.key, cluster)
        await asyncio.to_thread(cluster.add_replica, primary, replica)
        with primary.client() as ahead, replica.client() as behind:
            ask(behind, "READONLY")
            await eventually(lambda: is_whole_to(ahead) and is_whole_to(behind))
            send_followers_away(ahead)
            await live.goes_on()
            known = tail_of(behind, live)
            assert known < tail_of(ahead, live)
            await asyncio.to_thread(primary.stop)
            await eventually(lambda: behind.info("replication")["role"] == "master")
            assert tail_of(behind, live) == known
            await live.is_back()
            await live.goes_on()
    return live


def node_of(key: str, cluster: ClusterOfThree) -> Server:
    """The node that has *key*."""
    for node in cluster.nodes:
        with node.client() as client:
            slot = ask(client, "CLUSTER KEYSLOT", key)
            if ask(client, "CLUSTER COUNTKEYSINSLOT", slot):
                return node
    raise AssertionError(f"no node has {key}")


def is_whole_to(node: Redis) -> bool:
    """Whether *node* takes the cluster for one that works; else it answers nothing."""
    state = str(ask(node, "CLUSTER INFO")).partition("cluster_slots")[0]
    return "ok" in state


def send_followers_away(primary: Redis) -> None:
    """Let no replica in any more: what comes from now on passes them by."""
    ask(primary, "ACL SETUSER default -psync -sync")
    primary.client_kill_filter(_type="replica")


def tail_of(node: Redis, live: Live) -> int:
    """How far the response is there."""
    tail = node.hget(f"{{{live.key}}}:meta", "tail")
    assert isinstance(tail, bytes)
    return int(tail)
