"""The promises of ``wait``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from response_cache.store import Claim
from response_cache.testing._store_promises.subject import CROWD, WAIT_TIMEOUT, Promises, Subject

__all__ = ("WaitPromises",)


class WaitPromises(Promises):
    """``wait``: no change is missed."""

    async def test_waiting_for_an_unknown_id_ends_at_once(self, subject: Subject) -> None:
        with anyio.fail_after(WAIT_TIMEOUT):
            await subject.store.wait(subject.id, after=-1, epoch=1, incarnation="first")

    async def test_waiting_ends_at_once_when_an_event_above_is_there(
        self, subject: Subject
    ) -> None:
        await subject.create(b"0", b"1")
        await subject.wait(await subject.view(), after=0)

    async def test_waiting_ends_at_once_when_the_record_is_closed(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"))
        await subject.wait(replace(await subject.view(), closed=False), after=100)

    async def test_waiting_ends_at_once_when_a_record_known_to_be_closed_is_open(
        self, subject: Subject
    ) -> None:
        await subject.create(b"0")
        await subject.wait(replace(await subject.view(), closed=True))

    async def test_waiting_ends_at_once_for_another_epoch(self, subject: Subject) -> None:
        await subject.create()
        await subject.wait(replace(await subject.view(), epoch=2))

    async def test_waiting_ends_at_once_for_another_incarnation(self, subject: Subject) -> None:
        await subject.create()
        await subject.wait(replace(await subject.view(), incarnation="second"))

    @pytest.mark.parametrize("change", ["append", "close", "take", "delete", "withdraw"])
    async def test_a_change_between_read_and_wait_is_not_missed(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        view = await subject.view()
        await _change(subject, claim, change)
        await subject.wait(view)

    @pytest.mark.parametrize("change", ["append", "close", "take", "delete", "withdraw"])
    async def test_a_change_while_waiting_ends_the_wait(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        view = await subject.view()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(subject.wait, view)
            await anyio.wait_all_tasks_blocked()
            await _change(subject, claim, change)

    @pytest.mark.parametrize("change", ["close", "take", "delete", "withdraw"])
    async def test_who_waits_for_no_event_is_told_of_a_lost_claim(
        self, subject: Subject, change: str
    ) -> None:
        claim = await subject.create(b"0")
        view = await subject.view()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(subject.wait, view, after=10**9))
            await anyio.wait_all_tasks_blocked()
            claim = await subject.append(claim, b"1")
            await _change(subject, claim, change)

    async def test_who_knows_that_it_is_closed_waits_for_another_change(
        self, subject: Subject
    ) -> None:
        await subject.close(await subject.create(b"0"))
        view = await subject.view()
        has_ended = False

        async def wait() -> None:
            nonlocal has_ended
            await subject.wait(view, after=10**9)
            has_ended = True

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await subject.view()
            assert not has_ended
            await subject.delete()

    async def test_a_wait_can_be_given_up(self, subject: Subject) -> None:
        claim = await subject.create(b"0")
        view = await subject.view()
        async with anyio.create_task_group() as group:
            group.start_soon(subject.wait, view)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await subject.append(claim, b"1")
        await subject.wait(view)

    async def test_readers_that_wait_and_read_see_every_event(self, subject: Subject) -> None:
        claim = await subject.create()
        expected = tuple(str(n).encode() for n in range(CROWD))
        logs: list[Sequence[bytes]] = []

        async def follow() -> None:
            logs.append(await _followed(subject))

        with anyio.fail_after(WAIT_TIMEOUT):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(follow)
                for event in expected:
                    claim = await subject.append(claim, event)
                    await checkpoint()
                await subject.close(claim)
        assert logs == [expected] * 5


async def _change(subject: Subject, claim: Claim, change: str) -> None:
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "append": partial(subject.append, claim, b"more"),
        "close": partial(subject.close, claim),
        "take": subject.take_over,
        "delete": subject.delete,
        "withdraw": partial(subject.delete, claim=claim),
    }
    await changes[change]()


async def _followed(subject: Subject) -> tuple[bytes, ...]:
    """The log of a response, read as by a live reader: read a page, then wait for more."""
    seen: list[bytes] = []
    while True:
        view = await subject.view(after=len(seen) - 1, limit=7)
        assert view.first == len(seen)
        seen += view.events
        if view.closed and len(seen) == view.tail:
            return tuple(seen)
        await subject.wait(view, after=len(seen) - 1)
        await checkpoint()
