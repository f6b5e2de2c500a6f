"""Ending a response that somebody else may be recording."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from response_cache._fold.reducer import fold
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.sse import payload
from response_cache._record import header_of
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.takeover import draw_rise, end_as, lifetimes
from response_cache.errors import Closed, Fenced, Missing, StoreUnavailable
from response_cache.options import Options
from response_cache.store import Append, Appended, Claim, NewRecord, RecordView, Taken
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Connection, Fault, FaultyStore
from response_cache.testing._virtual_time import virtual_backend
from tests.record_headers import header

OPTIONS = Options(ttl=1000.0, stream_ttl=500.0, unstored_ttl=50.0)
LEASE = 15.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Running:
    """A response that is being recorded."""

    def __init__(self, *, store: bool = True) -> None:
        self.shared = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.connection = Connection(self.shared)
        self._header = header(store=store)
        queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
        self._snapshot = dump(queued)
        self.recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=100)
        self.intake = Intake(self.recorder)

    async def begin(self) -> Claim:
        new = NewRecord(
            id="resp_rc1",
            incarnation="first",
            header=self._header,
            request=b"{}",
            snapshot=self._snapshot,
            events=self.recorder.take(),
            status="queued",
            ttl=1000.0,
        )
        claim = await self.connection.create(new, LEASE)
        self.intake.record(b'{"type":"acme:word"}')
        return await self.append(claim, token="word")

    async def append(self, claim: Claim, *, token: str, close: bool = False) -> Claim:
        append = Append(
            events=self.recorder.take(),
            token=token,
            snapshot=self.recorder.snapshot() if close else None,
            status=self.recorder.status,
            close=close,
            ttl=1000.0,
        )
        return (await self.connection.append(claim, append, LEASE)).claim

    async def complete(self, claim: Claim) -> Claim:
        self.intake.record(b'{"type":"response.completed","response":{}}')
        return await self.append(claim, token="end", close=True)

    async def close(self, trigger: Trigger = Trigger.CANCEL, **options: Any) -> RecordView:
        return await end_as(
            trigger,
            "resp_rc1",
            store=self.connection,
            options=OPTIONS,
            now=lambda: 0.0,
            **options,
        )

    async def log(self) -> list[dict[str, Any]]:
        view = await self.shared.truth.read("resp_rc1", after=-1)
        assert view is not None
        return [load(payload(event)) for event in view.events]


@pytest.mark.parametrize(
    ("trigger", "status"), [(Trigger.CANCEL, "cancelled"), (Trigger.EXPIRE, "failed")]
)
async def test_it_is_closed_with_its_last_event_in_one_step(trigger: Trigger, status: str) -> None:
    running = Running()
    await running.begin()
    view = await running.close(trigger)
    assert replace(view, events=[]) == await running.shared.truth.read("resp_rc1")
    assert (view.closed, view.status) == (True, status)
    log = await running.log()
    assert [event["sequence_number"] for event in log] == list(range(view.tail))
    assert log[-1]["type"] == "response.failed"
    assert fold({}, log) == load(view.snapshot or b"")
    error = load(view.snapshot or b"")["error"]
    assert (error is None) is (trigger is Trigger.CANCEL)


async def test_the_recorder_before_is_fenced() -> None:
    running = Running()
    claim = await running.begin()
    await running.close()
    with pytest.raises(Fenced):
        await running.complete(claim)


async def test_what_is_over_stays_as_it_is() -> None:
    running = Running()
    await running.complete(await running.begin())
    before = await running.shared.truth.read("resp_rc1")
    assert await running.close() == before
    assert await running.shared.truth.read("resp_rc1") == before


async def test_what_is_not_there_is_missing() -> None:
    with pytest.raises(Missing):
        await Running().close()


async def test_a_response_that_is_renewed_is_no_orphan_to_close() -> None:
    running = Running()
    claim = await running.begin()
    view = await running.close(Trigger.EXPIRE, only_orphaned=True)
    assert not view.closed
    await running.complete(claim)


async def test_one_hundred_cancels_and_a_completion_leave_exactly_one_end() -> None:
    running = Running()
    claim = await running.begin()
    pages: list[RecordView] = []
    completed: list[bool] = []

    async def cancel() -> None:
        pages.append(await running.close())

    async def complete() -> None:
        try:
            await running.complete(claim)
        except (Fenced, Closed):
            completed.append(False)
        else:
            completed.append(True)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(cancel)
            if number == 50:
                tasks.start_soon(complete)
    types = [event["type"] for event in await running.log()]
    ends = [type for type in types if type in ("response.failed", "response.completed")]
    assert ends == types[-1:]
    assert {view.status for view in pages} == {"completed" if completed[0] else "cancelled"}
    assert len({view.snapshot for view in pages}) == 1


class DistantStore(MemoryStore):
    """A store that is as far away for each of its callers as for any other."""

    async def take(self, id: str, **options: Any) -> Taken:
        await anyio.sleep(0.01)
        return await super().take(id, **options)

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        await anyio.sleep(0.01)
        return await super().append(claim, append, lease)


async def test_cancels_in_step_do_not_fence_each_other_for_ever() -> None:
    running = Running()
    running.shared = FaultyStore(lambda clock: DistantStore(clock=clock))
    running.connection = Connection(running.shared)
    await running.begin()
    statuses: list[str] = []

    async def cancel(delay: float) -> None:
        await anyio.sleep(delay)
        statuses.append((await running.close()).status)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(4):  # without a step back, one takes between any two appends
                tasks.start_soon(cancel, 0.005 * number)
    assert statuses == ["cancelled"] * 4


@pytest.mark.parametrize("faults", [[Fault.BEFORE], [Fault.AFTER], [Fault.LATE], [Fault.SLOW]])
async def test_a_lost_acknowledgement_of_the_end_is_repaired(faults: list[Fault]) -> None:
    running = Running()
    await running.begin()
    running.shared.plan("append", *faults)
    assert (await running.close()).status == "cancelled"
    assert len(await running.log()) == 5


async def test_a_store_that_stays_away_is_unavailable_and_the_cancel_can_be_repeated() -> None:
    running = Running()
    await running.begin()
    running.shared.plan("append", *[Fault.BEFORE] * 3)
    with pytest.raises(StoreUnavailable):
        await running.close()
    assert (await running.close()).status == "cancelled"


class Interrupted(Connection):
    """Something happens between the take and the closing append."""

    def __init__(self, shared: FaultyStore, event: Any) -> None:
        super().__init__(shared)
        self._event = event

    async def take(self, id: str, **options: Any) -> Taken:
        taken = await super().take(id, **options)
        event, self._event = self._event, None
        if event is not None:
            await event()
        return taken


async def test_a_response_deleted_in_between_is_missing() -> None:
    running = Running()
    await running.begin()

    async def delete() -> None:
        await running.shared.truth.delete("resp_rc1")

    running.connection = Interrupted(running.shared, delete)
    with pytest.raises(Missing):
        await running.close()


async def test_a_log_that_fell_back_under_the_same_claim_is_looked_at_again() -> None:
    running = Running()
    claim = await running.begin()
    taken = await running.connection.take("resp_rc1", lease=5.0)
    assert taken.claim is not None

    async def fall_back() -> None:
        """The last take stays, the word before it is lost."""
        store = running.shared.truth = MemoryStore(clock=anyio.current_time)
        running.recorder = Running().recorder
        new = NewRecord(
            id="resp_rc1",
            incarnation="first",
            header=header(),
            request=b"{}",
            snapshot=b'{"id":"resp_rc1","status":"queued","output":[]}',
            events=running.recorder.take(),
            status="queued",
            ttl=1000.0,
        )
        await store.create(new, LEASE)
        for _ in range(claim.epoch + 1):
            await store.take("resp_rc1", lease=5.0)

    running.connection = Interrupted(running.shared, fall_back)
    view = await running.close(raise_by=lambda: 1)
    assert (view.status, view.tail) == ("cancelled", 3)


@pytest.mark.parametrize(("store", "expected"), [(True, (1000.0, 500.0)), (False, (50.0, 50.0))])
async def test_the_end_keeps_the_lifetimes_of_the_response(
    store: bool, expected: tuple[float, float]
) -> None:
    running = Running(store=store)
    await running.begin()
    view = await running.close()
    kept = header_of(view.header)
    assert kept is not None
    assert lifetimes(kept, OPTIONS) == expected
    await anyio.sleep(expected[1] + 0.1)
    page_now = await running.shared.truth.read("resp_rc1")
    assert page_now.log_expired if store and page_now else page_now is None
    await anyio.sleep(expected[0] - expected[1])
    assert await running.shared.truth.read("resp_rc1") is None


async def test_takers_of_a_take_that_was_lost_do_not_hold_one_claim() -> None:
    running = Running()
    claim = await running.begin()
    rises = iter((5, 7))
    lost = await running.connection.take("resp_rc1", lease=5.0, raise_by=next(rises))
    assert lost.claim is not None
    await running.shared.lose(1)  # the fail-over of a server that had the take alone
    view = await running.close(raise_by=lambda: next(rises))
    assert (view.closed, view.epoch) == (True, claim.epoch + 7)
    with pytest.raises(Fenced):
        await running.complete(lost.claim)


def test_a_take_raises_the_epoch_at_random_by_less_than_a_store_can_count() -> None:
    rises = {draw_rise() for _ in range(1000)}
    assert len(rises) > 990
    assert 1 <= min(rises) < max(rises) <= 2**32 - 1


async def test_a_record_of_a_kind_that_is_not_known_is_as_if_it_were_not_there() -> None:
    running = Running()
    running._header = b'{"v":2,"kind":"response"}'
    await running.begin()
    with pytest.raises(Missing):
        await running.close()
    assert (await running.log())[-1]["type"] == "acme:word"
