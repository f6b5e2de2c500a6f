"""An open cache with its streams and stop signals, as every adapter holds it."""

from __future__ import annotations

import json
import logging
import os
import signal
from contextlib import aclosing
from typing import Any

import anyio
import pytest
import trio.testing

from response_cache import Body, Options, Request, ResponseCache
from response_cache._hosting import STREAM_END_GRACE, HostedCache, hosting
from response_cache.errors import StoreUnavailable
from response_cache.http import ResponsesAPI, Route, Stream, Verb
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import ScriptedAnswer
from response_cache.testing._virtual_time import virtual_backend

DRAIN_TIMEOUT = 10.0
SHUT_DOWN = "The server was shut down while it answered."


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, with a clock that jumps."""
    return virtual_backend(request.param)


class WatchedStore(MemoryStore):
    """Tells whether it is open."""

    is_open = False

    async def open(self) -> None:
        await super().open()
        self.is_open = True

    async def aclose(self) -> None:
        self.is_open = False
        await super().aclose()


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore(clock=anyio.current_time)


def api_over(store: MemoryStore) -> ResponsesAPI:
    return ResponsesAPI(ResponseCache(store, Options(drain_timeout=DRAIN_TIMEOUT)))


def create_request(**members: Any) -> Request:
    body = {"model": "m", "input": "hi", "background": True, **members}
    return Request("POST", "/v1/responses", b"", (), json.dumps(body).encode())


async def created(hosted: HostedCache, upstream: ScriptedAnswer) -> str:
    """The id of a response that goes on as *upstream* says."""
    reply = await hosted.api.create(create_request(), upstream)
    assert isinstance(reply, Body)
    return str(json.loads(reply.content)["id"])


async def retrieved(api: ResponsesAPI, id: str) -> dict[str, Any]:
    path = f"/v1/responses/{id}"
    reply = await api.answer(Route(Verb.RETRIEVE, id), Request("GET", path, b"", ()))
    assert isinstance(reply, Body)
    return dict(json.loads(reply.content))


# Opening and closing.


async def test_the_store_is_open_inside_of_the_context_and_closed_after_it(
    store: WatchedStore,
) -> None:
    assert not store.is_open
    async with hosting(api_over(store)):
        assert store.is_open
    assert not store.is_open


async def test_a_store_that_does_not_open_is_told_of_as_it_is() -> None:
    class Broken(MemoryStore):
        async def open(self) -> None:
            raise StoreUnavailable("no route to the store")

    with pytest.raises(StoreUnavailable, match="no route to the store"):
        async with hosting(api_over(Broken())):
            pytest.fail("it is not open")


async def test_an_exception_leaves_as_it_is_and_waits_for_nothing(store: WatchedStore) -> None:
    begun = anyio.current_time()
    with pytest.raises(ZeroDivisionError):  # in no group of exceptions  # noqa: PT012
        async with hosting(api_over(store)) as hosted:
            await created(hosted, ScriptedAnswer())
            raise ZeroDivisionError
    assert anyio.current_time() - begun < DRAIN_TIMEOUT
    assert not store.is_open


async def test_a_cancelled_host_closes_its_store(store: WatchedStore) -> None:
    with anyio.move_on_after(1) as scope:
        async with hosting(api_over(store)):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert not store.is_open


async def test_leaving_drains(store: WatchedStore) -> None:
    begun = anyio.current_time()
    async with hosting(api_over(store)) as hosted:
        id = await created(hosted, ScriptedAnswer())
    assert anyio.current_time() - begun == pytest.approx(DRAIN_TIMEOUT, abs=1)
    async with hosting(api_over(store)) as again:
        response = await retrieved(again.api, id)
    assert (response["status"], response["error"]["message"]) == ("failed", SHUT_DOWN)


# Draining.


async def test_a_drain_is_announced_before_it_is_over(store: WatchedStore) -> None:
    async with hosting(api_over(store)) as hosted, anyio.create_task_group() as tasks:
        id = await created(hosted, ScriptedAnswer())
        assert not hosted.draining.is_set()
        tasks.start_soon(hosted.drain)
        await hosted.draining.wait()
        assert (await retrieved(hosted.api, id))["status"] == "queued"


async def test_drains_of_several_tasks_share_one_time(store: WatchedStore) -> None:
    async with hosting(api_over(store)) as hosted:
        await created(hosted, ScriptedAnswer())
        begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(hosted.drain)
        await hosted.drain()
        assert anyio.current_time() - begun <= DRAIN_TIMEOUT + STREAM_END_GRACE


async def test_a_stream_is_sent_to_the_end_that_a_drain_gives_it(store: WatchedStore) -> None:
    received: list[bytes] = []

    async def send(hosted: HostedCache, reply: Stream) -> None:
        with hosted.streams.sending():
            async with aclosing(reply.chunks) as chunks:
                received.extend([chunk async for chunk in chunks])

    async with hosting(api_over(store)) as hosted, anyio.create_task_group() as tasks:
        reply = await hosted.api.create(create_request(stream=True), ScriptedAnswer())
        assert isinstance(reply, Stream)
        tasks.start_soon(send, hosted, reply)
        await hosted.drain()
    assert b"response.failed" in received[-1]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("has_handler", [True, False])
async def test_a_signal_that_the_server_handles_drains(
    servers_handler: list[int], has_handler: bool, store: WatchedStore
) -> None:
    async with hosting(api_over(store), drain_on_signals=has_handler) as hosted:
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(1)
        assert hosted.draining.is_set() is has_handler
    assert servers_handler == [signal.SIGTERM]


# A blocked loop.


async def test_a_loop_that_goes_on_is_not_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosting(api_over(MemoryStore())):
        await anyio.sleep(3600)
    assert caplog.records == []


def test_a_loop_that_is_blocked_for_long_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = trio.testing.MockClock()

    async def run() -> None:
        cache = ResponseCache(options=Options(lease=6.0, drain_timeout=0.0))
        async with hosting(ResponsesAPI(cache)):
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(1.5)
            await trio.testing.wait_all_tasks_blocked()
            assert caplog.records == []
            clock.jump(4.5)
            await trio.testing.wait_all_tasks_blocked()

    with caplog.at_level(logging.WARNING):
        anyio.run(run, backend="trio", backend_options={"clock": clock})
    assert [record.getMessage()[:26] for record in caplog.records] == ["the event loop was blocked"]
