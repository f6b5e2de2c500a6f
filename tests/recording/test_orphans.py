"""Closing what a dead worker left behind, without ever killing what is alive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import payload
from response_cache._reading.reader import Reader
from response_cache._recording.orphans import Orphans, watch_time
from response_cache._recording.recorder import Recorder
from response_cache.errors import StoreUnavailable
from response_cache.options import Options
from response_cache.store import Append, Claim, NewRecord, RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Connection, Fault, FaultyStore
from response_cache.testing._virtual_time import virtual_backend
from tests.record_headers import header

OPTIONS = Options(lease=12.0, orphan_confirmation=2.0)
WATCH = watch_time(OPTIONS)
LOOK = (
    OPTIONS.orphan_confirmation / 4
)  # the pause between two looks, and a little more than the watch


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Ward:
    """A store with one response, and a process that reads it."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self.shared = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.ours: set[str] = set()
        self.reading, self.orphans = self.reader()

    def reader(self, store: Connection | None = None) -> tuple[Reader, Orphans]:
        store = store or Connection(self.shared)
        orphans = Orphans(
            store,
            OPTIONS,
            now=lambda: 0.0,
            is_ours=lambda view: view.id in self.ours,
            spawn=self._spawn,
        )
        return Reader(store, orphans), orphans

    def _spawn(self, run: Callable[[], Awaitable[Any]], _id: str) -> None:
        async def in_the_background() -> None:
            await run()

        self._tasks.start_soon(in_the_background)

    async def create(self, *, incarnation: str = "first") -> Claim:
        queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
        recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=100)
        new = NewRecord(
            id="resp_rc1",
            incarnation=incarnation,
            header=header(),
            request=b"{}",
            snapshot=b'{"id":"resp_rc1","status":"queued","output":[]}',
            events=recorder.take(),
            status="queued",
            ttl=1000.0,
        )
        return await self.shared.truth.create(new, OPTIONS.lease)

    async def renew(self, claim: Claim) -> None:
        await self.shared.truth.append(claim, Append(ttl=1000.0), OPTIONS.lease)

    async def read(self) -> RecordView:
        view = await self.reading.view("resp_rc1")
        assert view is not None
        return view


@pytest.fixture
async def ward() -> AsyncGenerator[Ward]:
    async with anyio.create_task_group() as tasks:
        yield Ward(tasks)
        tasks.cancel_scope.cancel()


def test_the_watch_is_what_a_heartbeat_takes_that_is_due_and_late() -> None:
    assert watch_time(Options()) == 15 / 3 + 2


async def test_an_orphan_is_closed_after_a_whole_watch_and_not_before(ward: Ward) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    assert (await ward.read()).orphaned
    await anyio.sleep(WATCH - 0.1)
    assert not (await ward.read()).closed
    await anyio.sleep(LOOK)
    view = await ward.read()
    assert (view.closed, view.status) == (True, "failed")
    assert "worker" in load(view.snapshot or b"")["error"]["message"]


async def test_a_read_from_a_cursor_gets_the_end_that_it_brought_about(ward: Ward) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    await anyio.sleep(WATCH + LOOK)
    view = await ward.reading.view("resp_rc1", after=1)
    assert view is not None
    assert [load(payload(event))["type"] for event in view.events] == ["response.failed"]


async def test_who_is_renewed_during_the_watch_is_watched_anew(ward: Ward) -> None:
    claim = await ward.create()
    await anyio.sleep(OPTIONS.lease)
    assert (await ward.read()).orphaned
    await ward.renew(claim)
    assert not (await ward.read()).orphaned
    await anyio.sleep(OPTIONS.lease)
    assert not (await ward.read()).closed
    await anyio.sleep(WATCH - 0.1)
    assert not (await ward.read()).closed


@pytest.mark.parametrize("changed", ["incarnation", "epoch"])
async def test_looks_at_different_claims_prove_nothing(ward: Ward, changed: str) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    if changed == "incarnation":
        await ward.shared.truth.delete("resp_rc1")
        await ward.shared.lose()
        await ward.create(incarnation="second")
    else:
        await ward.shared.truth.take("resp_rc1", lease=OPTIONS.lease)
    await anyio.sleep(OPTIONS.lease)
    assert not (await ward.read()).closed
    await anyio.sleep(WATCH + LOOK)
    assert (await ward.read()).closed


