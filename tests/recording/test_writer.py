"""How recorded events get into the store, in spite of all that a store can answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from response_cache._fold.reducer import fold
from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.sse import payload
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.takeover import end_as
from response_cache._recording.timers import Timers
from response_cache._recording.writer import Creation, Outcome, Writer
from response_cache.errors import AlreadyExists, Deleted, StoreUnavailable
from response_cache.options import Options
from response_cache.store import Append, Appended, Claim, NewRecord, RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Connection, Fault, FaultyStore
from response_cache.testing._virtual_time import virtual_backend
from tests.record_headers import header

LEASE = 6.0
HEARTBEAT = LEASE / 3


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Bench:
    """A recorder, its writer, and the store behind them."""

    header: ClassVar[bytes] = header()

    def __init__(
        self,
        stores_interval: float = 0.05,
        *,
        may_lose_writes: bool = True,
        timers: Timers | None = None,
        **options: Any,
    ) -> None:
        self.options = Options(lease=LEASE, **options)
        self._over = anyio.Event()
        self.store = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.connection = Connection(
            self.store, flush_interval=stores_interval, may_lose_writes=may_lose_writes
        )
        queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
        snapshot = dump(queued)
        self.recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=100_000)
        self.intake = Intake(self.recorder)
        record = NewRecord(
            id="resp_rc1",
            incarnation="first",
            header=self.header,
            request=b"{}",
            snapshot=snapshot,
            events=self.recorder.take(),
            status="queued",
            ttl=1000.0,
        )
        creation = Creation(record, ttl=1000.0, stream_ttl=500.0)
        self.writer = Writer(self.connection, creation, self.intake, self.options, timers)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[TaskGroup]:
        await self.writer.create()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            yield tasks
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        await self.writer.run()
        self._over.set()

    def say(self, *words: str) -> None:
        for word in words:
            self.intake.record(json.dumps({"type": "acme:word", "word": word}).encode())
        self.writer.wake()

    def complete(self) -> None:
        self.intake.record(b'{"type":"response.completed","response":{"id":"up"}}')
        self.writer.wake()

    async def view(self) -> RecordView:
        view = await self.store.truth.read("resp_rc1", after=-1)
        assert view is not None
        return view

    async def words(self) -> list[str]:
        events = [load(payload(event)) for event in (await self.view()).events]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        return [event["word"] for event in events if "word" in event]

    async def until_over(self) -> None:
        await self._over.wait()


async def quiet() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


# Batches and their pace.


async def test_first_words_are_not_delayed_and_then_one_batch_goes_each_interval() -> None:
    bench = Bench(flush_interval=0.05, flush_burst=2)
    async with bench.writing():
        sizes = []
        for number in range(40):
            bench.say(str(number))
            await anyio.sleep(0.01)
            sizes.append(len(await bench.words()))
        assert sizes[:2] == [1, 2]
        assert bench.store.operations["append"] <= 2 + 1 + 0.4 / 0.05
        await anyio.sleep(0.05)
        assert len(await bench.words()) == 40


async def test_a_timer_and_not_the_next_event_drives_a_batch() -> None:
    bench = Bench(flush_interval=0.05, flush_burst=1)
    async with bench.writing():
        bench.say("a")
        await quiet()
        bench.say("b")
        await anyio.sleep(0.06)
        assert await bench.words() == ["a", "b"]


async def test_a_batch_that_is_nearly_due_goes_along_with_a_chunk_of_another_response() -> None:
    timers = Timers()
    bench, other = (Bench(0.08, timers=timers, flush_burst=1) for _ in range(2))  # slots of 0.02
    async with bench.writing(), other.writing():
        bench.say("a")
        await quiet()
        bench.say("b")
        await anyio.sleep(0.055)
        other.say("too early for both")
        await quiet()
        assert await bench.words() == ["a"]
        await anyio.sleep(0.02)
        other.say("one more")
        await quiet()
        assert await bench.words() == ["a", "b"]


async def test_without_an_interval_each_word_goes_at_once() -> None:
    bench = Bench(flush_interval=0.0)
    async with bench.writing():
        for word in "abcdefgh":
            bench.say(word)
            await quiet()
        assert await bench.words() == list("abcdefgh")


async def test_an_interval_of_the_options_goes_before_the_stores() -> None:
    bench = Bench(60.0, flush_interval=0.05, flush_burst=1)
    async with bench.writing():
        bench.say("a")
        await quiet()
        bench.say("b")
        await anyio.sleep(0.06)
        assert await bench.words() == ["a", "b"]


async def test_the_end_goes_at_once_whatever_the_pace() -> None:
    bench = Bench(flush_interval=60.0, flush_burst=1)
    async with bench.writing():
        bench.say("a")
        await quiet()
        bench.complete()
        await quiet()
        assert bench.writer.outcome is Outcome.CLOSED
        view = await bench.view()
        assert (view.closed, view.status) == (True, "completed")


async def test_a_slow_store_gets_fewer_batches() -> None:
    bench = Bench(flush_interval=0.05, flush_burst=1)
    async with bench.writing():
        bench.store.plan("append", Fault.SLOW)
        bench.say("a")
        await anyio.sleep(1.0)
        bench.say("b")
        await anyio.sleep(0.15)
        assert await bench.words() == ["a"]
        await anyio.sleep(0.06)
        assert await bench.words() == ["a", "b"]


async def test_after_a_batch_silence_costs_nothing_but_heartbeats() -> None:
    bench = Bench()
    async with bench.writing():
        bench.say("a")
        await quiet()
        before = bench.store.operations["append"]
        await anyio.sleep(HEARTBEAT - 0.1)
        assert bench.store.operations["append"] == before
        await anyio.sleep(0.2)
        assert bench.store.operations["append"] == before + 1
        bench.say("b")  # and what comes then goes as after any pause
        await quiet()
        assert await bench.words() == ["a", "b"]


async def test_the_lease_is_renewed_in_silence() -> None:
    bench = Bench()
    async with bench.writing():
        for _ in range(10):
            await anyio.sleep(HEARTBEAT)
            assert not (await bench.view()).orphaned
        assert 9 <= bench.store.operations["append"] <= 11


@pytest.mark.slow
async def test_snapshots_cost_a_linear_total() -> None:
    bench = Bench(flush_interval=0.0)
    sizes: list[int] = []
    async with bench.writing():
        for number in range(2000):
            bench.say(f"word {number}")
            await quiet_once(bench)
            through = (await bench.view()).snapshot_through
            if not sizes or sizes[-1] != through:
                sizes.append(through)
        log = sum(map(len, (await bench.view()).events))
    assert len(sizes) <= 3 + (log // 4096).bit_length()
    for before, after in pairwise(sizes[2:]):
        assert after >= 1.8 * before


async def quiet_once(bench: Bench) -> None:
    while bench.intake.has_pending:
        await anyio.lowlevel.checkpoint()
    await quiet()


async def test_a_snapshot_is_written_when_the_upstream_begins_to_answer() -> None:
    bench = Bench()
    async with bench.writing():
        bench.say("a")
        await quiet()
        view = await bench.store.truth.read("resp_rc1")
        assert view is not None
        assert view.snapshot_through == view.tail - 1
        assert load(view.snapshot or b"")["status"] == view.status == "in_progress"


async def test_back_pressure_holds_who_writes_while_the_store_is_behind() -> None:
    bench = Bench(buffer_bytes=200)
    async with bench.writing() as tasks:
        passed: list[int] = []

        async def upstream(number: int) -> None:
            await bench.writer.wait_for_capacity()
            passed.append(number)

        bench.store.go_down()
        bench.say("a")
        await quiet()
        bench.say(*"bcdefgh")
        for number in range(3):
            tasks.start_soon(upstream, number)
        await anyio.sleep(5.0)
        assert passed == []
        bench.store.come_back()
        await anyio.sleep(0.7)
        assert sorted(passed) == [0, 1, 2]
        assert await bench.words() == list("abcdefgh")


# What the store answers.


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("repeats", [1, 3])
async def test_no_fault_of_an_append_loses_or_doubles_a_word(fault: Fault, repeats: int) -> None:
    bench = Bench()
    async with bench.writing():
        bench.say("a")
        await anyio.sleep(1)
        bench.store.plan("append", *[fault] * repeats)
        bench.say("b", "c")
        await quiet()
        bench.say("d")
        await anyio.sleep(10)
        bench.store.plan("append", *[fault] * repeats)
        bench.complete()
        await anyio.sleep(10)
        assert await bench.words() == list("abcd")
        assert bench.writer.outcome is Outcome.CLOSED


class Wiretap(Connection):
    """A connection that keeps what each append was given."""

    def __init__(self, shared: FaultyStore) -> None:
        super().__init__(shared)
        self.appends: list[tuple[Claim, Append]] = []

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        self.appends.append((claim, append))
        return await super().append(claim, append, lease)


async def test_a_retry_is_the_same_batch_and_never_merged_with_newer_events() -> None:
    bench = Bench()
    tapped = Wiretap(bench.store)
    bench.writer = Writer(tapped, bench.writer.creation, bench.intake, bench.options)
    async with bench.writing():
        bench.store.plan("append", Fault.BEFORE, Fault.AFTER, Fault.BEFORE)
        bench.say("a")
        await quiet()
        bench.say("b")
        await anyio.sleep(5)
        first, *rest = tapped.appends
        assert rest[:3] == [first] * 3
        assert rest[3] != first
        assert await bench.words() == ["a", "b"]


async def test_retries_come_at_least_every_half_second_and_keep_the_lease() -> None:
    bench = Bench()
    async with bench.writing():
        bench.store.go_down()
        bench.say("a")
        await anyio.sleep(60)
        bench.store.come_back()
        await anyio.sleep(0.51)
        view = await bench.view()
        assert not view.orphaned
        assert await bench.words() == ["a"]


async def test_a_full_store_is_told_that_the_recorder_lives_until_there_is_room() -> None:
    bench = Bench(full_timeout=1000.0)
    async with bench.writing():
        bench.store.is_full = True
        bench.say("a")
        for _ in range(int(3 * LEASE)):
            await anyio.sleep(1)
            assert not (await bench.view()).orphaned
        assert await bench.words() == []
        bench.say("b")
        bench.store.is_full = False
        await anyio.sleep(1)
        assert await bench.words() == ["a", "b"]


@pytest.mark.parametrize("is_full", [True, False])
async def test_the_log_tells_a_full_store_from_one_that_does_not_answer(
    is_full: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "response_cache.writer")
    bench = Bench()
    async with bench.writing():
        bench.store.is_full, bench.store.is_down = is_full, not is_full
        bench.say("a")
        await anyio.sleep(1)
        bench.store.come_back()
        await anyio.sleep(1)
    trouble, end = [record.getMessage().partition(": ")[2] for record in caplog.records]
    expected = "has no room" if is_full else "does not answer"
    assert trouble == f"the store {expected}; retrying"
    assert end == "the store takes writes again"


async def test_a_response_that_finds_no_room_for_too_long_fails_with_what_it_has() -> None:
    bench = Bench(full_timeout=5.0)
    async with bench.writing():
        bench.store.is_full = True
        bench.say("a")
        await anyio.sleep(4.5)
        bench.say("b")
        assert not (await bench.view()).closed
        await anyio.sleep(1)
        await bench.until_over()
        assert bench.writer.outcome is Outcome.CLOSED
        assert await bench.words() == ["a", "b"]
        view = await bench.view()
        assert (view.closed, view.status) == (True, "failed")
        assert b"no room" in view.events[-1]


async def test_room_in_between_gives_a_response_its_whole_time_again() -> None:
    bench = Bench(full_timeout=5.0)
    async with bench.writing():
        for word in "abc":
            bench.store.is_full = True
            bench.say(word)
            await anyio.sleep(4)
            bench.store.is_full = False
            await anyio.sleep(1)
        assert await bench.words() == ["a", "b", "c"]
        assert not (await bench.view()).closed


async def test_a_memory_store_that_is_full_of_one_response_takes_its_end() -> None:
    bench = Bench(full_timeout=1.0)
    bench.store = FaultyStore(lambda clock: MemoryStore(clock=clock, max_bytes=2**16))
    bench.connection = Connection(bench.store)
    bench.writer = Writer(bench.connection, bench.writer.creation, bench.intake, bench.options)
    async with bench.writing():
        for _ in range(20):
            bench.say("x" * 5000)
            await anyio.sleep(0.5)
        await bench.until_over()
        view = await bench.view()
        assert (view.closed, view.status) == (True, "failed")
        assert 5 < len(await bench.words()) < 20


async def test_an_end_goes_with_what_was_refused_before_it_and_needs_no_room() -> None:
    bench = Bench()
    async with bench.writing():
        bench.store.is_full = True
        bench.say("a")
        await anyio.sleep(1)
        bench.say("b")
        bench.complete()
        await bench.until_over()
        assert bench.writer.outcome is Outcome.CLOSED
        assert await bench.words() == ["a", "b"]
        view = await bench.view()
        assert view.closed
        assert view.status == "completed"


async def test_who_finds_more_events_than_it_ever_had_gives_way() -> None:
    bench = Bench()
    async with bench.writing():
        claim = bench.writer.claim
        events = [b"data: {}\n\n"] * 5
        await bench.store.truth.append(
            claim, Append(events=events, token="twin", ttl=1000.0), LEASE
        )
        bench.say("a")
        bench.complete()
        await bench.until_over()
        assert bench.writer.outcome is Outcome.TAKEN
        assert not (await bench.view()).closed


async def test_a_lost_newest_part_is_sent_again_under_the_same_numbers() -> None:
    bench = Bench(flush_interval=0.0)
    async with bench.writing():
        for word in "abcdef":
            bench.say(word)
            await quiet()
        before = list((await bench.view()).events)
        await bench.store.lose(3)
        assert await bench.words() == ["a", "b", "c"]
        bench.say("g")
        await anyio.sleep(1)
        assert await bench.words() == list("abcdefg")
        assert list((await bench.view()).events)[: len(before)] == before


@pytest.mark.parametrize("newest", [None, 2])
async def test_while_it_is_restored_a_closed_log_never_looks_over_without_its_end(
    newest: int | None,
) -> None:
    bench = Bench(flush_interval=0.0)
    async with bench.writing():
        for word in "abc":
            bench.say(word)
            await quiet()
        await bench.store.lose(newest)
        bench.store.plan("append", None, None, Fault.SLOW)
        bench.complete()
        seen = set()
        for _ in range(30):
            view = await bench.store.truth.read("resp_rc1")
            assert view is not None or newest is None
            if view is not None:
                seen.add((view.status, view.closed))
            await anyio.sleep(0.1)
        assert seen <= {("queued", False), ("in_progress", False), ("completed", True)}
        assert ("completed", True) in seen
        assert await bench.words() == ["a", "b", "c"]


async def test_a_lost_record_is_created_again_with_all_that_was_in_it() -> None:
    bench = Bench()
    async with bench.writing():
        bench.recorder.note("admitted", True)
        bench.writer.write_notes()
        await anyio.sleep(1)
        await bench.store.lose()
        assert await bench.store.truth.read("resp_rc1") is None
        await bench.writer.confirm()
        view = await bench.view()
        assert load(view.notes) == {"admitted": True}
        assert (view.incarnation, view.epoch, view.header) == ("first", 1, bench.header)
        bench.say("a")
        await anyio.sleep(1)
        await bench.store.lose()
        bench.complete()
        await anyio.sleep(1)
        assert await bench.words() == ["a"]
        assert load((await bench.view()).notes) == {"admitted": True, "upstream_id": "up"}
        assert await bench.store.truth.request("resp_rc1") == b"{}"


async def test_a_record_that_began_above_epoch_1_is_created_again_at_its_epoch() -> None:
    bench = Bench()
    record = replace(bench.writer.creation.record, epoch=2**40)
    creation = replace(bench.writer.creation, record=record)
    bench.writer = Writer(bench.connection, creation, bench.intake, bench.options)
    async with bench.writing():
        bench.say("a")
        await anyio.sleep(1)
        await bench.store.lose()
        bench.say("b")
        await anyio.sleep(1)
        assert await bench.words() == ["a", "b"]
        assert (await bench.view()).epoch == 2**40


async def test_after_a_loss_the_next_batch_brings_a_snapshot() -> None:
    bench = Bench(flush_interval=0.0)
    async with bench.writing():
        bench.say(*"abc")
        await quiet()
        await bench.store.lose()
        bench.say("d")
        await quiet()
        bench.say("e")
        await quiet()
        view = await bench.store.truth.read("resp_rc1")
        assert view is not None
        assert view.snapshot_through == view.tail - 1


async def test_a_loss_beyond_what_is_retained_ends_failed_in_a_dense_log() -> None:
    bench = Bench(retain_bytes=1)
    async with bench.writing():
        bench.say(*"abc")
        await anyio.sleep(1)
        bench.say("d")
        await anyio.sleep(1)
        await bench.store.lose(1)
        bench.say("e")
        await bench.until_over()
        view = await bench.view()
        events = [load(payload(event)) for event in view.events]
        assert [event["sequence_number"] for event in events] == list(range(view.tail))
        assert (view.closed, view.status, events[-1]["type"]) == (True, "failed", "response.failed")
        assert "could not be restored" in events[-1]["response"]["error"]["message"]
        assert fold({}, events) == events[-1]["response"]


async def test_a_response_that_was_over_stays_so_when_the_store_lost_more_than_is_kept() -> None:
    bench = Bench(retain_bytes=1)
    async with bench.writing() as tasks:
        bench.say("a")
        await anyio.sleep(1)
        bench.complete()
        await bench.until_over()
        tasks.start_soon(bench.writer.keep)
        await bench.store.lose()
        await anyio.sleep(LEASE)
        view = await bench.view()
        assert (view.closed, view.status) == (True, "completed")


async def test_a_store_that_cannot_forget_is_not_given_what_it_does_not_have() -> None:
    bench = Bench(may_lose_writes=False)
    async with bench.writing():
        await bench.store.lose()
        bench.say("a")
        await bench.until_over()
        assert bench.writer.outcome is Outcome.TAKEN
        assert await bench.store.truth.read("resp_rc1") is None


async def test_a_record_is_not_created_again_when_a_tombstone_may_have_expired() -> None:
    bench = Bench()
    async with bench.writing():
        bench.store.go_down()
        await anyio.sleep(bench.connection.tombstone_ttl)
        await bench.store.lose()
        bench.store.come_back()
        await bench.until_over()
        assert bench.writer.outcome is Outcome.TAKEN
        assert await bench.store.truth.read("resp_rc1") is None


@pytest.mark.parametrize("how", ["taken", "closed", "deleted"])
async def test_what_somebody_else_decided_is_never_written_over(how: str) -> None:
    bench = Bench()
    async with bench.writing():
        bench.say("a")
        await anyio.sleep(1)
        truth = bench.store.truth
        if how == "deleted":
            await truth.delete("resp_rc1")
        elif how == "taken":
            await truth.take("resp_rc1", lease=5.0)
        else:
            await end_as(
                Trigger.CANCEL, "resp_rc1", store=truth, options=bench.options, now=lambda: 0.0
            )
        before = await truth.read("resp_rc1", after=-1)
        bench.say("b")
        await bench.until_over()
        assert bench.writer.outcome is Outcome.TAKEN
        assert await truth.read("resp_rc1", after=-1) == before


@pytest.mark.parametrize("newest", [None, 1])
async def test_who_knows_that_the_claim_is_lost_does_not_restore_even_an_older_store(
    newest: int | None,
) -> None:
    bench = Bench()
    async with bench.writing():
        bench.say("a")
        await anyio.sleep(1)
        await bench.store.lose(newest)
        before = await bench.store.truth.read("resp_rc1")
        bench.writer.lose()
        bench.say("b")
        await bench.until_over()
        assert bench.writer.outcome is Outcome.TAKEN
        assert await bench.store.truth.read("resp_rc1") == before


async def test_who_was_fenced_does_not_restore_its_own_end_later() -> None:
    bench = Bench()
    async with bench.writing() as tasks:
        bench.say("a")
        await anyio.sleep(1)
        await bench.store.truth.take("resp_rc1", lease=5.0)
        bench.complete()
        await bench.until_over()
        tasks.start_soon(bench.writer.keep)
        await bench.store.lose()
        await anyio.sleep(2 * LEASE)
        assert await bench.store.truth.read("resp_rc1") is None


async def test_for_one_lease_after_the_end_a_forgotten_response_is_restored() -> None:
    bench = Bench()
    async with bench.writing() as tasks:
        bench.say("a")
        bench.complete()
        await bench.until_over()
        before = list((await bench.view()).events)
        tasks.start_soon(bench.writer.keep)
        await anyio.sleep(LEASE - 1)
        await bench.store.lose()
        await anyio.sleep(1.1)
        view = await bench.view()
        assert (list(view.events), view.closed) == (before, True)


@pytest.mark.parametrize("newest", [None, 1])
async def test_after_the_end_a_store_that_was_away_is_looked_at_as_soon_as_it_is_back(
    newest: int | None,
) -> None:
    """An older copy's lease may be over, and then others close what was closed already."""
    bench = Bench()
    async with bench.writing() as tasks:
        bench.say("a")
        bench.complete()
        await bench.until_over()
        before = await bench.view()
        tasks.start_soon(bench.writer.keep)
        await anyio.sleep(HEARTBEAT / 10)
        bench.store.go_down()
        await anyio.sleep(HEARTBEAT / 4)
        await bench.store.lose(newest)
        bench.store.come_back()
        await anyio.sleep(HEARTBEAT / 2)
        view = await bench.view()
        assert (list(view.events), view.closed) == (list(before.events), True)


