"""Work in a thread: what it leaves behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from response_cache.errors import InvalidRequest
from response_cache.offload import LARGE, Offload


class Body:
    """Something large."""


@pytest.fixture
def anyio_backend() -> str:
    """It is asyncio whose futures keep errors; what trio keeps of its last thread is its own."""
    return "asyncio"


@pytest.fixture(autouse=True)
def without_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("size", [1, LARGE + 1])
async def test_work_that_fails_leaves_nothing_in_memory(size: int) -> None:
    body = Body()
    left = weakref.ref(body)

    def refuse(body: Body = body) -> None:
        raise InvalidRequest(f"bad {type(body).__name__}")

    offload = Offload()
    with pytest.raises(InvalidRequest, match="bad Body"):
        await offload.run(size, refuse)
    del body, refuse
    await offload.run(LARGE + 1, lambda: None)  # then the thread has forgotten the work before
    assert left() is None


async def test_work_gives_its_result_from_wherever_it_is_done() -> None:
    offload = Offload()
    assert [await offload.run(size, lambda: "done") for size in (1, LARGE + 1)] == ["done"] * 2
