"""What a worker says of us, by each way in: where responses are kept, and what one cost."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.litellm.client import Client
from tests.litellm.provider import Provider
from tests.litellm.proxies import BIN, START, Proxy, configuration, running_proxy, with_us
from tests.litellm.waiting import until
from tests.stores.servers import Server

pytestmark = with_us

FAST: Final = {"words": "6", "pace": "0"}
LITELLM: Final = str(BIN / "litellm")
COST: Final = r"INFO: response_cache\.litellm: {id}: cost ([0-9.]+)"


def said(proxy: Proxy) -> list[str]:
    """Our lines at the start."""
    return [line for line in proxy.log.splitlines() if "background responses are kept" in line]


def test_the_command_says_where_responses_are_kept(proxy: Proxy, redis: Server) -> None:
    (line,) = said(proxy)
    assert line.endswith(
        f"background responses are kept in redis://127.0.0.1:{redis.port}?key_prefix=response_cache%3A;"
        " running ones get 3 s at the end"
    )


def test_each_response_has_a_line_with_its_cost(ann: Client, proxy: Proxy) -> None:
    """LiteLLM reports it when the response is over, for native models and bridged ones."""
    native = ann.end(ann.create("with a cost", metadata=FAST))
    bridged = ann.end(ann.create(model="chat", input='{"words": 5, "pace": 0}'))
    for done in (native, bridged):
        costs = until(lambda: re.findall(COST.format(id=done["id"]), proxy.log), "it is told")  # noqa: B023
        (logged,) = [line["cost"] for line in proxy.ledger if line["call"] == done["id"]]
        assert [float(cost) for cost in costs] == [pytest.approx(logged)]


@pytest.fixture(scope="module")
def called_back(
    serving: tuple[Provider, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """LiteLLM's own command with our line in its configuration."""
    directory: Path = tmp_path_factory.mktemp("callback")
    config = configuration(serving[1], None, callbacks=["response_cache_litellm.callback"])
    env = {"RESPONSE_CACHE_STORE": f"sqlite:///{directory}/kept.db"}
    with running_proxy([LITELLM, "--config", "config.yaml"], directory, config, env=env) as running:
        yield running


def test_the_callback_says_it_too(called_back: Proxy) -> None:
    (line,) = said(called_back)
    place = re.escape(f"sqlite:///{called_back.directory}/kept.db")
    assert re.search(f"kept in {place}; running ones get 3 s at the end$", line)
    client = called_back.client()
    id = client.end(client.create("called back", metadata=FAST))["id"]
    until(lambda: re.findall(COST.format(id=id), called_back.log), "its cost is told")


def test_the_level_is_ours_to_set(
    serving: tuple[Provider, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory: Path = tmp_path_factory.mktemp("quiet")
    config = configuration(serving[1], None, callbacks=["response_cache_litellm.callback"])
    env = {"RESPONSE_CACHE_LOG_LEVEL": "warning"}
    with running_proxy([LITELLM, "--config", "config.yaml"], directory, config, env=env) as quiet:
        client = quiet.client()
        id = client.end(client.create("quiet", metadata=FAST))["id"]
        until(lambda: [x for x in quiet.ledger if x["call"] == id], "it is logged")
        assert httpx.get(f"{quiet.url}/health/liveliness").status_code == 200
        assert "WARNING: response_cache.litellm: the proxy has no Redis" in quiet.log
        assert "INFO: response_cache" not in quiet.log


WRONG: Final = {
    "a variable": ("RESPONSE_CACHE_TTTL", "5", "did you mean RESPONSE_CACHE_TTL?"),
    "a store": (
        "RESPONSE_CACHE_STORE",
        "sqlite:////nowhere/of/this/a.db",
        "its directory does not",
    ),
}


@pytest.mark.parametrize(("name", "value", "why"), WRONG.values(), ids=WRONG)
def test_the_command_does_not_start_and_says_why_in_one_line(
    name: str, value: str, why: str, tmp_path: Path
) -> None:
    command = [str(BIN / "response-cache"), "litellm", "--config", "config.yaml"]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("response-cache: ")
    assert why in ended.stderr
    assert ended.stderr.count("\n") == 1
