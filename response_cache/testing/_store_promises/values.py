"""The promises about values: any bytes, any size, any id."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from response_cache.store import NewRecord
from response_cache.testing._store_promises.subject import LEASE, TTL, Promises, Subject

__all__ = ("ValuePromises",)


ALL_BYTES: Final = bytes(range(256))


class ValuePromises(Promises):
    """Values are returned as they were given, whatever bytes they are."""

    async def test_every_byte_comes_back_as_it_was(self, subject: Subject) -> None:
        new = NewRecord(
            id=subject.id,
            incarnation="first",
            header=ALL_BYTES,
            request=ALL_BYTES,
            snapshot=ALL_BYTES,
            events=[ALL_BYTES, ALL_BYTES[::-1]],
            status="queued",
            ttl=TTL,
            private=ALL_BYTES,
        )
        claim = await subject.store.create(new, LEASE)
        await subject.append(claim, ALL_BYTES * 2, notes=ALL_BYTES)
        view = await subject.view()
        assert (view.header, view.notes, view.snapshot) == (ALL_BYTES,) * 3
        assert await subject.store.request(subject.id) == ALL_BYTES
        assert await subject.log() == (ALL_BYTES, ALL_BYTES[::-1], ALL_BYTES * 2)
        assert (await subject.store.take(subject.id, lease=LEASE)).private == ALL_BYTES

    async def test_empty_bytes_come_back_empty(self, subject: Subject) -> None:
        new = NewRecord(
            id=subject.id,
            incarnation="first",
            header=b"",
            request=b"",
            snapshot=b"",
            events=[b"", b""],
            status="",
            ttl=TTL,
        )
        await subject.store.create(new, LEASE)
        view = await subject.view()
        assert (view.header, view.snapshot, view.status) == (b"", b"", "")
        assert await subject.store.request(subject.id) == b""
        assert await subject.log() == (b"", b"")

    async def test_large_values_come_back_whole(self, subject: Subject) -> None:
        mebibyte = ALL_BYTES * 4096
        claim = await subject.create(mebibyte)
        await subject.append(claim, mebibyte[::-1], b"small", mebibyte, snapshot=mebibyte)
        assert (await subject.view()).snapshot == mebibyte
        assert await subject.log() == (mebibyte, mebibyte[::-1], b"small", mebibyte)

    async def test_a_batch_may_have_many_events(self, subject: Subject) -> None:
        events = tuple(str(n).encode() for n in range(5000))
        await subject.append(await subject.create(), *events)
        assert await subject.log() == events
        assert (await subject.view(after=2499, limit=2)).events == (b"2500", b"2501")

    # No braces: they are hash tags in Redis Cluster, and no id of ours has them.
    @pytest.mark.parametrize(
        "tail",
        [" ", ":log", "/../", "%00", "'\";--", "*?[a-z]", "\n\t", "ü→🙂", "_" * 200],
    )
    async def test_an_id_may_have_odd_characters(self, subject: Subject, tail: str) -> None:
        odd = replace(subject, id=subject.id + tail)
        await subject.create(b"plain")
        claim = await odd.create(b"odd")
        await odd.append(claim, b"more", status="état\n", notes=b"n")
        view = await odd.view(after=-1)
        assert (view.id, view.status, view.events) == (odd.id, "état\n", (b"odd", b"more"))
        assert await odd.delete() is True
        assert await subject.log() == (b"plain",)
