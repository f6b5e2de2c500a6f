"""The memory store: the contract, the model, and what only it promises."""

from __future__ import annotations

import gc

import pytest
from anyio import Event, create_task_group, wait_all_tasks_blocked

from response_cache.errors import Missing, StoreFull
from response_cache.store import Append, Claim, Link, NewRecord, RecordView, Store
from response_cache.stores.memory import EVENT_OVERHEAD, RECORD_OVERHEAD, MemoryStore
from response_cache.testing import StoreConformance, machine_for

LEASE = 10.0
TTL = 1000.0


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self, clock: HandClock) -> Store:
        return MemoryStore(clock=clock)


def small_store() -> tuple[MemoryStore, HandClock]:
    clock = HandClock()
    return MemoryStore(tombstone_ttl=20.0, clock=clock), clock


TestMemoryStoreAgainstTheModel = pytest.mark.slow(machine_for(small_store))


async def create(store: MemoryStore, id: str, size: int = 0) -> Claim:
    """A record that holds *size* bytes besides what every record costs."""
    new = NewRecord(
        id=id,
        incarnation="first",
        header=b"",
        request=b"x" * size,
        snapshot=b"",
        events=[],
        status="queued",
        ttl=TTL,
    )
    return await store.create(new, LEASE)


def growing(size: int, token: str) -> Append:
    """An append of one event that costs *size* bytes."""
    return Append(events=[b"x" * (size - EVENT_OVERHEAD)], token=token, ttl=TTL)


async def append(store: MemoryStore, claim: Claim, size: int) -> Claim:
    """Append one event that costs *size* bytes."""
    return (await store.append(claim, growing(size, f"at {claim.tail}"), LEASE)).claim


async def close(store: MemoryStore, claim: Claim, *, stream_ttl: float | None = None) -> None:
    await store.append(claim, Append(close=True, ttl=TTL, stream_ttl=stream_ttl), LEASE)


async def kept(store: MemoryStore, *ids: str) -> list[str]:
    """Which of *ids* are still there; asks in an order that makes the last one used last."""
    return [id for id in ids if await store.read(id) is not None]


async def view_of(store: MemoryStore, id: str) -> RecordView:
    view = await store.read(id)
    assert view is not None
    return view


def holding(records: int, size: int = 0) -> int:
    """The bytes that *records* hold which bring *size* bytes altogether."""
    return records * RECORD_OVERHEAD + size


class Waiting:
    """Waits on a record once, and tells whether it was woken."""

    def __init__(self, store: MemoryStore, view: RecordView, after: int) -> None:
        self.store = store
        self.view = view
        self.after = after
        self.woken = Event()

    async def run(self) -> None:
        await self.store.wait(
            self.view.id,
            after=self.after,
            epoch=self.view.epoch,
            incarnation=self.view.incarnation,
        )
        self.woken.set()


def waiters_alive() -> int:
    """How many waiters anything still holds; the store itself tells nobody."""
    gc.collect()
    return sum(type(thing).__name__ == "_Waiter" for thing in gc.get_objects())


def test_two_stores_have_tags_of_their_own() -> None:
    tags = {MemoryStore().id_tag for _ in range(20)}
    assert len(tags) == 20
    assert {len(tag) for tag in tags} == {8}


def test_it_forgets_nothing_and_needs_no_pause_between_batches() -> None:
    store = MemoryStore(tombstone_ttl=5.0)
    assert (store.flush_interval, store.may_lose_writes, store.tombstone_ttl) == (0.0, False, 5.0)


