"""The older polling format, from a real proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.litellm.client import text_of
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, configuration, our_command, running_proxy, with_us
from tests.stores.servers import Server, ask

pytestmark = with_us


@pytest.fixture(scope="module")
def older(
    serving: tuple[Provider, str], redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy told by its environment to speak the older format."""
    command = [*our_command(), "--config", "config.yaml"]
    config = configuration(serving[1], redis.port)
    env = {"RESPONSE_CACHE_DIALECT": "litellm"}
    directory = tmp_path_factory.mktemp("older")
    with running_proxy(command, directory, config, redis=redis.port, env=env) as running:
        yield running


def test_ids_parts_and_keys_are_litellms_own(older: Proxy, redis: Server) -> None:
    ann = older.client()
    done = ann.end(ann.create("older", metadata={"words": "4", "pace": "0"}))
    assert done["id"].startswith("litellm_poll_")
    assert done["status"] == "completed"
    assert [part["type"] for part in done["output"][0]["content"]] == ["text"]
    assert len(text_of(done).split()) == 4
    with redis.client() as client:
        stored = ask(client, "GET", f"litellm:polling:response:{done['id']}")
    assert json.loads(stored) == done


def test_owners_and_cancel_are_as_ever(older: Proxy, provider: Provider) -> None:
    ann, bob = older.client(), older.client("sk-bob")
    id = ann.create("older cancel", metadata={"words": "100000", "pace": "0.02"})
    assert bob.http.get(f"/v1/responses/{id}").status_code == 404
    provider.call_of("older cancel")
    assert ann.cancel(id).json()["status"] == "cancelled"
    assert provider.call_of("older cancel").is_over.wait(30)
