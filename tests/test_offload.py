"""Work in a thread: where it is done, in which order, and what it leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from response_cache._eventloop import call_soon
from response_cache._offload import LARGE, Offload
from response_cache.errors import InvalidRequest
from tests.deadlines import WAIT_TIMEOUT


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


async def test_short_work_is_done_in_the_loop_and_long_work_in_a_thread() -> None:
    here, offload = threading.get_ident(), Offload()
    assert await offload.run(LARGE, threading.get_ident) == here
    assert await offload.run(LARGE + 1, threading.get_ident) != here


async def test_the_loop_goes_on_while_long_work_is_done() -> None:
    began, may_end, soon = anyio.Event(), threading.Event(), call_soon()

    def work() -> None:
        soon(began.set)
        assert may_end.wait(WAIT_TIMEOUT)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Offload().run, LARGE + 1, work)
        with anyio.fail_after(WAIT_TIMEOUT):
            await began.wait()
        may_end.set()


async def test_long_work_is_done_one_at_a_time() -> None:
    running, most = 0, 0
    lock, offload, soon = threading.Lock(), Offload(), call_soon()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        passed = threading.Event()
        soon(passed.set)
        assert passed.wait(WAIT_TIMEOUT)  # the loop has run meanwhile: another could have begun
        with lock:
            running -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(offload.run, LARGE + 1, work)
    assert (running, most) == (0, 1)


async def test_long_work_is_done_to_its_end_when_its_caller_is_cancelled() -> None:
    began, may_end, has_ended = anyio.Event(), threading.Event(), threading.Event()
    offload, soon = Offload(), call_soon()

    def work() -> None:
        soon(began.set)
        assert may_end.wait(WAIT_TIMEOUT)
        has_ended.set()

    async def release() -> None:
        await quiet()  # long enough for a caller that does not wait for its work
        may_end.set()

    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(offload.run, LARGE + 1, work)
            await began.wait()
            tasks.cancel_scope.cancel()
            others.start_soon(release)
        was_done = has_ended.is_set()
    assert was_done


async def quiet() -> None:
    for _ in range(40):
        await anyio.lowlevel.checkpoint()