@pytest.mark.parametrize("value", [0, -1])
def test_bounds_must_be_positive(value: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        MemoryStore(max_bytes=value)
    with pytest.raises(ValueError, match="positive"):
        MemoryStore(max_responses=value)
    with pytest.raises(ValueError, match="positive"):
        MemoryStore(tombstone_ttl=value)


async def test_events_need_a_token() -> None:
    store = MemoryStore()
    claim = await create(store, "a")
    with pytest.raises(ValueError, match="token"):
        await store.append(claim, Append(events=[b"0"], ttl=TTL), LEASE)
    assert (await view_of(store, "a")).tail == 0


async def test_open_responses_alone_fill_the_store_by_number() -> None:
    store = MemoryStore(max_responses=2)
    await create(store, "a")
    await create(store, "b")
    with pytest.raises(StoreFull):
        await create(store, "c")
    assert await kept(store, "a", "b", "c") == ["a", "b"]


async def test_open_responses_alone_fill_the_store_by_bytes() -> None:
    store = MemoryStore(max_bytes=holding(2, 100))
    await create(store, "a", 50)
    with pytest.raises(StoreFull):
        await create(store, "b", 51)
    await create(store, "b", 50)
    assert await kept(store, "a", "b") == ["a", "b"]


async def test_a_full_store_still_answers_the_repeat_of_a_create() -> None:
    store = MemoryStore(max_responses=1)
    claim = await create(store, "a")
    assert await create(store, "a") == claim


async def test_events_that_find_no_room_are_refused_and_leave_nothing() -> None:
    store = MemoryStore(max_bytes=holding(1, 100))
    claim = await append(store, await create(store, "a"), 100)
    with pytest.raises(StoreFull, match="a"):
        await append(store, claim, EVENT_OVERHEAD)
    assert (await view_of(store, "a")).tail == 1
    with pytest.raises(StoreFull):
        await create(store, "b")


async def test_one_live_response_holds_no_more_than_the_bound() -> None:
    store = MemoryStore(max_bytes=10 * 2**20)
    claim = await create(store, "a")
    for _ in range(9):
        claim = await append(store, claim, 2**20)
    with pytest.raises(StoreFull):
        await append(store, claim, 2**20)


async def test_a_full_store_still_answers_the_repeat_of_an_append() -> None:
    store = MemoryStore(max_bytes=holding(1, 100))
    claim = await create(store, "a")
    grown = growing(100, "last")
    first = await store.append(claim, grown, LEASE)
    assert await store.append(claim, grown, LEASE) == first


async def test_a_full_store_takes_heartbeats_and_what_they_bring() -> None:
    store = MemoryStore(max_bytes=holding(1))
    claim = await create(store, "a")
    beat = Append(snapshot=b"x" * 5000, notes=b"n", private=b"p", status="x", ttl=TTL)
    assert (await store.append(claim, beat, LEASE)).claim == claim
    assert (await view_of(store, "a")).status == "x"


async def test_events_of_a_full_store_find_room_when_open_responses_expire(
    clock: HandClock,
) -> None:
    store = MemoryStore(max_bytes=holding(2), clock=clock)
    await create(store, "old")
    await clock.advance(TTL - 1)
    claim = await create(store, "a")
    with pytest.raises(StoreFull):
        await append(store, claim, 100)
    await clock.advance(2)
    assert (await append(store, claim, 100)).tail == 1


async def test_an_end_larger_than_the_store_goes_and_can_be_read() -> None:
    store = MemoryStore(max_bytes=holding(1))
    claim = await create(store, "a")
    end = Append(events=[b"x" * 5000], token="end", snapshot=b"s", close=True, ttl=TTL)
    await store.append(claim, end, LEASE)
    view = await view_of(store, "a")
    assert (view.closed, view.tail) == (True, 1)


async def test_the_private_part_counts_until_the_end() -> None:
    store = MemoryStore(max_bytes=holding(2, 100))
    claim = await create(store, "a")
    await store.append(claim, Append(private=b"x" * 101, ttl=TTL), LEASE)
    with pytest.raises(StoreFull):
        await create(store, "b")
    await close(store, claim)
    await create(store, "b", 100)
    assert await kept(store, "a", "b") == ["a", "b"]


async def test_a_renewed_response_is_evicted_after_those_that_were_not() -> None:
    store = MemoryStore(max_responses=2)
    for id in ("a", "b"):
        await close(store, await create(store, id))
    assert await store.renew([Link("a", "first")], ttl=2 * TTL) == [True]
    await create(store, "c")
    assert await kept(store, "a", "b", "c") == ["a", "c"]


async def test_a_full_store_has_room_again_when_a_response_is_deleted() -> None:
    store = MemoryStore(max_responses=1)
    await create(store, "a")
    await store.delete("a")
    await create(store, "b")
    assert await kept(store, "a", "b") == ["b"]


async def test_a_full_store_has_room_again_when_open_responses_expire(clock: HandClock) -> None:
    store = MemoryStore(max_responses=1, clock=clock)
    await create(store, "a")
    await clock.advance(TTL + 1)
    await create(store, "b")
    assert await kept(store, "a", "b") == ["b"]


async def test_closed_responses_make_room_for_new_ones_by_number() -> None:
    store = MemoryStore(max_responses=2)
    await close(store, await create(store, "a"))
    await close(store, await create(store, "b"))
    await create(store, "c")
    assert await kept(store, "a", "b", "c") == ["b", "c"]


async def test_closed_responses_make_room_for_new_ones_by_bytes() -> None:
    store = MemoryStore(max_bytes=holding(3, 300))
    await close(store, await create(store, "a", 100))
    await close(store, await create(store, "b", 100))
    await create(store, "c", 100)
    assert await kept(store, "b", "c", "a") == ["b", "c", "a"]
    await create(store, "d", 0)
    assert await kept(store, "a", "b", "c", "d") == ["a", "c", "d"]


async def test_closed_responses_make_room_for_open_ones_that_grow() -> None:
    store = MemoryStore(max_bytes=holding(3, 200))
    await close(store, await create(store, "a", 100))
    await close(store, await create(store, "b", 100))
    claim = await create(store, "c")
    assert await kept(store, "a", "b", "c") == ["a", "b", "c"]
    await append(store, claim, 100)
    assert await kept(store, "a", "b", "c") == ["b", "c"]


async def test_open_responses_are_never_evicted() -> None:
    store = MemoryStore(max_responses=3)
    opened = await create(store, "open")
    for n in range(10):
        await close(store, await create(store, f"closed {n}"))
    assert (await store.append(opened, Append(ttl=TTL), LEASE)).claim == opened


async def test_the_least_recently_used_response_is_evicted_first() -> None:
    store = MemoryStore(max_responses=3)
    for id in ("a", "b", "c"):
        await close(store, await create(store, id))
    await store.read("a")
    await create(store, "d")
    assert await kept(store, "a", "b", "c", "d") == ["a", "c", "d"]


async def test_an_evicted_response_is_missing_and_leaves_no_tombstone() -> None:
    store = MemoryStore(max_responses=1)
    claim = await create(store, "a")
    await close(store, claim)
    second = await create(store, "b")
    with pytest.raises(Missing):
        await store.append(claim, Append(ttl=TTL), LEASE)
    await close(store, second)
    assert (await create(store, "a")).epoch == 1


async def test_the_bytes_of_deleted_and_withdrawn_responses_are_given_back() -> None:
    store = MemoryStore(max_bytes=holding(1, 100))
    for n in range(5):
        claim = await append(store, await create(store, f"withdrawn {n}"), 100)
        assert await store.delete(claim.id, claim=claim)
        await close(store, await append(store, await create(store, f"deleted {n}"), 100))
        assert await store.delete(f"deleted {n}")
    await create(store, "last", 100)


async def test_the_bytes_of_replaced_snapshots_and_notes_are_given_back() -> None:
    store = MemoryStore(max_bytes=holding(2, 100))
    claim = await create(store, "a")
    for size in (5000, 100, 50):
        content = b"x" * size
        await store.append(claim, Append(snapshot=content, notes=content, ttl=TTL), LEASE)
    await create(store, "b")
    with pytest.raises(StoreFull):
        await create(store, "c")


async def test_the_bytes_of_an_expired_log_are_given_back_when_it_is_seen(
    clock: HandClock,
) -> None:
    store = MemoryStore(max_bytes=holding(2, 100), clock=clock)
    await close(store, await append(store, await create(store, "a"), 100), stream_ttl=10.0)
    await clock.advance(11)
    assert (await view_of(store, "a")).log_expired
    await create(store, "b", 100)
    assert await kept(store, "a", "b") == ["a", "b"]


async def test_a_log_that_has_not_expired_keeps_its_bytes(clock: HandClock) -> None:
    store = MemoryStore(max_bytes=holding(2, 100), clock=clock)
    await close(store, await append(store, await create(store, "a"), 100), stream_ttl=10.0)
    await clock.advance(9)
    await create(store, "b", 100)
    assert await kept(store, "a", "b") == ["b"]


async def test_who_waits_for_no_event_sleeps_through_appends() -> None:
    store = MemoryStore()
    claim = await create(store, "a")
    recorder = Waiting(store, await view_of(store, "a"), after=10**9)
    async with create_task_group() as group:
        group.start_soon(recorder.run)
        await wait_all_tasks_blocked()
        for _ in range(10):
            claim = await append(store, claim, 100)
        await wait_all_tasks_blocked()
        assert not recorder.woken.is_set()
        await store.take("a", lease=LEASE)
        await recorder.woken.wait()


async def test_heartbeats_wake_nobody() -> None:
    store = MemoryStore()
    claim = await create(store, "a")
    reader = Waiting(store, await view_of(store, "a"), after=-1)
    async with create_task_group() as group:
        group.start_soon(reader.run)
        await wait_all_tasks_blocked()
        await store.append(claim, Append(snapshot=b"s", ttl=TTL), LEASE)
        await wait_all_tasks_blocked()
        assert not reader.woken.is_set()
        await append(store, claim, 100)
        await reader.woken.wait()


async def test_each_reader_is_woken_by_the_event_that_it_waits_for() -> None:
    store = MemoryStore()
    claim = await create(store, "a")
    view = await view_of(store, "a")
    readers = [Waiting(store, view, after=n) for n in range(-1, 3)]
    async with create_task_group() as group:
        for reader in readers:
            group.start_soon(reader.run)
        await wait_all_tasks_blocked()
        for n in range(len(readers)):
            claim = await append(store, claim, 100)
            await wait_all_tasks_blocked()
            assert [reader.woken.is_set() for reader in readers] == [m <= n for m in range(4)]


async def test_whoever_finds_a_response_expired_wakes_those_who_wait_for_it(
    clock: HandClock,
) -> None:
    store = MemoryStore(clock=clock)
    await create(store, "a")
    reader = Waiting(store, await view_of(store, "a"), after=-1)
    async with create_task_group() as group:
        group.start_soon(reader.run)
        await wait_all_tasks_blocked()
        await clock.advance(TTL + 1)
        assert await store.read("a") is None
        await reader.woken.wait()


@pytest.mark.slow
async def test_waits_that_were_given_up_leave_nothing_behind() -> None:
    store = MemoryStore()
    await create(store, "a")
    reader = Waiting(store, await view_of(store, "a"), after=-1)
    async with create_task_group() as group:
        for _ in range(20):
            group.start_soon(reader.run)
        await wait_all_tasks_blocked()
        assert waiters_alive() == 20
        group.cancel_scope.cancel()
    assert waiters_alive() == 0


async def test_what_is_stored_outlives_a_close_of_the_store() -> None:
    store = MemoryStore()
    await store.open()
    await create(store, "a")
    await store.aclose()
    assert await kept(store, "a") == ["a"]
