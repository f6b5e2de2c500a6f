"""The same answers from asyncio and from trio."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from response_cache._eventloop import (
    call_soon,
    clock,
    current_loop,
    run_in_thread,
    start_detached,
)
from response_cache.testing._virtual_time import virtual_backend
from tests.deadlines import WAIT_TIMEOUT

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


async def test_a_loop_is_the_same_object_each_time_and_can_be_a_weak_key() -> None:
    loop = current_loop()
    await anyio.lowlevel.checkpoint()
    assert current_loop() is loop
    assert weakref.WeakKeyDictionary({loop: 1})[loop] == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_two_loops_are_told_apart(backend: str) -> None:
    async def here() -> object:
        return current_loop()

    first, second = anyio.run(here, backend=backend), anyio.run(here, backend=backend)
    assert first is not second


async def test_the_clock_is_that_of_the_loop() -> None:
    now = clock()
    assert now() == pytest.approx(anyio.current_time(), abs=WAIT_TIMEOUT)
    before = anyio.current_time()
    assert before <= now() <= anyio.current_time()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_plain_asyncio_loop_is_read_without_asking_it(anyio_backend: str) -> None:
    assert clock() is time.monotonic


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_virtual_clock_is_followed(backend: str) -> None:
    async def pass_an_hour() -> float:
        now = clock()
        before = now()
        await anyio.sleep(3600)
        return now() - before

    name, options = virtual_backend(backend)
    passed = anyio.run(pass_an_hour, backend=name, backend_options=options)
    assert passed == pytest.approx(3600, abs=1)


async def test_a_thread_has_something_called_in_the_loop() -> None:
    soon, called, threads = call_soon(), anyio.Event(), []

    def in_the_loop() -> None:
        threads.append(threading.current_thread())
        called.set()

    await anyio.to_thread.run_sync(soon, in_the_loop)
    with anyio.fail_after(WAIT_TIMEOUT):
        await called.wait()
    assert threads == [threading.current_thread()]


async def test_a_signal_handler_has_something_called_in_the_loop() -> None:
    soon, called = call_soon(), anyio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: soon(called.set))
    try:
        signal.raise_signal(signal.SIGUSR1)
        with anyio.fail_after(WAIT_TIMEOUT):
            await called.wait()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_has_ended_calls_nothing_and_says_so(backend: str) -> None:
    async def here() -> Any:
        return call_soon()

    soon = anyio.run(here, backend=backend)
    with pytest.raises(RuntimeError):
        soon(lambda: None)


async def test_a_detached_task_outlives_its_starter_and_sees_none_of_its_context() -> None:
    seen, may_end, has_ended = [], anyio.Event(), anyio.Event()

    async def run() -> None:
        seen.append(VARIABLE.get())
        await may_end.wait()
        has_ended.set()

    tasks = []

    async def starter() -> None:
        VARIABLE.set("the starter's")
        tasks.append(start_detached(run))

    async with anyio.create_task_group() as group:
        group.start_soon(starter)
    await anyio.wait_all_tasks_blocked()
    assert (seen, has_ended.is_set()) == (["unset"], False)
    may_end.set()
    with anyio.fail_after(WAIT_TIMEOUT):
        await has_ended.wait()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_detached_task_is_cancelled_when_the_loop_ends(backend: str) -> None:
    ends = []

    async def run() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("cancelled")

    async def start() -> None:
        tasks.append(start_detached(run))
        await anyio.wait_all_tasks_blocked()

    tasks: list[object] = []
    anyio.run(start, backend=backend)
    assert ends == ["cancelled"]


def test_outside_of_a_loop_there_is_none() -> None:
    for ask in (current_loop, clock, call_soon):
        with pytest.raises(RuntimeError):
            ask()


async def test_asyncio_is_recognised_beside_an_imported_trio(anyio_backend: str) -> None:
    is_asyncio = isinstance(current_loop(), asyncio.AbstractEventLoop)
    assert is_asyncio == (anyio_backend == "asyncio")


# Threads.


async def test_work_in_a_thread_gives_its_result_and_has_the_context_of_its_caller() -> None:
    VARIABLE.set("the caller's")
    here = threading.current_thread()
    seen = await run_in_thread(lambda: (threading.current_thread(), VARIABLE.get()))
    assert seen[0] is not here
    assert seen[1] == "the caller's"


async def test_work_in_a_thread_raises_what_it_raises() -> None:
    def refuse() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        await run_in_thread(refuse)


async def test_a_cancelled_caller_waits_for_the_end_of_its_work() -> None:
    may_end, has_ended = threading.Event(), []

    def work() -> None:
        assert may_end.wait(WAIT_TIMEOUT)
        has_ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_in_thread, work)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        may_end.set()
    assert has_ended == [True]


STOPPED_IN_THE_MIDDLE = """
import asyncio
from response_cache._eventloop import run_in_thread, start_detached

async def live():
    await run_in_thread(int)
    loop.call_soon(loop.stop)
    await asyncio.Event().wait()

loop = asyncio.new_event_loop()
loop.call_soon(lambda: kept.append(start_detached(live)))
kept = []
loop.run_forever()
"""


def test_a_thread_does_not_keep_the_interpreter_when_the_loop_stops_without_its_tasks() -> None:
    subprocess.run([sys.executable, "-c", STOPPED_IN_THE_MIDDLE], timeout=WAIT_TIMEOUT, check=True)
