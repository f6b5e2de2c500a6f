"""Live tails: one read of the store for all readers of a response in a process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from response_cache._protocol.sse import frame
from response_cache._reading import tails as tails_module
from response_cache._reading.reader import Reader
from response_cache._reading.tails import (
    DELETED,
    EXPIRED,
    PAGE_EVENTS,
    SHORTER,
    SHUTTING_DOWN,
    STOPPED,
    Tails,
)
from response_cache._recording.orphans import Orphans
from response_cache.errors import StreamBroken
from response_cache.options import Options
from response_cache.store import Append, Claim, NewRecord, RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import Connection, FaultyStore
from response_cache.testing._virtual_time import virtual_backend
from tests.record_headers import header

OPTIONS = Options(keep_alive=10.0, lease=6.0)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


class Following:
    """A log that grows, and readers that follow it in one process."""

    def __init__(self) -> None:
        self.shared = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.store = Connection(self.shared)
        self.faults = 0
        self.spawned = 0
        self.running = 0
        self.written: list[bytes] = []
        self._batch = 0

    @asynccontextmanager
    async def hosting(self) -> AsyncGenerator[Following]:
        async with anyio.create_task_group() as self.tasks:
            self.read_through(self.store)
            self.claim = await self.create()
            yield self
            self.tasks.cancel_scope.cancel()

    def read_through(self, store: Connection) -> None:
        orphans = Orphans(store, OPTIONS, now=lambda: 0.0, is_ours=lambda _: True, spawn=_never)
        self.reader = Reader(store, orphans)
        self.tails = Tails(self.reader, OPTIONS, spawn=self._spawn)

    def _spawn(self, tail: Any) -> None:
        async def run() -> None:
            self.running += 1
            try:
                await tail.run()
            except ZeroDivisionError:
                self.faults += 1
            finally:
                self.running -= 1

        self.spawned += 1
        self.tasks.start_soon(run)

    async def create(self, incarnation: str = "first") -> Claim:
        self.written = [frame("x", b'{"sequence_number":0}')]
        new = NewRecord(
            id="resp_rc1",
            incarnation=incarnation,
            header=header(),
            request=b"{}",
            snapshot=b"{}",
            events=self.written,
            status="in_progress",
            ttl=1e6,
        )
        return await self.store.create(new, 1e6)

    async def write(self, count: int = 1, *, size: int = 0, close: bool = False) -> None:
        events = [
            frame("x", b'{"sequence_number":%d}%b' % (len(self.written) + n, b" " * size))
            for n in range(count)
        ]
        self.written += events
        self._batch += 1
        append = Append(
            events=events,
            token=str(self._batch),
            snapshot=b"{}" if close else None,
            close=close,
            ttl=1e6,
            stream_ttl=100.0,
        )
        self.claim = (await self.store.append(self.claim, append, 1e6)).claim

    async def view(self, after: int = -1) -> RecordView:
        view = await self.reader.view("resp_rc1", after=after, limit=PAGE_EVENTS)
        assert view is not None
        return view

    def follow(self, view: RecordView) -> Follower:
        follower = Follower(self.tails.follow(view))
        self.tasks.start_soon(follower.run)
        return follower


def _never(_run: object, id: str) -> None:
    raise AssertionError(f"{id} is ours, and so it is never an orphan")


class Follower:
    """A reader of a stream, which a test can hold."""

    def __init__(self, stream: AsyncGenerator[bytes]) -> None:
        self._stream = stream
        self._scope = anyio.CancelScope()
        self.may_read = anyio.Event()
        self.may_read.set()
        self.got = b""
        self.silences = 0
        self.is_over = False  # the stream returned
        self.broken = ""  # why the stream was broken off

    async def run(self) -> None:
        with self._scope:
            try:
                async for chunk in self._stream:
                    self.got += chunk
                    self.silences += not chunk
                    await self.may_read.wait()
                self.is_over = True
            except StreamBroken as error:
                self.broken = str(error).partition(": ")[2]
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stream.aclose()

    def leave(self) -> None:
        self._scope.cancel()


async def quiet() -> None:
    for _ in range(40):
        await anyio.lowlevel.checkpoint()


async def test_a_closed_log_is_given_without_a_tail() -> None:
    async with Following().hosting() as following:
        await following.write(3, close=True)
        follower = following.follow(await following.view())
        await quiet()
        assert follower.is_over
        assert follower.got == b"".join(following.written)
        assert following.spawned == 0


async def test_a_running_log_is_followed_to_its_end() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        for _ in range(5):
            await following.write(2)
            await quiet()
            assert follower.got == b"".join(following.written)
        await following.write(close=True)
        await quiet()
        assert follower.is_over
        assert follower.got == b"".join(following.written)


async def test_one_hundred_readers_cost_one_read_a_batch() -> None:
    async with Following().hosting() as following:
        view = await following.view()
        followers = [following.follow(view) for _ in range(100)]
        await quiet()
        before = following.shared.operations["read"]
        for _ in range(10):
            await following.write()
            await quiet()
        assert following.spawned == 1
        assert following.shared.operations["read"] - before <= 11
        await following.write(close=True)
        await quiet()
        assert {follower.got for follower in followers} == {b"".join(following.written)}
        assert all(follower.is_over for follower in followers)


async def test_a_reader_from_a_cursor_gets_what_comes_after_it() -> None:
    async with Following().hosting() as following:
        await following.write(4)
        follower = following.follow(await following.view(after=2))
        ahead = following.follow(await following.view(after=6))
        await following.write(4)
        await following.write(close=True)
        await quiet()
        assert follower.got == b"".join(following.written[3:])
        assert ahead.got == b"".join(following.written[7:])
        assert follower.is_over
        assert ahead.is_over


async def test_a_cursor_beyond_the_end_of_the_log_ends_with_it() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view(after=99))
        await following.write(close=True)
        await quiet()
        assert (follower.is_over, follower.got) == (True, b"")


async def test_a_slow_reader_slows_nobody_and_catches_up_from_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tails_module, "TAIL_BYTES", 2000)
    async with Following().hosting() as following:
        view = await following.view()
        slow, fast = following.follow(view), following.follow(view)
        slow.may_read = anyio.Event()
        for _ in range(20):
            await following.write(5, size=100)
            await quiet()
        assert fast.got == b"".join(following.written)
        assert len(slow.got) < len(fast.got)
        slow.may_read.set()
        await following.write(close=True)
        await quiet()
        await anyio.sleep(1)
        assert slow.got == fast.got == b"".join(following.written)
        assert slow.is_over


async def test_a_log_longer_than_a_page_is_read_page_by_page() -> None:
    async with Following().hosting() as following:
        await following.write(int(2.5 * PAGE_EVENTS))
        follower = following.follow(await following.view())
        await following.write(close=True)
        await anyio.sleep(1)
        assert follower.got == b"".join(following.written)
        assert follower.is_over


async def test_readers_of_a_closed_log_share_what_one_of_them_has_read() -> None:
    async with Following().hosting() as following:
        await following.write(10 * PAGE_EVENTS, close=True)
        view = await following.view()
        slow = following.follow(view)
        slow.may_read = anyio.Event()
        await anyio.sleep(1)
        go_on, slow.may_read = slow.may_read, anyio.Event()
        go_on.set()  # to what is behind the page, and no further
        await anyio.sleep(1)
        reads = []
        for _ in range(3):  # each finds the tail of the first one, which is over already
            before = following.shared.operations["read"]
            follower = following.follow(view)
            await anyio.sleep(1)
            assert follower.got == b"".join(following.written)
            reads.append(following.shared.operations["read"] - before)
        assert following.spawned == 1
        assert reads == [9, 0, 0]  # but for the page, and what the slow one has read already


async def test_readers_break_off_when_the_response_is_deleted() -> None:
    async with Following().hosting() as following:
        followers = [following.follow(await following.view()) for _ in range(3)]
        await quiet()
        await following.store.delete("resp_rc1")
        await anyio.sleep(2)
        assert {follower.broken for follower in followers} == {DELETED}
        assert not any(follower.is_over for follower in followers)
        assert following.running == 0


async def test_readers_break_off_when_the_id_was_created_anew() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await quiet()
        await following.shared.lose()
        await following.create("second")
        await anyio.sleep(2)
        assert (follower.is_over, follower.broken) == (False, DELETED)


async def test_readers_go_on_when_a_lost_record_comes_back() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await following.write(3)
        await quiet()
        written, following.written = following.written, []
        await following.shared.lose()
        await anyio.sleep(0.4)
        following.claim = await following.create()
        await anyio.sleep(0.3)
        await following.write(3)
        assert following.written == written
        await following.write(1, close=True)
        await anyio.sleep(1)
        assert follower.got == b"".join(following.written)
        assert follower.is_over


async def test_readers_wait_while_the_store_is_away() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await quiet()
        following.shared.go_down()
        await anyio.sleep(30)
        assert not follower.is_over
        following.shared.come_back()
        await following.write(close=True)
        await anyio.sleep(1)
        assert follower.got == b"".join(following.written)
        assert follower.is_over


async def test_a_log_that_expired_while_the_store_was_away_breaks_its_readers_off() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await quiet()
        await following.write(2, close=True)
        following.store.cut()
        await anyio.sleep(101.0)
        following.store.mend()
        await anyio.sleep(2)
        assert (follower.is_over, follower.broken) == (False, EXPIRED)
        assert following.running == 0


@pytest.fixture
def short_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails_module, "TAIL_BYTES", 2000)


async def left_behind(following: Following) -> Follower:
    """A reader that the tail has left behind, of a log that is complete."""
    reader = following.follow(await following.view())
    await quiet()
    reader.may_read = anyio.Event()
    for _ in range(20):
        await following.write(5, size=100)
        await quiet()
    await following.write(close=True)
    await quiet()
    assert 0 < len(reader.got) < 2000
    return reader


@pytest.mark.usefixtures("short_tails")
async def test_a_slow_reader_whose_log_expires_breaks_off() -> None:
    async with Following().hosting() as following:
        view = await following.view()
        fast = following.follow(view)
        slow = await left_behind(following)
        assert fast.is_over
        await anyio.sleep(101.0)
        slow.may_read.set()
        await anyio.sleep(2)
        assert (slow.is_over, slow.broken) == (False, EXPIRED)
        assert following.running == 0


@pytest.mark.usefixtures("short_tails")
@pytest.mark.parametrize("how", ["deleted", "made anew"])
async def test_a_slow_reader_of_what_is_gone_breaks_off(how: str) -> None:
    async with Following().hosting() as following:
        slow = await left_behind(following)
        if how == "deleted":
            await following.store.delete("resp_rc1")
        else:
            await following.shared.lose()
            following.claim = await following.create("second")
            await following.write(60, size=100)
        slow.may_read.set()
        await anyio.sleep(2)
        assert (slow.is_over, slow.broken) == (False, DELETED)
        assert len(slow.got) < 2000


@pytest.mark.usefixtures("short_tails")
@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_log_that_ends_short_of_what_was_delivered_breaks_its_readers_off(
    is_slow: bool,
) -> None:
    async with Following().hosting() as following:
        if is_slow:
            reader = await left_behind(following)
        else:
            reader = following.follow(await following.view())
            await following.write(4)
            await quiet()
        await following.shared.lose()
        following.claim = await following.create()  # all that a dead recorder has left
        await following.write(1, close=True)
        reader.may_read.set()
        await anyio.sleep(2 * OPTIONS.lease)
        assert (reader.is_over, reader.broken) == (False, SHORTER)


async def test_silence_is_told_once_in_keep_alive_seconds() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await anyio.sleep(3.5 * OPTIONS.keep_alive)
        assert follower.silences == 3


async def test_the_end_of_the_process_breaks_readers_off_but_not_those_of_the_ids_named() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await quiet()
        following.tails.break_all(but={"resp_rc1"})
        await quiet()
        assert not follower.broken
        following.tails.break_all()
        await quiet()
        assert (follower.is_over, follower.broken) == (False, SHUTTING_DOWN)
        late = following.follow(await following.view())
        await quiet()
        assert late.broken == SHUTTING_DOWN


async def test_what_is_complete_is_delivered_though_the_process_ends() -> None:
    async with Following().hosting() as following:
        follower = following.follow(await following.view())
        await quiet()
        follower.may_read = anyio.Event()
        await following.write(3)
        await quiet()
        await following.write(3, close=True)
        await quiet()
        following.tails.break_all()
        follower.may_read.set()
        await quiet()
        assert follower.got == b"".join(following.written)
        assert follower.is_over


async def test_a_stream_counts_from_when_it_is_handed_out_until_it_ends() -> None:
    async with Following().hosting() as following:
        tails, view = following.tails, await following.view()
        never_begun = tails.follow(view)
        follower = following.follow(view)
        await quiet()
        assert tails.open == 2
        del never_begun
        assert tails.open == 1
        leaving = following.follow(view)
        await quiet()
        assert tails.open == 2
        leaving.leave()
        await quiet()
        assert tails.open == 1
        await following.write(close=True)
        await quiet()
        assert tails.open == 0
        assert follower.is_over
        follower = following.follow(view)
        await quiet()
        assert tails.open == 0


async def test_settled_waits_for_the_end_of_what_is_followed() -> None:
    async with Following().hosting() as following:
        following.follow(await following.view())
        await quiet()
        with anyio.move_on_after(5) as waiting:
            await following.tails.settled()
        assert waiting.cancelled_caught
        await following.write(close=True)
        with anyio.fail_after(1):
            await following.tails.settled()


async def test_settled_waits_for_readers_that_are_still_at_their_first_page() -> None:
    async with Following().hosting() as following:
        stream = following.tails.follow(await following.view())
        assert await anext(stream) == following.written[0]
        with anyio.move_on_after(5) as waiting:
            await following.tails.settled()
        assert waiting.cancelled_caught
        await stream.aclose()
        with anyio.fail_after(1):
            await following.tails.settled()


async def test_a_tail_ends_with_its_last_reader_and_leaves_nothing() -> None:
    async with Following().hosting() as following:
        view = await following.view()
        followers = [following.follow(view) for _ in range(3)]
        await quiet()
        assert (following.running, following.tails.followed) == (1, 1)
        for follower in followers:
            follower.leave()
        await quiet()
        assert (following.running, following.tails.followed) == (0, 0)


class Broken(Connection):
    """A store that raises an unexpected error."""

    async def read(self, id: str, **options: Any) -> RecordView | None:
        raise ZeroDivisionError(id)


async def test_readers_do_not_hang_when_their_tail_fails() -> None:
    async with Following().hosting() as following:
        view = await following.view()
        following.read_through(Broken(following.shared))
        follower = following.follow(view)
        await quiet()
        assert (follower.is_over, follower.broken) == (False, STOPPED)
        assert following.faults == 1