async def test_an_outage_between_two_looks_begins_the_watch_anew(ward: Ward) -> None:
    claim = await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    ward.shared.go_down()
    await anyio.sleep(60)
    with pytest.raises(StoreUnavailable):
        await ward.read()
    ward.shared.come_back()
    assert not (await ward.read()).closed
    await ward.renew(claim)  # as a living recorder does on every reconnect
    await anyio.sleep(WATCH)
    assert not (await ward.read()).orphaned


async def test_one_that_this_process_records_is_left_alone_however_old_its_lease(
    ward: Ward,
) -> None:
    await ward.create()
    ward.ours.add("resp_rc1")
    await anyio.sleep(OPTIONS.lease)
    for _ in range(10):
        assert not (await ward.read()).closed
        await anyio.sleep(OPTIONS.orphan_confirmation)


async def test_one_that_was_renewed_just_before_the_take_is_left_alone(ward: Ward) -> None:
    claim = await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    ward.shared.plan("take", Fault.SLOW)
    await anyio.sleep(WATCH + LOOK)
    await ward.renew(claim)
    await anyio.sleep(1)
    assert ward.shared.operations["take"] == 1
    view = await ward.read()
    assert (view.closed, view.orphaned, view.epoch) == (False, False, 1)


async def test_one_reader_is_enough_when_nobody_asks_again(ward: Ward) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    await anyio.sleep(WATCH + LOOK)
    view = await ward.shared.truth.read("resp_rc1")
    assert view is not None
    assert (view.closed, view.status) == (True, "failed")


async def test_two_moments_between_outages_prove_nothing_however_far_apart(ward: Ward) -> None:
    claim = await ward.create()
    for _ in range(3):
        ward.shared.go_down()
        await anyio.sleep(OPTIONS.lease)
        ward.shared.come_back()
        assert not (await ward.read()).closed
    await ward.renew(claim)
    await anyio.sleep(WATCH + LOOK)
    view = await ward.read()
    assert (view.closed, view.orphaned) == (False, False)


async def test_of_many_readers_exactly_one_closes(ward: Ward) -> None:
    await ward.create()
    readers = [ward.reader()[0] for _ in range(50)]
    await anyio.sleep(OPTIONS.lease)
    pages: list[RecordView | None] = []

    async def read_twice(reading: Reader) -> None:
        await reading.view("resp_rc1")
        await anyio.sleep(WATCH + LOOK)
        pages.append(await reading.view("resp_rc1"))

    async with anyio.create_task_group() as tasks:
        for reading in readers:
            tasks.start_soon(read_twice, reading)
    view = await ward.read()
    assert (view.closed, view.tail) == (True, 3)
    log = await ward.shared.truth.read("resp_rc1", after=-1)
    assert log is not None
    assert len(log.events) == 3
    assert len(pages) == 50


async def test_one_that_is_gone_by_then_is_gone(ward: Ward) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    ward.shared.plan("take", Fault.SLOW)
    await anyio.sleep(WATCH + LOOK)
    await ward.shared.truth.delete("resp_rc1")
    await anyio.sleep(1)
    assert ward.shared.operations["take"] == 1
    assert await ward.reading.view("resp_rc1") is None
    assert ward.orphans.observed == 0


async def test_a_closer_that_gets_no_answer_leaves_an_orphan_that_the_next_one_closes(
    ward: Ward,
) -> None:
    await ward.create()
    await anyio.sleep(OPTIONS.lease)
    await ward.read()
    ward.shared.plan("append", *[Fault.BEFORE] * 3)
    await anyio.sleep(WATCH + LOOK)
    assert not (await ward.read()).closed
    await anyio.sleep(OPTIONS.take_lease)
    await ward.read()
    await anyio.sleep(WATCH + LOOK)
    assert (await ward.read()).closed


async def test_what_was_seen_is_forgotten_when_it_is_over(ward: Ward) -> None:
    for number in range(20):
        claim = await ward.create(incarnation=str(number))
        await anyio.sleep(OPTIONS.lease)
        await ward.read()
        if number % 2:
            await ward.renew(claim)
        else:
            await anyio.sleep(WATCH)
        await ward.shared.lose()
    await anyio.sleep(WATCH)
    assert ward.orphans.observed == 0


