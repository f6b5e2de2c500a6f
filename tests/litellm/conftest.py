"""One proxy for most tests, since it takes many seconds to start; others bring their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.litellm.client import Client
from tests.litellm.provider import Provider, running_provider
from tests.litellm.proxies import ALONE, BIN, Proxy, configuration, our_command, running_proxy
from tests.stores.servers import Server, running_server

if importlib.util.find_spec("litellm") is None:  # see `make test-litellm`
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def anyio_backend() -> str:
    """LiteLLM is asyncio's."""
    return "asyncio"


@pytest.fixture(scope="session")
def serving() -> Iterator[tuple[Provider, str]]:
    """The provider and its base URL."""
    with running_provider() as found:
        yield found


@pytest.fixture(scope="session")
def provider(serving: tuple[Provider, str]) -> Provider:
    return serving[0]


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def proxy(
    serving: tuple[Provider, str], redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One worker, started by our command; the configuration knows nothing of us."""
    directory: Path = tmp_path_factory.mktemp("proxy")
    config = configuration(serving[1], redis.port)
    command = [*our_command(), "--config", "config.yaml"]
    with running_proxy(command, directory, config, redis=redis.port) as running:
        yield running


@pytest.fixture
def ann(proxy: Proxy) -> Client:
    return proxy.client()


@pytest.fixture
def bob(proxy: Proxy) -> Client:
    return proxy.client("sk-bob")


@pytest.fixture(scope="session")
def older(
    serving: tuple[Provider, str], redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A worker told by its environment to speak the older format, on the same Redis."""
    command = [*our_command(), "--config", "config.yaml"]
    config = configuration(serving[1], redis.port)
    env = {"RESPONSE_CACHE_DIALECT": "litellm"}
    directory = tmp_path_factory.mktemp("older")
    with running_proxy(command, directory, config, redis=redis.port, env=env) as running:
        yield running


@pytest.fixture(scope="session")
def alone(
    serving: tuple[Provider, str], redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A worker of LiteLLM's as it is, without us, on the same Redis."""
    command = [str(BIN / "litellm"), "--config", "config.yaml"]
    config = configuration(serving[1], redis.port)
    directory = tmp_path_factory.mktemp("alone")
    with running_proxy(command, directory, config, redis=redis.port) as running:
        yield running


@pytest.fixture(scope="session")
def own_redis() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def workers(
    serving: tuple[Provider, str], own_redis: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Two workers under gunicorn; where we are there, by the line in the configuration alone."""
    callbacks = [] if ALONE else ["response_cache_litellm.callback"]
    config = configuration(serving[1], own_redis.port, callbacks=callbacks, ttl=3)
    command = [str(BIN / "litellm"), "--config", "config.yaml"]
    command += ["--num_workers", "2", "--run_gunicorn"]
    directory = tmp_path_factory.mktemp("workers")
    with running_proxy(command, directory, config, redis=own_redis.port) as running:
        yield running
