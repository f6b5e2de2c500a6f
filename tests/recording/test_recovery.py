"""What a recorder keeps of the acknowledged log."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache.log.batches import pack
from response_cache.recording.recovery import ResendBuffer

BATCHES = st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=8)


@settings(deadline=None)
@given(BATCHES, st.integers(0, 45))
def test_since_gives_back_the_end_of_what_was_added(batches: list[list[bytes]], at: int) -> None:
    buffer, log = _filled(batches, limit=1 << 20)
    assert buffer.is_complete
    assert buffer.since(at) == log[at:]


@settings(deadline=None)
@given(BATCHES, st.integers(0, 300))
def test_the_bound_holds_and_what_does_not_fit_is_not_half_kept(
    batches: list[list[bytes]], limit: int
) -> None:
    buffer, log = _filled(batches, limit=limit)
    if buffer.is_complete:
        assert sum(len(pack(batch)) for batch in batches if batch) <= limit
        assert buffer.since(0) == log
    else:
        assert buffer.since(0) == []


def test_a_limit_of_zero_keeps_nothing() -> None:
    buffer = ResendBuffer(0)
    buffer.add(0, [b"x"])
    assert not buffer.is_complete


def _filled(batches: Sequence[Sequence[bytes]], *, limit: int) -> tuple[ResendBuffer, list[bytes]]:
    buffer, log = ResendBuffer(limit), list[bytes]()
    for batch in batches:
        buffer.add(len(log), batch)
        log += batch
    return buffer, log
