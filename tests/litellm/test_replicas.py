"""Two proxies that share nothing but Redis: what one runs, the other knows, and outlives."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.litellm.client import Client, text_of
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, configuration, our_command, running_proxy, with_us
from tests.litellm.waiting import until
from tests.stores.servers import Server

pytestmark = with_us

ENDLESS = {"words": "100000", "pace": "0.02"}


@pytest.fixture(scope="module")
def replica(
    serving: tuple[Provider, str], redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Another proxy with the configuration of the first."""
    command = [*our_command(), "--config", "config.yaml"]
    config = configuration(serving[1], redis.port)
    directory = tmp_path_factory.mktemp("replica")
    with running_proxy(command, directory, config, redis=redis.port) as running:
        yield running


def test_a_response_of_one_is_followed_and_cancelled_at_the_other(
    replica: Proxy, ann: Client, provider: Provider
) -> None:
    id = replica.client().create("over there", metadata=ENDLESS)
    shown = text_of(ann.until_text(id))
    until(lambda: len(text_of(ann.get(id))) > len(shown), "it grows")
    assert ann.cancel(id).json()["status"] == "cancelled"
    assert provider.call_of("over there").is_over.wait(30)
    assert replica.client().get(id)["status"] == "cancelled"


def test_a_proxy_that_is_killed_leaves_a_failed_response_with_its_text(
    replica: Proxy, ann: Client
) -> None:
    """The last of these tests: kill -9 of the whole proxy; a stream elsewhere is told, too."""
    id = replica.client().create("abandoned", metadata=ENDLESS)
    ann.until_text(id)
    with ann.http.stream("GET", f"/v1/responses/{id}", params={"stream": "true"}) as reply:
        lines = reply.iter_lines()
        next(lines)
        os.killpg(replica.process.pid, signal.SIGKILL)
        rest = "\n".join(lines)
    assert "event: response.failed" in rest
    failed = ann.get(id)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert text_of(failed)
