"""The promises of ``read``."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from response_cache.store import Claim
from response_cache.testing._store_promises.subject import CROWD, WAIT_TIMEOUT, Promises, Subject

__all__ = ("ReadPromises",)


class ReadPromises(Promises):
    """``read``: one consistent view."""

    async def test_an_unknown_id_reads_as_none(self, subject: Subject) -> None:
        assert await subject.find() is None
        assert await subject.find(after=-1) is None

    async def test_a_plain_read_gives_the_snapshot_and_what_it_does_not_cover(
        self, subject: Subject
    ) -> None:
        claim = await subject.append(await subject.create(b"0"), b"1", snapshot=b"s")
        await subject.append(claim, b"2", b"3")
        view = await subject.view()
        assert (view.snapshot, view.snapshot_through) == (b"s", 1)
        assert (view.first, view.events, view.tail) == (2, (b"2", b"3"), 4)

    @pytest.mark.parametrize("after", [-1, 0, 1, 2, 3])
    async def test_a_read_after_a_number_gives_the_events_above_it_and_no_snapshot(
        self, subject: Subject, after: int
    ) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", b"3", snapshot=b"s")
        view = await subject.view(after=after)
        assert view.snapshot is None
        assert (view.first, view.events) == (after + 1, (b"0", b"1", b"2", b"3")[after + 1 :])
        assert (view.snapshot_through, view.tail) == (3, 4)

    async def test_a_read_after_the_end_gives_no_events(self, subject: Subject) -> None:
        await subject.create(b"0")
        view = await subject.view(after=100)
        assert (view.events, view.tail) == ((), 1)

    @pytest.mark.parametrize("limit", [1, 2, 4, 5])
    async def test_a_limit_bounds_the_events_and_not_the_tail(
        self, subject: Subject, limit: int
    ) -> None:
        await subject.append(await subject.create(b"0"), b"1", b"2", b"3", b"4")
        view = await subject.view(after=0, limit=limit)
        assert view.events == (b"1", b"2", b"3", b"4")[:limit]
        assert (view.first, view.tail) == (1, 5)

    async def test_a_limit_does_not_care_how_events_were_batched(self, subject: Subject) -> None:
        claim = await subject.create(b"0", b"1", b"2")
        claim = await subject.append(claim, b"3", b"4", b"5")
        await subject.append(claim, b"6", b"7", b"8")
        assert (await subject.view(after=1, limit=3)).events == (b"2", b"3", b"4")
        assert (await subject.view(after=4, limit=3)).events == (b"5", b"6", b"7")

    async def test_a_page_stays_as_it_was_read(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        view = await subject.store.read(subject.id, after=-1)
        await subject.append(claim, b"1", status="in_progress")
        assert view is not None
        assert (list(view.events), view.tail, view.status) == ([b"0"], 1, "queued")

    async def test_a_reader_never_sees_half_of_an_append(self, subject: Subject) -> None:
        claim = await subject.create(b"0")

        async def write(claim: Claim) -> None:
            for n in range(1, CROWD, 2):
                events = (str(n).encode(), str(n + 1).encode())
                snapshot = str(n + 1).encode() if n % 3 == 0 else None
                claim = await subject.append(claim, *events, snapshot=snapshot)
                await checkpoint()
            await subject.append(claim, close=True, snapshot=str(claim.tail - 1).encode())

        async def read() -> None:
            while not await _is_closed_and_whole(subject):
                await checkpoint()

        with anyio.fail_after(WAIT_TIMEOUT):
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                group.start_soon(write, claim)


async def _is_closed_and_whole(subject: Subject) -> bool:
    """Read once and check that the page is one state of the record; True for its last state."""
    view = await subject.view()
    assert view.first == view.snapshot_through + 1
    assert view.events == tuple(str(n).encode() for n in range(view.first, view.tail))
    if view.snapshot_through > 0:
        assert view.snapshot == str(view.snapshot_through).encode()
    return view.closed
