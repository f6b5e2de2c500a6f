"""Bodies in gzip and deflate: in any pieces and any number of streams, within bounds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.content_coding import CODINGS, Inflate


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
}
EMPTY: Final = gzip.compress(b"")  # a member without content: 20 bytes of work for no byte


def unpacked(inflate: Inflate, data: bytes, size: int) -> bytes:
    return b"".join(inflate.feed(data[n : n + size]) for n in range(0, len(data), size))


def test_the_packers_cover_every_coding() -> None:
    assert {coding for coding, _ in PACKERS.values()} == set(CODINGS)


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.sampled_from(sorted(PACKERS)),
    st.integers(1, 80),
    st.integers(0, 3),
)
def test_what_was_packed_comes_back_in_any_pieces_and_any_number_of_streams(
    parts: list[bytes], packer: str, size: int, padding: int
) -> None:
    coding, pack = PACKERS[packer]
    data = b"".join(pack(part) + bytes(padding) for part in parts)
    inflate = Inflate(coding, 1200)
    assert unpacked(inflate, data, size) == b"".join(parts)
    assert inflate.is_whole
    assert inflate.streams == len(parts)


def test_a_stream_longer_than_what_is_unpacked_at_a_time_comes_back() -> None:
    data = bytes(n * n % 251 for n in range(200_000))
    inflate = Inflate("gzip", len(data))
    assert inflate.feed(gzip.compress(data, 0)) == data
    assert inflate.is_whole


@pytest.mark.parametrize("cut", range(len(gzip.compress(b"hello")) * 2))
def test_what_is_cut_off_is_not_whole(cut: int) -> None:
    member = gzip.compress(b"hello")
    inflate = Inflate("gzip", 100)
    assert b"hellohello".startswith(inflate.feed((member * 2)[:cut]))
    assert inflate.is_whole is (cut == len(member))


@pytest.mark.parametrize("packer", sorted(PACKERS))
@pytest.mark.parametrize("size", [999, 1000, 1001, 20 * 2**20])
def test_no_more_than_the_limit_and_one_byte_is_given(packer: str, size: int) -> None:
    coding, pack = PACKERS[packer]
    inflate = Inflate(coding, 1000)
    assert len(inflate.feed(pack(bytes(size)))) == inflate.given == min(size, 1001)


def test_the_limit_is_for_all_streams_together() -> None:
    inflate = Inflate("gzip", 1000)
    assert len(inflate.feed(gzip.compress(bytes(400)) * 4)) == 1001
    assert inflate.feed(b"whatever comes then") == b""


def test_no_more_streams_than_may_be_and_one_are_begun() -> None:
    inflate = Inflate("gzip", 1000, max_streams=5)
    assert inflate.feed((EMPTY * 5) + gzip.compress(b"not too many, so far")) != b""
    assert inflate.feed(EMPTY) == b""
    assert inflate.streams == 6


def test_the_work_of_many_streams_does_not_grow_with_the_square_of_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # zlib copies what stands behind a stream: all of it, for each stream.
    handed: list[int] = []

    class Noted:
        def __init__(self, container: int) -> None:
            self._stream = decompressobj(container)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            handed.append(len(data))
            return self._stream.decompress(data, max_length)

    decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Noted)
    inflate = Inflate("gzip", 1000)
    assert inflate.feed(EMPTY * 20_000) == b""
    assert inflate.streams == 20_000
    assert max(handed) <= 16 * 2**10


@pytest.mark.parametrize(
    "data",
    [
        b"this is not gzip at all",
        gzip.compress(b"hello") + b"and more",
        gzip.compress(b"hello")[:-8] + bytes(8),
    ],
    ids=["nothing of it", "followed by more", "wrong checksum"],
)
def test_what_is_not_in_the_coding_is_told_so(data: bytes) -> None:
    with pytest.raises(ValueError, match="compressed answer is broken"):
        Inflate("gzip", 1000).feed(data)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "*", ""])
def test_another_coding_is_named(coding: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        Inflate(coding, 1000).feed(b"{}")
