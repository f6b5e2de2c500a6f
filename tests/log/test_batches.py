"""Packed batches give back every event, byte for byte, in whatever form they were kept."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._log.batches import Batch, pack, repacked, unpack
from response_cache._log.delta_runs import Shape
from tests.log.runs import DELTA, event, run, runs

parts = st.lists(st.one_of(st.binary(max_size=300), runs), max_size=8)


def made(found: list[bytes | tuple[Shape, list[bytes]]], at: int) -> tuple[Batch, list[bytes]]:
    """A batch of *found*, numbered from *at* on, and its events."""
    batch, events = Batch(), list[bytes]()
    for part in found:
        if isinstance(part, bytes):
            batch.append(part)
            events.append(part)
        else:
            shape, inner = part
            batch.extend(run(shape, at + len(events), inner))
            events += [event(shape, at + len(events) + i, text) for i, text in enumerate(inner)]
    return batch, events


@given(parts, st.integers(0, 10**6))
def test_a_batch_has_the_events_that_it_was_made_of(
    found: list[bytes | tuple[Shape, list[bytes]]], at: int
) -> None:
    batch, events = made(found, at)
    assert len(batch) == len(events)
    assert [*batch] == events
    assert batch[1:-1] == events[1:-1]
    assert unpack(pack(batch)) == events
    assert unpack(pack(events)) == events


@given(st.lists(parts, max_size=5), st.integers(1, 40))
def test_blocks_are_packed_anew_without_a_change(
    batches: list[list[bytes | tuple[Shape, list[bytes]]]], most: int
) -> None:
    blocks, events = [], list[bytes]()
    for found in batches:
        batch, of_batch = made(found, len(events))
        blocks.append(pack(batch))
        events += of_batch
    again = [*repacked(blocks, most)]
    assert [found for batch in again for found in unpack(batch.block)] == events
    lengths = [*map(len, again)]
    assert all(length == most for length in lengths[:-1])
    assert all(0 < length <= most for length in lengths)


@given(parts, st.integers(0, 10**6))
def test_the_size_of_a_batch_is_that_of_its_parts(
    found: list[bytes | tuple[Shape, list[bytes]]], at: int
) -> None:
    batch, _ = made(found, at)
    again = repacked([batch.block], 10**6)
    assert batch.size == sum(whole.size for whole in again)
    if all(isinstance(part, bytes) for part in found):
        assert batch.size == sum(map(len, batch))


def test_a_run_that_goes_on_counts_what_it_adds() -> None:
    batch = Batch()
    batch.extend(run(DELTA, 10, [b"one", b"two"]))
    begun = batch.size
    batch.extend(run(DELTA, 12, [b"three"]))
    assert batch.size == begun + len(b"\nthree")
    assert [*batch] == [
        event(DELTA, 10 + i, text) for i, text in enumerate((b"one", b"two", b"three"))
    ]


def test_runs_that_follow_each_other_become_one() -> None:
    apart = [run(DELTA, 10 + i, [b" word"]).dump() for i in range(20)]
    blocks = [pack(made([(DELTA, [b" word"])], 10 + i)[0]) for i in range(20)]
    (batch,) = repacked(blocks, 1000)
    assert len(batch.block) < sum(map(len, apart)) / 10
    assert [*batch] == [event(DELTA, number, b" word") for number in range(10, 30)]
    for first, second in pairwise([10, 12]):  # a number is missing
        gap = run(DELTA, first, [b"a"])
        assert not gap.absorb(run(DELTA, second, [b"b"]))
        assert [*gap] == [event(DELTA, first, b"a")]


# Blocks as stores have them: these must be readable for ever.
A_RUN = b"3,r22,2\none9,1,3,3,1\n<n= t=>x\n\n%b12"
ITS_EVENTS = [b"one", b"<n=9 t=x>", b"<n=10 t=>", b"<n=11 t=%b>", b"12"]
THE_TEXT_FIRST = b"r18,0\n7,0,2,1,1\n<t=>a\nbc"
KEPT = [
    (b"3,0,2\none12", [b"one", b"", b"12"]),
    (zlib.compress(b"3,0,2\none12"), [b"one", b"", b"12"]),
    (b"\n", []),
    (zlib.compress(b"\n"), []),
    (A_RUN, ITS_EVENTS),
    (zlib.compress(A_RUN), ITS_EVENTS),
    (THE_TEXT_FIRST, [b"<ta=7>", b"<tbc=8>", b""]),
]


@pytest.mark.parametrize(("block", "events"), KEPT)
def test_blocks_of_every_form_are_read(block: bytes, events: list[bytes]) -> None:
    assert unpack(block) == events


def test_a_short_block_is_not_compressed_and_a_long_one_is() -> None:
    short, _ = made([(DELTA, [b" word"] * 20)], 7)
    assert len(short.block) < 20 * 20
    with pytest.raises(zlib.error):
        zlib.decompress(short.block)
    long, _ = made([(DELTA, [b" word"] * 1000)], 7)
    assert len(zlib.decompress(long.block)) > len(long.block)
    assert pack([b"one", b"two"]) == b"3,3\nonetwo"
    assert len(pack([b"many"] * 1000)) < 100


def test_an_empty_batch_is_a_block_like_any_other() -> None:
    assert unpack(pack(Batch())) == unpack(pack([])) == []
    assert [*repacked([pack([])], 10)] == []


def test_a_block_is_made_once() -> None:
    batch, _ = made([(DELTA, [b" word"] * 20)], 7)
    assert pack(batch) is pack(batch)
