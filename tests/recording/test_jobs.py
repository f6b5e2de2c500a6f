"""The jobs of one process: how a response starts in it, and how all of them end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from response_cache._offload import Offload
from response_cache._protocol.ids import NO_TRANSLATION
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.requests import CreateRequest, create_request
from response_cache._record import header_of, request_of
from response_cache._recording.job import Job
from response_cache._recording.jobs import Jobs
from response_cache._recording.run_state import DECIDED, State
from response_cache._recording.writer import LEAST_LIFE
from response_cache.errors import (
    AlreadyExists,
    InvalidRequest,
    StoreUnavailable,
    TooManyRequests,
    Unavailable,
)
from response_cache.options import Options
from response_cache.store import RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Connection, FaultyStore, ScriptedAnswer
from response_cache.testing._virtual_time import virtual_backend

NOW = 1_700_000_000.5
BODY = {"model": "m", "input": "hi", "background": True}
COMPLETED = {"type": "response.completed", "response": {"id": "up", "output": []}}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Host:
    """A process that does nothing but run jobs."""

    def __init__(self, **options: Any) -> None:
        self.shared = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.store = Connection(self.shared)
        self._options = Options(**options)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Host]:
        async with anyio.create_task_group() as tasks:

            def spawn(run: Callable[[], Awaitable[Any]], name: str) -> None:
                async def detached() -> None:
                    await run()

                tasks.start_soon(detached, name=name)

            self.jobs = Jobs(
                self.store,
                self._options,
                Offload(),
                now=lambda: NOW,
                spawn=spawn,
            )
            yield self
            tasks.cancel_scope.cancel()

    async def start(
        self,
        id: str,
        *,
        owner_id: str | None = None,
        is_keyed: bool = False,
        upstream: ScriptedAnswer | None = None,
        **body: Any,
    ) -> Job:
        raw = dump(BODY | body)
        return await self.jobs.start(
            id,
            _request(body),
            raw,
            upstream or ScriptedAnswer(),
            b"{}",
            owner_id=owner_id,
            is_keyed=is_keyed,
            translation=NO_TRANSLATION,
            admission_wait=1.0,
        )

    async def view(self, id: str) -> RecordView:
        view = await self.shared.truth.read(id)
        assert view is not None
        return view


def _request(body: dict[str, Any]) -> CreateRequest:
    return create_request(BODY | body)


# The record.


@pytest.mark.parametrize("is_keyed", [False, True])
async def test_the_record_says_whose_the_response_is_and_what_was_asked(*, is_keyed: bool) -> None:
    async with Host(ttl=600.0).running() as host:
        job = await host.start("resp_rc1", owner_id="me", is_keyed=is_keyed)
        record = job.writer.creation.record
        header = header_of(record.header)
        assert header is not None
        assert (header.owner, header.created_at) == ("me", int(NOW))
        assert (header.fingerprint is not None) is is_keyed
        assert (record.owner, record.label, record.status) == ("me", "m", "queued")
        assert (record.epoch, record.ttl) == (1, 600.0)
        assert request_of(record.request) is not None
        assert load(record.snapshot)["created_at"] == int(NOW)
        assert len(record.events) == 2


async def test_each_record_is_an_incarnation_of_its_own() -> None:
    async with Host().running() as host:
        first, second = [await host.start(f"resp_rc{number}") for number in range(2)]
        incarnations = {job.writer.creation.record.incarnation for job in (first, second)}
        assert len(incarnations) == 2


async def test_an_open_record_outlives_a_clock_that_is_set_forward() -> None:
    async with Host(ttl=2.0, stream_ttl=1.0).running() as host:
        creation = (await host.start("resp_rc1")).writer.creation
        assert (creation.record.ttl, creation.ttl, creation.stream_ttl) == (LEAST_LIFE, 2.0, 1.0)


async def test_a_response_that_is_not_stored_has_a_short_life() -> None:
    async with Host(unstored_ttl=90.0).running() as host:
        creation = (await host.start("resp_rc1", store=False)).writer.creation
        assert (creation.ttl, creation.stream_ttl) == (90.0, 90.0)


# Whether it may start.


async def test_nothing_starts_where_the_id_is_not_free() -> None:
    upstream = ScriptedAnswer()
    async with Host().running() as host:
        await host.start("resp_rc1")
        with pytest.raises(AlreadyExists):
            await host.start("resp_rc1", upstream=upstream)
        await anyio.sleep(1)
        assert (len(host.jobs), upstream.bodies) == (1, [])


async def test_as_many_may_run_and_wait_as_the_options_say_and_no_more() -> None:
    upstreams = [ScriptedAnswer() for _ in range(3)]
    async with Host(max_running=2, max_waiting=1).running() as host:
        for number, upstream in enumerate(upstreams):
            await host.start(f"resp_rc{number}", upstream=upstream)
        with pytest.raises(TooManyRequests) as refused:
            await host.start("resp_rc3")
        assert refused.value.retry_after
        await anyio.sleep(1)
        assert [len(upstream.bodies) for upstream in upstreams] == [1, 1, 0]
        upstreams[0].send(COMPLETED)
        upstreams[0].finish()
        await host.jobs.finished("resp_rc0")
        await host.start("resp_rc3")
        assert host.jobs.ids == ("resp_rc1", "resp_rc2", "resp_rc3")


@pytest.mark.parametrize("trouble", ["no store", "too long an echo"])
async def test_a_response_that_could_not_be_made_takes_no_room(trouble: str) -> None:
    async with Host(max_running=1, max_waiting=0, max_echo_bytes=2000).running() as host:
        if trouble == "no store":
            host.shared.go_down()
            with pytest.raises(StoreUnavailable):
                await host.start("resp_rc1")
            host.shared.come_back()
        else:
            with pytest.raises(InvalidRequest):
                await host.start("resp_rc1", instructions="x" * 3000)
        assert len(host.jobs) == 0
        await host.start("resp_rc1")


async def test_nothing_starts_in_a_process_that_drains() -> None:
    async with Host().running() as host:
        host.jobs.is_draining = True
        with pytest.raises(Unavailable, match="shutting down"):
            await host.start("resp_rc1")
        assert host.shared.operations["create"] == 0


# Whose a record is.


async def test_a_view_belongs_to_the_job_that_holds_its_claim() -> None:
    async with Host().running() as host:
        job = await host.start("resp_rc1")
        view = await host.view("resp_rc1")
        assert host.jobs.job_of(view) is job
        assert host.jobs.records(view)
        await host.shared.truth.take("resp_rc1", lease=5.0)
        assert not host.jobs.records(await host.view("resp_rc1"))


async def test_a_job_that_is_over_holds_no_claim_though_its_upstream_cleans_up() -> None:
    class Slow(ScriptedAnswer):
        async def __call__(self, body: bytes, answer: Any) -> None:
            await super().__call__(body, answer)
            answer.finish()
            await anyio.sleep(10)

    upstream = Slow()
    async with Host().running() as host:
        job = await host.start("resp_rc1", upstream=upstream)
        upstream.send(COMPLETED)
        upstream.finish()
        await anyio.sleep(1)
        states = [job.state.current]
        assert "resp_rc1" in host.jobs
        assert not host.jobs.records(await host.view("resp_rc1"))
        await host.jobs.finished("resp_rc1")
        states.append(job.state.current)
        assert states == [State.ENDED, State.DONE]
        assert "resp_rc1" not in host.jobs


# The end of all.


async def test_all_that_runs_can_be_waited_for() -> None:
    upstreams = [ScriptedAnswer() for _ in range(2)]
    async with Host().running() as host:
        await host.jobs.finished()
        for number, upstream in enumerate(upstreams):
            await host.start(f"resp_rc{number}", upstream=upstream)
        upstreams[0].send(COMPLETED)
        upstreams[0].finish()
        with anyio.move_on_after(5) as waiting:
            await host.jobs.finished()
        assert waiting.cancelled_caught
        assert host.jobs.ids == ("resp_rc1",)
        upstreams[1].send(COMPLETED)
        upstreams[1].finish()
        await host.jobs.finished()
        assert len(host.jobs) == 0


async def test_all_that_runs_can_be_failed_and_the_store_has_it_then() -> None:
    async with Host(max_running=1).running() as host:
        jobs = [await host.start(f"resp_rc{number}") for number in range(2)]
        await jobs[0].state.until(DECIDED)
        await host.jobs.fail_all()
        for job in jobs:
            view = await host.view(job.writer.claim.id)
            assert (view.closed, view.status) == (True, "failed")
            assert "shut down" in load(view.snapshot or b"")["error"]["message"]
        await host.jobs.finished()
        assert len(host.jobs) == 0


# What the upstream finished.


@pytest.mark.parametrize("keep_done_items", [True, False])
async def test_an_item_that_the_end_lacks_stays_as_the_options_say(
    *, keep_done_items: bool
) -> None:
    upstream = ScriptedAnswer()
    items = [{"type": "reasoning", "id": f"rs_{n}", "summary": []} for n in range(2)]
    for index, item in enumerate(items):
        for step in ("added", "done"):
            event = {"type": f"response.output_item.{step}", "output_index": index, "item": item}
            upstream.send(event)
    upstream.send({"type": "response.completed", "response": {"id": "up", "output": items[1:]}})
    upstream.finish()
    async with Host(keep_done_items=keep_done_items).running() as host:
        await host.start("resp_rc1", upstream=upstream)
        await host.jobs.finished("resp_rc1")
        told = load((await host.view("resp_rc1")).snapshot or b"")
    assert told["output"] == (items if keep_done_items else items[1:])
