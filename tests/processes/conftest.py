"""The stores that processes can share, in one table; each test has a place of its own in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.stores.servers import Server, running_server


@pytest.fixture
def anyio_backend() -> str:
    """Processes are watched on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """One server for all tests here."""
    with running_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """Keys of its own on the server."""
    return f"{redis_server.url}?key_prefix={uuid4().hex}:"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file of its own."""
    return f"sqlite:///{tmp_path / 'responses.db'}"


@pytest.fixture(params=["redis", "sqlite"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Where the processes of the test keep their responses."""
    return str(request.getfixturevalue(f"{request.param}_url"))
