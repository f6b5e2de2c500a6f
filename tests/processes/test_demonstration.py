"""``response-cache demo`` on each kind of store."""

from __future__ import annotations

import anyio
import pytest

from tests.adapters.servers import run_program

pytestmark = pytest.mark.slow


async def test_the_demonstration_succeeds_on_each_store(redis_url: str, sqlite_url: str) -> None:
    async with anyio.create_task_group() as tasks:  # it is watched by people, so it takes its time
        tasks.start_soon(demonstrate, "memory", (), {})
        tasks.start_soon(demonstrate, "redis", ("--store", redis_url), {})
        tasks.start_soon(demonstrate, "sqlite", (), {"RESPONSE_CACHE_STORE": sqlite_url})


async def demonstrate(kind: str, flags: tuple[str, ...], env: dict[str, str]) -> None:
    code, ended = await run_program("demo", *flags, env=env)
    assert (code, ended.stderr) == (0, ""), ended.stdout
    assert f"its store is {kind}." in ended.stdout
    for step in ("create and poll", "drop and resume", "cancel", "delete"):
        assert step in ended.stdout