async def test_after_the_end_all_is_quiet_between_heartbeats() -> None:
    bench = Bench()
    async with bench.writing() as tasks:
        bench.complete()
        await bench.until_over()
        bench.store.operations.clear()
        tasks.start_soon(bench.writer.keep)
        await anyio.sleep(2 * LEASE)
        assert bench.store.operations == {"append": 3, "wait": 3}


async def test_what_was_deleted_after_its_end_is_left_alone() -> None:
    bench = Bench()
    async with bench.writing() as tasks:
        bench.complete()
        await bench.until_over()
        tasks.start_soon(bench.writer.keep)
        await anyio.sleep(HEARTBEAT / 10)
        bench.store.operations.clear()
        await bench.store.truth.delete("resp_rc1")
        await anyio.sleep(2 * LEASE)
        assert bench.store.operations["append"] == 1


async def test_a_response_that_expired_by_itself_is_not_brought_back() -> None:
    bench = Bench()
    bench.writer.creation = replace(bench.writer.creation, ttl=3.0)
    async with bench.writing() as tasks:
        bench.complete()
        await bench.until_over()
        tasks.start_soon(bench.writer.keep)
        await anyio.sleep(3.01)
        for _ in range(20):
            assert await bench.store.truth.read("resp_rc1") is None
            await anyio.sleep(0.5)


