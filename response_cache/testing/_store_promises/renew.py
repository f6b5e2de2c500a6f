"""The promises of ``renew``."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from response_cache.store import Link
from response_cache.testing._store_promises.subject import TTL, Clock, Promises, Subject

__all__ = ("RenewPromises",)


class RenewPromises(Promises):
    """``renew``: what a chain needs is there, and stays."""

    unit: ClassVar[float] = 10.0
    """A while, in seconds: long to the store and short to the tests."""

    async def test_a_closed_record_is_there(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"), b"end")
        assert await subject.renew(ttl=TTL) is True

    async def test_an_open_record_is_no_link(self, subject: Subject) -> None:
        await subject.create(b"0")
        assert await subject.renew(ttl=TTL) is False

    async def test_a_record_of_another_incarnation_is_no_link(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"), b"end")
        assert await subject.renew(ttl=TTL, incarnation="second") is False

    async def test_what_is_deleted_or_was_never_there_is_no_link(self, subject: Subject) -> None:
        assert await subject.renew(ttl=TTL) is False
        await subject.close(await subject.create(b"0"), b"end")
        await subject.delete()
        assert await subject.renew(ttl=TTL) is False

    async def test_no_links_are_no_answers(self, subject: Subject) -> None:
        assert list(await subject.store.renew([], ttl=TTL)) == []

    async def test_each_link_is_answered_in_its_place(self, subject: Subject) -> None:
        others = [replace(subject, id=f"{subject.id}{n}") for n in range(4)]
        for n in (0, 1, 3):
            await others[n].close(await others[n].create(b"0"), b"end")
        await others[1].delete()
        links = [Link(other.id, "first") for other in others]
        expected = [True, False, False, True]
        assert list(await subject.store.renew(links, ttl=TTL)) == expected
        assert list(await subject.store.renew(links[::-1], ttl=0)) == expected[::-1]
        assert list(await subject.store.renew([links[0]] * 2, ttl=TTL)) == [True, True]

    async def test_a_chain_may_be_long(self, subject: Subject) -> None:
        await subject.close(await subject.create(b"0"), b"end")
        links = [Link(f"{subject.id}{n or ''}", "first") for n in range(500)]
        assert list(await subject.store.renew(links, ttl=TTL)) == [True] + [False] * 499

    @pytest.mark.parametrize("ttl", [0, TTL, 9 * TTL])
    async def test_nothing_that_can_be_read_is_changed(self, subject: Subject, ttl: float) -> None:
        await subject.close(await subject.create(b"0"), b"end")
        before, log = await subject.view(), await subject.log()
        await subject.renew(ttl=ttl)
        assert await subject.view() == before
        assert await subject.log() == log
        assert await subject.store.request(subject.id) == b"request"

    async def test_a_record_that_would_end_too_early_lives_half_as_long_again(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=self.unit)
        assert await subject.renew(ttl=2 * self.unit)
        await clock.advance(2.5 * self.unit)
        assert (await subject.view()).snapshot == b"final"
        assert await subject.store.request(subject.id) == b"request"
        await clock.advance(self.unit)
        assert await subject.is_gone()
        assert await subject.renew(ttl=2 * self.unit) is False

    async def test_an_end_that_is_late_enough_stays(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=3 * self.unit)
        assert await subject.renew(ttl=2.5 * self.unit)
        await clock.advance(3.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_ttl_of_0_only_looks(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=self.unit)
        assert await subject.renew(ttl=0)
        await clock.advance(1.5 * self.unit)
        assert await subject.is_gone()

    async def test_a_record_that_is_renewed_never_ends(
        self, subject: Subject, clock: Clock
    ) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=self.unit)
        for _ in range(3):
            assert await subject.renew(ttl=self.unit)
            await clock.advance(0.9 * self.unit)
        assert (await subject.view()).closed

    @pytest.mark.parametrize("stream_ttl", [None, 1.0, 9.0], ids=["none", "same", "longer"])
    async def test_the_log_keeps_its_own_end(
        self, subject: Subject, clock: Clock, stream_ttl: float | None
    ) -> None:
        life = None if stream_ttl is None else stream_ttl * self.unit
        claim = await subject.create(b"0")
        await subject.close(claim, b"end", ttl=self.unit, stream_ttl=life)
        assert await subject.renew(ttl=2 * self.unit)
        assert await subject.log() == (b"0", b"end")
        await clock.advance(1.5 * self.unit)
        view = await subject.view(after=-1)
        assert (view.log_expired, view.events, view.tail) == (True, (), 2)

    async def test_a_deleted_record_stays_deleted(self, subject: Subject, clock: Clock) -> None:
        await subject.close(await subject.create(b"0"), b"end", ttl=self.unit)
        assert await subject.renew(ttl=3 * self.unit)
        await subject.delete()
        assert await subject.renew(ttl=3 * self.unit) is False
        await clock.advance(2 * self.unit)
        assert await subject.is_gone()
