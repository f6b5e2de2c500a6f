"""Runs of deltas for tests, and their events."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from response_cache._log.delta_runs import DeltaRun, Shape

DELTA = Shape(
    b'event: response.output_text.delta\ndata: {"sequence_number":',
    b',"item_id":"msg_0f1e2d3c4b5a69788796a5b4c3d2e1f0","delta":"',
    b'","logprobs":[]}\n\n',
    is_number_first=True,
)

literals = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"%", b"%d\n", b"x\nr1,2\n"]))
shapes = st.one_of(
    st.just(DELTA), st.builds(Shape, literals, literals, literals, is_number_first=st.booleans())
)
texts = st.binary(max_size=12).map(lambda text: text.replace(b"\n", b"%d"))
runs = st.tuples(shapes, st.lists(texts, min_size=1, max_size=30))


def event(shape: Shape, number: int, text: bytes) -> bytes:
    """What a run has under *number*."""
    before, between, after, is_number_first = shape
    first, second = (b"%d" % number, text) if is_number_first else (text, b"%d" % number)
    return before + first + between + second + after


def run(shape: Shape, first: int, texts: Sequence[bytes]) -> DeltaRun:
    return DeltaRun(shape, first, len(texts), b"\n".join(texts))