# The clock of the store is set. A recorder that lives renews each third of its lease.


async def recorded(ward: Ward, claim: Claim) -> None:
    """Be a recorder whose upstream is silent."""
    while True:
        await anyio.sleep(OPTIONS.lease / 3)
        await ward.renew(claim)


@pytest.mark.parametrize("seconds", [30.0, -30.0, 900.0])
@pytest.mark.parametrize("since_renewal", [0.01, 1.0, 3.9])
async def test_a_step_of_the_clock_kills_nobody_who_lives(
    ward: Ward, seconds: float, since_renewal: float
) -> None:
    claim = await ward.create()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorded, ward, claim)
        await anyio.sleep(OPTIONS.lease + since_renewal)
        ward.shared.step_clock(seconds)
        assert (await ward.read()).orphaned
        await anyio.sleep(WATCH + OPTIONS.lease)
        view = await ward.read()
        assert (view.closed, view.orphaned, view.epoch) == (False, False, 1)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("pause", [0.3, 1.1, 2.0, 2.5, 3.1])
async def test_nor_do_many_steps_in_any_rhythm(ward: Ward, pause: float) -> None:
    claim = await ward.create()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorded, ward, claim)
        for number in range(60):
            ward.shared.step_clock(-20 if number % 3 == 2 else 10)
            await ward.read()
            await anyio.sleep(pause)
            assert not (await ward.read()).closed
        tasks.cancel_scope.cancel()


async def test_what_grows_between_two_looks_lives_however_old_its_lease(ward: Ward) -> None:
    claim = await ward.create()
    for number in range(30):
        append = Append(events=[b"event"], token=str(number), ttl=1000.0)
        claim = (await ward.shared.truth.append(claim, append, OPTIONS.lease)).claim
        ward.shared.step_clock(20)  # before anybody has seen it renewed
        assert (await ward.read()).orphaned
        await anyio.sleep(OPTIONS.orphan_confirmation / 2)
    assert not (await ward.read()).closed


@pytest.mark.parametrize("seconds", [30.0, 5.0, -5.0, -30.0, -900.0])
async def test_who_is_dead_is_closed_soon_however_the_clock_was_set(
    ward: Ward, seconds: float
) -> None:
    await ward.create()
    ward.shared.step_clock(seconds)
    with anyio.fail_after(2 * OPTIONS.lease + WATCH + 2 * LOOK):
        while not (await ward.read()).closed:  # noqa: ASYNC110 - the time is virtual
            await anyio.sleep(LOOK)


class Suspended(Connection):
    """The connection of a process that does not run for a while, in the middle of its looks."""

    gap = 0.0

    async def read(self, id: str, *, after: int | None = None, limit: int | None = None) -> Any:
        await anyio.sleep(self.gap)
        return await super().read(id, after=after, limit=limit)


async def test_what_a_process_did_not_see_while_it_was_suspended_proves_nothing(
    ward: Ward,
) -> None:
    await ward.create()
    store = Suspended(ward.shared)
    reading, _ = ward.reader(store)
    await anyio.sleep(OPTIONS.lease)
    await reading.view("resp_rc1")
    await anyio.sleep(WATCH - 2.5 * LOOK)
    store.gap = 60.0
    await anyio.sleep(60.0)  # the look that this delays is answered half a pause later
    store.gap = 0.0
    await anyio.sleep(WATCH)
    view = await ward.shared.truth.read("resp_rc1")
    assert view is not None
    assert not view.closed
    await anyio.sleep(2 * LOOK)
    view = await ward.shared.truth.read("resp_rc1")
    assert view is not None
    assert view.closed


async def test_an_orphan_of_a_kind_that_is_not_known_is_left_alone(ward: Ward) -> None:
    claim = await ward.create()
    await ward.shared.truth.delete(claim.id, claim=claim)
    unknown = NewRecord(
        id=claim.id,
        incarnation="second",
        header=b'{"v":2,"kind":"response"}',
        request=b"",
        snapshot=b"",
        events=[],
        status="",
        ttl=1000.0,
    )
    await ward.shared.truth.create(unknown, 0)
    assert (await ward.read()).orphaned
    await anyio.sleep(2 * WATCH)
    assert ward.orphans.observed == 0
    assert ward.shared.operations["take"] == 0
