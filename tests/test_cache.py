"""The six verbs, and hosting."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from response_cache._protocol.ids import ANYBODY, IDS, Owner
from response_cache._protocol.input_items import Paging
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.requests import create_request
from response_cache._recording.answer import Answer
from response_cache._recording.attempt import Refusal
from response_cache._recording.orphans import watch_time
from response_cache.cache import Created, ResponseCache, body_of
from response_cache.errors import (
    IdempotencyConflict,
    InvalidRequest,
    NotCancellable,
    NotFound,
    NotStreamable,
    PreviousResponseNotFound,
    StreamBroken,
    TooManyRequests,
    Unavailable,
)
from response_cache.options import Options
from response_cache.store import Append, Appended, Claim, NewRecord, RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Fault, FaultyStore, Process, Reader, ScriptedAnswer
from response_cache.testing._virtual_time import virtual_backend
from tests.record_headers import header

BODY = {"model": "m", "input": "hi", "background": True}
WORD = {"type": "acme:word"}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_up", "output": []}}
FIRST_PAGE = Paging(limit=20, order="desc", after=None)
END_OF_THE_DEAD = 6.0 + watch_time(Options(lease=6.0)) + 2.0  # lease, watch, looks
ALICE, BOB, ADMIN = Owner("alice"), Owner("bob"), Owner("root", is_admin=True)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@pytest.fixture
def shared() -> FaultyStore:
    return FaultyStore(lambda clock: MemoryStore(clock=clock))


class World:
    """Two processes over one store."""

    def __init__(self, shared: FaultyStore, **options: Any) -> None:
        self.shared = shared
        settings = Options(lease=6.0, ttl=1000.0, stream_ttl=100.0, **options)
        self.processes = [Process(shared, settings), Process(shared, settings)]
        self.cache, self.other = (process.cache for process in self.processes)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[World]:
        async with self.processes[0].running(), self.processes[1].running():
            yield self

    async def ask(
        self,
        upstream: Any,
        *,
        cache: ResponseCache | None = None,
        owner: Owner = ALICE,
        key: str | None = None,
        **body: Any,
    ) -> Created | Refusal:
        whole = {**BODY, **body}
        return await (cache or self.cache).create(
            create_request(whole), dump(whole), upstream, owner=owner, key=key
        )

    async def accepted(self, upstream: Any, **options: Any) -> str:
        created = await self.ask(upstream, **options)
        assert isinstance(created, Created)
        assert load(created.body)["status"] == "queued"
        return created.id

    async def completed(self, **options: Any) -> str:
        upstream = ScriptedAnswer()
        id = await self.accepted(upstream, **options)
        finish(upstream)
        await anyio.sleep(1)
        return id


def finish(upstream: ScriptedAnswer) -> None:
    upstream.send(COMPLETED)
    upstream.finish()


def status_of(view: RecordView) -> str:
    return str(load(body_of(view))["status"])


async def refuse(_body: bytes, answer: Answer) -> None:
    answer.start(400, ())
    answer.finish()


# Reading and ending, from any process.


async def test_any_process_reads_follows_and_cancels(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        upstream.send(WORD)
        await anyio.sleep(0.3)
        for cache in (world.cache, world.other):
            assert status_of(await cache.retrieve(id, ALICE)) == "in_progress"
        reader = Reader(world.other, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            body = load(await world.other.cancel(id, ALICE))
        assert body["status"] == "cancelled"
        assert reader.events[-1]["response"] == body
        with anyio.fail_after(0.5):
            await upstream.has_ended.wait()


async def test_a_second_cancel_is_answered_without_a_write(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.accepted(ScriptedAnswer())
        first = await world.cache.cancel(id, ALICE)
        writes = shared.operations["take"], shared.operations["append"]
        assert await world.other.cancel(id, ALICE) == first
        assert (shared.operations["take"], shared.operations["append"]) == writes


async def test_what_is_over_cannot_be_cancelled(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        with pytest.raises(NotCancellable, match="completed"):
            await world.cache.cancel(id, ALICE)
        assert status_of(await world.cache.retrieve(id, ALICE)) == "completed"


async def test_nobody_sees_anothers_response_by_any_verb(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        for call in (
            world.cache.retrieve(id, BOB),
            world.cache.stream(id, BOB),
            world.cache.cancel(id, BOB),
            world.cache.delete(id, BOB),
            world.cache.input_items(id, BOB, FIRST_PAGE),
        ):
            with pytest.raises(NotFound):
                await call
        with pytest.raises(PreviousResponseNotFound):
            await world.cache.upstream_id(id, BOB)
        assert status_of(await world.cache.retrieve(id, ADMIN)) == "completed"


async def test_a_delete_erases_stops_and_ends_streams(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        reader = Reader(world.cache, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await anyio.sleep(1)
            await world.other.delete(id, ALICE)
        assert upstream.has_ended.is_set()
        for cache in (world.cache, world.other):
            with pytest.raises(NotFound):
                await cache.delete(id, ALICE)


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
async def test_a_delete_whose_answer_is_lost_is_repeated(shared: FaultyStore, fault: Fault) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        shared.plan("delete", fault)
        await world.cache.delete(id, ALICE)
        with pytest.raises(NotFound):
            await world.cache.retrieve(id, ALICE)


async def test_a_store_that_is_away_is_unavailable_and_worth_a_retry(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        shared.go_down()
        for call in (
            world.cache.retrieve(id, ALICE),
            world.cache.stream(id, ALICE),
            world.cache.cancel(id, ALICE),
            world.cache.delete(id, ALICE),
            world.cache.input_items(id, ALICE, FIRST_PAGE),
            world.ask(ScriptedAnswer()),
        ):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.retry_after


async def test_events_expire_before_the_object(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        await anyio.sleep(101)
        with pytest.raises(NotStreamable):
            await world.cache.stream(id, ALICE)
        assert status_of(await world.cache.retrieve(id, ALICE)) == "completed"
        await anyio.sleep(1000)
        with pytest.raises(NotFound):
            await world.cache.retrieve(id, ALICE)


async def test_a_running_response_never_expires(shared: FaultyStore) -> None:
    async with World(shared, idle_timeout=1e5).running() as world:
        id = await world.accepted(ScriptedAnswer())
        await anyio.sleep(5000)
        assert status_of(await world.other.retrieve(id, ALICE)) == "queued"


async def test_the_response_of_a_crashed_process_is_closed_and_its_streams_end(
    shared: FaultyStore,
) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        upstream.send(WORD)
        await anyio.sleep(1)
        reader = Reader(world.other, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await anyio.sleep(1)
            world.processes[0].crash()
            with anyio.move_on_after(END_OF_THE_DEAD):
                await anyio.sleep_forever()
            assert reader.is_done
        assert reader.events[-1]["response"]["status"] == "failed"
        assert "worker" in reader.events[-1]["response"]["error"]["message"]


async def test_change_returns_on_news_and_otherwise_in_time(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        view = await world.other.retrieve(id, ALICE)
        began = anyio.current_time()
        await world.other.change(view, 3.0)
        assert anyio.current_time() - began == pytest.approx(3.0)
        upstream.send(WORD)
        await world.other.change(view, 3.0)
        assert anyio.current_time() - began < 4.0


# Creating.


async def test_twenty_creates_under_one_key_are_one_response(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        ids: set[str] = set()

        async def ask(cache: ResponseCache) -> None:
            created = await world.ask(upstream, cache=cache, key="k")
            assert isinstance(created, Created)
            ids.add(created.id)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, (world.cache, world.other)[number % 2])
        assert len(ids) == len(upstream.bodies) == 1


async def test_keys_belong_to_their_owners_and_need_one(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        ids = [
            await world.accepted(ScriptedAnswer(), owner=owner, key="k")
            for owner in (ALICE, BOB, ANYBODY, ANYBODY)
        ]
        assert len(set(ids)) == 4


async def test_a_key_used_for_another_body_or_a_deleted_response_conflicts(
    shared: FaultyStore,
) -> None:
    async with World(shared).running() as world:
        id = await world.completed(key="k")
        with pytest.raises(IdempotencyConflict, match="another body"):
            await world.ask(ScriptedAnswer(), key="k", input="else")
        await world.cache.delete(id, ALICE)
        with pytest.raises(IdempotencyConflict, match="deleted"):
            await world.ask(ScriptedAnswer(), key="k")


async def test_a_key_of_an_expired_or_refused_response_is_free_again(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        assert isinstance(await world.ask(refuse, key="k"), Refusal)
        await anyio.sleep(1)
        id = await world.completed(key="k")
        await anyio.sleep(1001)
        upstream = ScriptedAnswer()
        assert await world.accepted(upstream, key="k") == id
        await anyio.sleep(0.1)
        assert len(upstream.bodies) == 1


async def test_a_joiner_waits_for_the_first_ones_admission(shared: FaultyStore) -> None:
    async def slowly_refused(_body: bytes, answer: Answer) -> None:
        await anyio.sleep(0.2)
        answer.start(400, ())
        answer.finish()

    async with World(shared).running() as world:
        second = ScriptedAnswer()
        outcomes: list[Created | Refusal] = []

        async def ask(upstream: Any, cache: ResponseCache) -> None:
            outcomes.append(await world.ask(upstream, cache=cache, key="k"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, slowly_refused, world.cache)
            await anyio.sleep(0.1)
            tasks.start_soon(ask, second, world.other)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Created", "Refusal"]
        assert len(second.bodies) == 1


async def test_a_joiner_is_not_held_up_by_a_poster_that_left(shared: FaultyStore) -> None:
    async def slow(_body: bytes, _answer: Answer) -> None:
        await anyio.sleep_forever()

    async with World(shared).running() as world:
        with anyio.move_on_after(0.1):
            await world.ask(slow, key="k")
        with anyio.fail_after(1.0):
            created = await world.ask(ScriptedAnswer(), cache=world.other, key="k")
        assert isinstance(created, Created)


async def test_a_crashed_first_one_ends_the_wait_of_a_joiner(shared: FaultyStore) -> None:
    async def slow(_body: bytes, _answer: Answer) -> None:
        await anyio.sleep_forever()

    async with World(shared, admission_wait=100.0).running() as world:
        with anyio.move_on_after(0.1):
            await world.ask(slow, key="k")
        world.processes[0].crash()
        with anyio.fail_after(END_OF_THE_DEAD):
            created = await world.ask(ScriptedAnswer(), cache=world.other, key="k")
        assert isinstance(created, Created)
        assert load(created.body)["status"] == "failed"


@pytest.mark.parametrize("at", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("fault", [None, Fault.SLOW, Fault.AFTER, Fault.BEFORE])
async def test_the_poster_may_leave_whenever_it_likes(
    shared: FaultyStore, fault: Fault | None, at: float
) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        shared.plan("create", fault)
        with anyio.move_on_after(at):
            await world.ask(upstream, key="k")
        await anyio.sleep(2)
        assert len(upstream.bodies) == 1
        finish(upstream)
        await anyio.sleep(2)
        joined = await world.ask(ScriptedAnswer(), key="k")
        assert isinstance(joined, Created)
        assert load(joined.body)["status"] == "completed"


async def test_no_more_run_and_wait_than_may_even_when_all_come_at_once(
    shared: FaultyStore,
) -> None:
    async with World(shared, max_running=2, max_waiting=3).running() as world:
        upstreams = [ScriptedAnswer() for _ in range(12)]
        refused = 0

        async def ask(upstream: ScriptedAnswer) -> None:
            nonlocal refused
            try:
                await world.ask(upstream)
            except TooManyRequests:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for upstream in upstreams:
                tasks.start_soon(ask, upstream)
        assert refused == 7
        assert sum(len(upstream.bodies) for upstream in upstreams) == 2
        for upstream in upstreams:
            finish(upstream)
        await anyio.sleep(3)
        assert sum(len(upstream.bodies) for upstream in upstreams) == 5
        assert world.cache.running == 0


async def test_a_previous_response_is_continued_under_the_upstreams_name(
    shared: FaultyStore,
) -> None:
    async with World(shared).running() as world:
        id = await world.completed()
        upstream = ScriptedAnswer()
        running = await world.accepted(upstream, previous_response_id=id)
        await anyio.sleep(0.1)
        assert load(upstream.bodies[0])["previous_response_id"] == "resp_up"
        with pytest.raises(InvalidRequest, match="queued"):
            await world.ask(ScriptedAnswer(), previous_response_id=running)
        with pytest.raises(PreviousResponseNotFound):
            await world.ask(ScriptedAnswer(), previous_response_id="resp_rc" + "0" * 48)
        assert await world.cache.upstream_id("resp_elsewhere", ALICE) is None


async def test_input_items_are_there_from_the_start(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.accepted(ScriptedAnswer())
        view = load(await world.other.input_items(id, ALICE, FIRST_PAGE))
        assert [item["content"][0]["text"] for item in view["data"]] == ["hi"]


# Draining.


async def test_draining_lets_running_work_end_and_takes_no_more(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        reader = Reader(world.cache, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            tasks.start_soon(world.cache.drain, 20.0)
            await anyio.sleep(1)
            with pytest.raises(Unavailable):
                await world.ask(ScriptedAnswer())
            assert not reader.is_done
            finish(upstream)
        assert reader.events[-1]["type"] == "response.completed"
        assert status_of(await world.other.retrieve(id, ALICE)) == "completed"


@pytest.mark.parametrize("within", [0.0, 2.0])
async def test_what_does_not_end_in_time_ends_failed(shared: FaultyStore, within: float) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        reader = Reader(world.cache, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await anyio.sleep(0.5)
            began = anyio.current_time()
            await world.cache.drain(within)
            assert anyio.current_time() - began <= within + 0.1
            await world.cache.drain(within)
        assert reader.events[-1]["response"]["error"]["message"].startswith("The server was shut")
        assert upstream.has_ended.is_set()
        assert status_of(await world.other.retrieve(id, ALICE)) == "failed"


async def test_draining_serves_who_reads_what_others_record_until_its_end(
    shared: FaultyStore,
) -> None:
    async with World(shared).running() as world:
        upstream = ScriptedAnswer()
        id = await world.accepted(upstream)
        reader = Reader(world.other, id, owner=ALICE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.run)
            await anyio.sleep(1)
            tasks.start_soon(drained, world.other, 20.0, 10.5)
            await anyio.sleep(10)
            with pytest.raises(Unavailable):
                await world.other.stream(id, ALICE)
            finish(upstream)
        assert (reader.events[-1]["type"], reader.breaks) == ("response.completed", 0)


async def test_draining_breaks_off_who_reads_what_others_record_shortly_before_the_time_is_over(
    shared: FaultyStore,
) -> None:
    async with World(shared).running() as world:
        id = await world.accepted(ScriptedAnswer())
        stream = await world.other.stream(id, ALICE)
        async with aclosing(stream), anyio.create_task_group() as tasks:
            tasks.start_soon(drained, world.other, 20.0, 20.0)
            began = anyio.current_time()
            assert await anext(stream)
            with pytest.raises(StreamBroken, match="shutting down"):
                await exhausted(stream)
            assert 18.5 <= anyio.current_time() - began <= 20.0
        with pytest.raises(Unavailable):
            await world.other.stream(id, ALICE)


async def test_draining_with_nobody_to_wait_for_takes_no_time(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        id = await world.accepted(ScriptedAnswer())
        stream = await world.other.stream(id, ALICE)
        await anext(stream)
        await stream.aclose()
        await drained(world.other, 20.0, 0.1)


async def exhausted(stream: AsyncGenerator[bytes]) -> None:
    async for _ in stream:
        pass


async def drained(cache: ResponseCache, within: float, at_most: float) -> None:
    began = anyio.current_time()
    await cache.drain(within)
    assert anyio.current_time() - began <= at_most


async def test_no_more_streams_are_opened_than_may_be(shared: FaultyStore) -> None:
    async with ResponseCache(shared.truth, Options(max_streams=2)) as cache:
        created = await cache.create(
            create_request(BODY), dump(BODY), ScriptedAnswer(), owner=ALICE
        )
        assert isinstance(created, Created)
        first, second = [await cache.stream(created.id, ALICE) for _ in range(2)]
        await anext(first)
        with pytest.raises(Unavailable) as refused:
            await cache.stream(created.id, ALICE)
        assert refused.value.retry_after == 1
        await cache.retrieve(created.id, ALICE)
        await first.aclose()
        third = await cache.stream(created.id, ALICE)
        del second
        cache.require_stream_room()
        await third.aclose()
        await cache.cancel(created.id, ALICE)


async def test_an_error_in_the_context_is_raised_as_it_is(shared: FaultyStore) -> None:
    cache = Process(shared).cache
    with pytest.raises(ZeroDivisionError):
        async with cache:
            raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="not open"):
        await cache.create(create_request(BODY), dump(BODY), ScriptedAnswer(), owner=ALICE)


async def test_a_cancelled_drain_still_leaves_everything_closed(shared: FaultyStore) -> None:
    upstream = ScriptedAnswer()
    cache = Process(shared).cache
    with anyio.move_on_after(3) as scope:
        async with cache:
            created = await cache.create(create_request(BODY), dump(BODY), upstream, owner=ALICE)
    assert scope.cancelled_caught
    assert isinstance(created, Created)
    assert upstream.has_ended.is_set()
    view = await shared.truth.read(created.id)
    assert view is not None
    assert status_of(view) == "failed"


# Faults of ours.


class Treacherous(MemoryStore):
    """A store with a fault that nobody expected, for one response."""

    poisoned = ""

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        if claim.id == self.poisoned:
            raise ZeroDivisionError
        return await super().append(claim, append, lease)


async def test_an_internal_error_ends_one_response_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Treacherous(clock=anyio.current_time)
    async with ResponseCache(store, Options(lease=6.0)) as cache:
        upstreams = [ScriptedAnswer(), ScriptedAnswer()]
        ids = []
        for upstream in upstreams:
            created = await cache.create(create_request(BODY), dump(BODY), upstream, owner=ANYBODY)
            assert isinstance(created, Created)
            ids.append(created.id)
        store.poisoned = ids[0]
        for upstream in upstreams:
            upstream.send(WORD)
        await anyio.sleep(1)
        finish(upstreams[1])
        await anyio.sleep(1)
        assert upstreams[0].has_ended.is_set()
        assert status_of(await cache.retrieve(ids[1], ANYBODY)) == "completed"
        assert cache.running == 0
        store.poisoned = ""
        await anyio.sleep(6)
        await cache.retrieve(ids[0], ANYBODY)
        await anyio.sleep(END_OF_THE_DEAD - 6)
        assert status_of(await cache.retrieve(ids[0], ANYBODY)) == "failed"
    assert "an internal error" in caplog.text


# An owner is looked at before anything is read.


class Watched(MemoryStore):
    """A store that keeps what each read asked for, and how much it gave."""

    def __init__(self) -> None:
        super().__init__(clock=anyio.current_time)
        self.reads: list[int] = []

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        view = await super().read(id, after=after, limit=limit)
        self.reads.append(0 if view is None else len(view.snapshot or b"") + len(view.events))
        return view

    def asked(self) -> list[int]:
        """What was given since it was asked last."""
        reads, self.reads = self.reads, []
        return reads


async def long_response(cache: ResponseCache, owner: Owner) -> str:
    """The id of a response of 10 MiB."""
    upstream = ScriptedAnswer()
    created = await cache.create(create_request(BODY), dump(BODY), upstream, owner=owner)
    assert isinstance(created, Created)
    text = {"type": "message", "id": "msg_1", "content": "x" * (10 * 2**20)}
    upstream.send({"type": "response.completed", "response": {"id": "up", "output": [text]}})
    upstream.finish()
    await anyio.sleep(1)
    return created.id


async def test_a_strangers_poll_costs_one_small_read() -> None:
    store = Watched()
    async with ResponseCache(store) as cache:
        id = await long_response(cache, ALICE)
        store.asked()
        for _ in range(2):
            for ask in (cache.retrieve, cache.stream, cache.cancel):
                with pytest.raises(NotFound):
                    await ask(id, BOB)
                assert store.asked() == [0]


async def test_the_polls_of_an_owner_are_one_read_each_after_one_look() -> None:
    store = Watched()
    async with ResponseCache(store) as here, ResponseCache(store) as there:
        id = await long_response(here, ALICE)
        store.asked()
        await here.retrieve(id, ALICE)  # who created it is known here
        assert [size > 2**20 for size in store.asked()] == [True]
        await there.retrieve(id, ALICE)
        assert [size > 2**20 for size in store.asked()] == [False, True]
        await there.retrieve(id, ALICE)
        assert [size > 2**20 for size in store.asked()] == [True]
        await there.retrieve(id, ADMIN)  # who sees all need not be looked at
        assert [size > 2**20 for size in store.asked()] == [True]


async def test_a_response_that_is_another_owners_by_now_is_not_given() -> None:
    store = Watched()
    async with ResponseCache(store) as cache:
        id = await long_response(cache, ALICE)
        await cache.retrieve(id, ALICE)
        view = await store.read(id)
        assert view is not None
        await MemoryStore.delete(store, id)
        store._tombstones.clear()  # as if they had expired
        await store.create(
            NewRecord(
                id=id,
                incarnation="second",
                header=header(owner="bob"),
                request=b"{}",
                snapshot=view.snapshot or b"",
                events=[],
                status="completed",
                ttl=100.0,
            ),
            10.0,
        )
        store.asked()
        for _ in range(2):
            with pytest.raises(NotFound):
                await cache.retrieve(id, ALICE)
        assert [size > 2**20 for size in store.asked()] == [True, False]


async def test_of_too_many_owners_the_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("response_cache.cache.MAX_VISIBLE", 3)
    store = Watched()
    async with ResponseCache(store) as cache:
        ids = [await long_response(cache, ALICE) for _ in range(4)]
        store.asked()
        for id, reads in ((ids[3], 1), (ids[0], 2), (ids[3], 1), (ids[1], 2)):
            await cache.retrieve(id, ALICE)
            assert len(store.asked()) == reads


async def test_a_record_of_another_release_is_as_one_that_never_was() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with ResponseCache(store) as cache:
        id = await long_response(cache, ALICE)
        view = await store.read(id)
        assert view is not None
        other = id[:-4] + "0000"
        new = NewRecord(
            id=other,
            incarnation="first",
            header=view.header.replace(b'"v":1', b'"v":2'),
            request=b"{}",
            snapshot=view.snapshot or b"",
            events=[],
            status="completed",
            ttl=100.0,
        )
        await store.create(new, 10.0)
        for ask in (cache.retrieve, cache.stream, cache.cancel, cache.delete):
            with pytest.raises(NotFound):
                await ask(other, ALICE)
        with pytest.raises(NotFound):
            await cache.input_items(other, ALICE, FIRST_PAGE)


async def test_a_key_whose_response_is_of_another_release_is_not_answered_for_ever() -> None:
    store = MemoryStore(clock=anyio.current_time)
    async with ResponseCache(store) as cache:
        new = NewRecord(
            id=IDS.keyed(store.id_tag, "", "alice", "k"),
            incarnation="first",
            header=b'{"v":2,"kind":"response"}',
            request=b"",
            snapshot=b"",
            events=[],
            status="completed",
            ttl=100.0,
        )
        await store.create(new, 10.0)
        with pytest.raises(Unavailable, match="another release"):
            await cache.create(
                create_request(BODY), dump(BODY), ScriptedAnswer(), owner=ALICE, key="k"
            )


# Nothing is left behind.


async def test_many_responses_leave_nothing_in_the_process(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        before = len(anyio.get_running_tasks())
        for number in range(60):
            upstream = ScriptedAnswer()
            id = await world.accepted(upstream, key=str(number))
            reader = Reader(world.other, id, owner=ALICE)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader.run)
                upstream.send(WORD)
                if number % 3 == 0:
                    await world.other.cancel(id, ALICE)
                elif number % 3 == 1:
                    await world.other.delete(id, ALICE)
                else:
                    finish(upstream)
        await anyio.sleep(1)
        assert world.cache.running == 0
        await anyio.sleep(world.cache.options.lease)
        assert len(anyio.get_running_tasks()) == before


async def test_a_repeat_joins_though_its_previous_response_is_gone(shared: FaultyStore) -> None:
    async with World(shared).running() as world:
        previous = await world.completed()
        following = await world.completed(key="k", previous_response_id=previous)
        await world.cache.delete(previous, ALICE)
        repeated = await world.ask(ScriptedAnswer(), key="k", previous_response_id=previous)
        assert isinstance(repeated, Created)
        assert repeated.id == following
