"""A proxy whose cache is a Redis Cluster, with a namespace, and which is served below a path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.litellm.client import Client
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, configuration, our_command, running_proxy, with_us
from tests.stores.servers import ClusterOfThree, ask, cluster_of_three

pytestmark = with_us

FAST = {"words": "6", "pace": "0"}
ENDLESS = {"words": "100000", "pace": "0.02"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOfThree]:
    with cluster_of_three() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def rooted(
    serving: tuple[Provider, str],
    cluster: ClusterOfThree,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    config = configuration(serving[1], cluster.nodes[0].port)
    nodes = [{"host": "127.0.0.1", "port": node.port} for node in cluster.nodes]
    cache = {"type": "redis", "redis_startup_nodes": nodes, "namespace": "prod"}
    config["litellm_settings"]["cache_params"] = {**cache, "supported_call_types": []}
    command = [*our_command(), "--config", "config.yaml"]
    directory = tmp_path_factory.mktemp("cluster")
    env = {"SERVER_ROOT_PATH": "/llm"}
    with running_proxy(command, directory, config, env=env, root="/llm") as running:
        yield running


@pytest.fixture
def ann(rooted: Proxy) -> Client:
    return rooted.client()


def test_responses_are_spread_over_its_nodes(ann: Client, cluster: ClusterOfThree) -> None:
    ids = [ann.create("spread", metadata=FAST) for _ in range(24)]
    assert {ann.end(id)["status"] for id in ids} == {"completed"}
    kept = {}
    for node in cluster.nodes:
        with node.client() as client:
            kept[node.port] = {key.decode() for key in ask(client, "KEYS", "prod:response_cache:*")}
    assert set().union(*kept.values()) == {f"prod:response_cache:{id}" for id in ids}
    assert all(kept.values())


def test_a_response_is_followed_and_cancelled(ann: Client, provider: Provider) -> None:
    id = ann.create("on a cluster", metadata=ENDLESS)
    with ann.http.stream("GET", f"/v1/responses/{id}", params={"stream": "true"}) as reply:
        lines = reply.iter_lines()
        while "response.output_text.delta" not in next(lines):
            pass
        assert ann.cancel(id).json()["status"] == "cancelled"
        assert '"status":"cancelled"' in "".join(lines)
    assert provider.call_of("on a cluster").is_over.wait(30)


def test_a_root_path_may_be_left_out_as_at_the_proxy(rooted: Proxy, ann: Client) -> None:
    """A load balancer may have taken it off."""
    done = ann.end(ann.create("rooted", metadata=FAST))
    bare = rooted.url.removesuffix("/llm")
    assert ann.http.get(f"{bare}/v1/models").status_code == 200
    assert ann.http.get(f"{bare}/v1/responses/{done['id']}").json() == done
