"""What lies in a store, who can read it, and what is said of the way there."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import anyio
import pytest
from pydantic import SecretStr

from response_cache import ResponseCache
from response_cache.errors import StoreUnavailable
from response_cache.options import Options
from response_cache.store import Store
from response_cache.stores import store_from_url
from response_cache.stores.redis._urls import _Address
from tests import deadlines
from tests.adapters.servers import program
from tests.stores.redis.test_connection import listening
from tests.stores.servers import Server, running_server

pytestmark = pytest.mark.slow

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
PASSWORD: Final = "hunter2"
NO_SECRET: Final = "no secret is set"


@pytest.fixture
def anyio_backend() -> str:
    """The driver of Redis is for asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server("--requirepass", PASSWORD) as server:
        yield server


@pytest.fixture
def urls(server: Server, tmp_path: Path) -> dict[str, str]:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path / 'responses.db'}",
        "redis": f"redis://:{PASSWORD}@127.0.0.1:{server.port}?key_prefix={uuid4().hex}:",
    }


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    def found() -> list[str]:
        records = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert all(record.name.partition(".")[0] == "response_cache" for record in records)
        return [record.getMessage() for record in records]

    return found


# Without a secret, digests of owners can be tested offline by who reads the store.


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [
        ("memory", Options(), 0),
        ("sqlite", Options(), 1),
        ("redis", Options(), 1),
        ("sqlite", Options(secret=SecretStr("s")), 0),
        ("redis", Options(secret=SecretStr("s")), 0),
    ],
)
async def test_no_secret_is_warned_of_once_where_others_may_read_the_store(
    urls: dict[str, str],
    kind: str,
    options: Options,
    count: int,
    warnings: Callable[[], list[str]],
) -> None:
    for _ in range(3):
        async with ResponseCache(urls[kind], options):
            pass
    said = warnings()
    assert [NO_SECRET in each for each in said] == [True] * count
    assert PASSWORD not in "".join(said)


async def test_the_sidecar_warns_as_well(urls: dict[str, str]) -> None:
    async with program("serve", "--port", "0", "--store", urls["sqlite"]) as running:
        await running.listening()
        with anyio.fail_after(WAIT_TIMEOUT):
            while NO_SECRET not in running.stderr:  # noqa: ASYNC110 - another task reads it
                await anyio.sleep(0.01)


# Files that others can read.


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = store_from_url(url)
    await store.open()
    yield store
    await store.aclose()


@pytest.mark.skipif(os.name == "nt", reason="access is told by other means there")
@pytest.mark.parametrize(("mode", "is_warned"), [(0o600, 0), (0o700, 0), (0o640, 1), (0o604, 1)])
async def test_a_file_that_others_can_read_is_warned_of_once(
    urls: dict[str, str],
    tmp_path: Path,
    mode: int,
    is_warned: int,
    warnings: Callable[[], list[str]],
) -> None:
    path = tmp_path / "responses.db"
    async with opened(urls["sqlite"]):
        assert warnings() == []
    path.chmod(mode)
    for _ in range(2):
        async with opened(urls["sqlite"]):
            pass
    assert len(warnings()) == is_warned
    assert all(str(path) in said and f"{mode:04o}" in said for said in warnings())


@pytest.mark.skipif(os.name == "nt", reason="access is told by other means there")
async def test_so_are_the_files_beside_it(
    urls: dict[str, str], tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    async with opened(urls["sqlite"]) as store:
        await store.delete("resp_that_is_not_there")
        (tmp_path / "responses.db-wal").chmod(0o644)
        async with opened(urls["sqlite"]):
            pass
    assert ["responses.db-wal has mode 0644" in said for said in warnings()] == [True]


def modes(directory: Path) -> set[int]:
    return {file.stat().st_mode & 0o777 for file in directory.iterdir()}


async def test_a_new_file_is_for_its_owner_whatever_the_umask(
    urls: dict[str, str], tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        async with opened(urls["sqlite"]) as store:
            await store.delete("resp_that_is_not_there")
            assert modes(tmp_path) == {0o600}
    finally:
        os.umask(before)


# What is said of a store never has the password of its URL in it.


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{PASSWORD}@h/1?key_prefix=p",
        f"rediss+sentinel://me:{PASSWORD}@h,i/service",
        f"redis+cluster://me:{PASSWORD}@h:1,i:2",
    ],
)
def test_the_name_of_a_store_has_no_credentials_in_it(url: str) -> None:
    store = store_from_url(url)
    assert repr(store).startswith("RedisStore(")
    assert PASSWORD not in repr(store)


def test_nor_has_what_stands_in_a_frame_of_its_making() -> None:
    place = _Address((("h", 1),), "me", PASSWORD, ())
    assert PASSWORD not in repr(place)


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "reply",
    [
        f"ERR unknown command 'AUTH', with args beginning with: 'me' '{PASSWORD}' ",
        f"ERR unknown command `AUTH`, with args beginning with: `me`, `{PASSWORD}`, ",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "ERR Client sent AUTH, but no password is set",
        "NOAUTH Authentication required.",
    ],
)
@pytest.mark.parametrize("kind", ["", "+cluster"])
async def test_an_error_that_repeats_the_password_is_not_told_on(reply: str, kind: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            writer.write(f"-{reply}\r\n".encode())

    async with listening(refuse) as port:
        store = store_from_url(f"redis{kind}://me:{PASSWORD}@127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable) as caught:
            await store.open()
        with pytest.raises(StoreUnavailable) as later:
            await store.read("resp_1")
        await store.aclose()
    assert PASSWORD not in everything(caught.value)
    assert PASSWORD not in everything(later.value)