async def test_numbers_are_right_after_losses_of_a_store_that_jumps_back_and_forth() -> None:
    bench = Bench(flush_interval=0.0)
    async with bench.writing():
        for word in "abcdef":
            bench.say(word)
            bench.store.plan("append", Fault.LATE)
            await anyio.sleep(1)
            await bench.store.lose(1)
        bench.complete()
        await bench.until_over()
        assert await bench.words() == list("abcdef")


# Creation, withdrawal, interruption.


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
async def test_a_create_is_repeated_safely(fault: Fault) -> None:
    bench = Bench()
    bench.store.plan("create", fault, fault)
    await bench.writer.create()
    assert (await bench.view()).tail == 2


async def test_a_create_that_is_never_acknowledged_says_so() -> None:
    bench = Bench()
    bench.store.go_down()
    with pytest.raises(StoreUnavailable):
        await bench.writer.create()
    assert bench.store.operations["create"] == 3


async def test_a_create_is_not_repeated_when_a_tombstone_may_have_expired() -> None:
    bench = Bench()
    bench.connection.tombstone_ttl = LEASE
    bench.store.go_down()
    with pytest.raises(StoreUnavailable):
        await bench.writer.create()
    assert bench.store.operations["create"] == 2


async def test_an_id_that_is_not_free_is_said() -> None:
    bench, other = Bench(), Bench()
    other.connection = Connection(bench.store)
    record = replace(other.writer.creation.record, incarnation="second")
    creation = replace(other.writer.creation, record=record)
    other.writer = Writer(other.connection, creation, other.intake, other.options)
    await bench.writer.create()
    with pytest.raises(AlreadyExists):
        await other.writer.create()
    await bench.store.truth.delete("resp_rc1")
    with pytest.raises(Deleted):
        await other.writer.create()


@pytest.mark.parametrize("faults", [(), (Fault.BEFORE, Fault.AFTER)])
async def test_a_withdrawn_response_is_erased_and_leaves_the_id_free(
    faults: tuple[Fault, ...],
) -> None:
    bench = Bench()
    async with bench.writing():
        bench.store.plan("delete", *faults)
        bench.writer.withdraw()
        await bench.until_over()
        assert bench.writer.outcome is Outcome.WITHDRAWN
        assert await bench.store.truth.read("resp_rc1") is None
        await bench.writer.create()


async def test_an_interrupted_writer_goes_on_with_the_batch_that_was_in_flight() -> None:
    bench = Bench()
    async with bench.writing() as tasks:
        bench.store.plan("append", Fault.AFTER, Fault.BEFORE)
        bench.say("a")
        await quiet()
        bench.say("b")
        tasks.cancel_scope.cancel()
    bench.complete()
    assert await bench.writer.run() is Outcome.CLOSED
    assert await bench.words() == ["a", "b"]
