"""Bodies in content codings: in any pieces and any number of streams, within bounds."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.content_coding import (
    ACCEPT_ENCODING,
    ANSWER_CODINGS,
    CODINGS,
    Inflate,
    coding_in,
)
from tests.documents import ROOT


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare),
    "zstd": ("zstd", zstd.compress),
}
EMPTY: Final = gzip.compress(b"")  # a member without content: 20 bytes of work for no byte


def unpacked(inflate: Inflate, data: bytes, size: int) -> bytes:
    return b"".join(inflate.feed(data[n : n + size]) for n in range(0, len(data), size))


def test_the_packers_cover_every_coding() -> None:
    assert {"br", *(coding for coding, _ in PACKERS.values())} == set(ANSWER_CODINGS)
    assert {"br", "zstd"} == set(ANSWER_CODINGS) - set(CODINGS)


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
    padding *= coding in CODINGS  # RFC 1952 and others; frames of zstd follow at once
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


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "*", ""])
def test_another_coding_is_named(coding: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        Inflate(coding, 1000).feed(b"{}")


def test_only_the_beginning_of_a_long_name_is_shown() -> None:
    with pytest.raises(ValueError, match=r"'x{32}' is not known"):
        Inflate("x" * 10_000, 1000).feed(b"{}")


@given(st.lists(st.binary(max_size=300)).map(b"".join), st.integers(1, 80), st.booleans())
def test_brotli_comes_back_in_any_pieces(data: bytes, size: int, is_flushed: bool) -> None:
    packer = brotli.Compressor()
    half = len(data) // 2
    packed = packer.process(data[:half]) + (packer.flush() if is_flushed else b"")
    packed += packer.process(data[half:]) + packer.finish()
    inflate = Inflate("br", len(data))
    assert unpacked(inflate, packed, size) == data
    assert inflate.is_whole


@pytest.mark.parametrize("size", [999, 1000, 1001, 20 * 2**20])
def test_no_more_of_brotli_than_the_limit_and_one_byte_is_given(size: int) -> None:
    inflate = Inflate("br", 1000)
    assert len(inflate.feed(brotli.compress(bytes(size)))) == inflate.given == min(size, 1001)


@pytest.mark.parametrize("coding", ["br", "zstd"])
def test_what_is_sent_so_far_is_read_at_once(coding: str) -> None:
    inflate = Inflate(coding, 1000)
    of_brotli, of_zstd = brotli.Compressor(), zstd.ZstdCompressor()
    for word in (b"one", b"two"):
        if coding == "br":
            packed = of_brotli.process(word) + of_brotli.flush()
        else:
            packed = of_zstd.compress(word, zstd.ZstdCompressor.FLUSH_BLOCK)
        assert inflate.feed(packed) == word


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("br", b"this is not brotli"),
        ("br", brotli.compress(b"hello") + b"and more"),
        ("zstd", b"this is not zstd"),
        ("zstd", zstd.compress(b"hello") + b"and more"),
    ],
)
def test_what_is_in_no_optional_coding_is_told_so(coding: str, data: bytes) -> None:
    with pytest.raises(ValueError, match="compressed answer is broken"):
        Inflate(coding, 1000).feed(data)


def test_a_window_larger_than_a_content_coding_may_have_is_refused() -> None:
    options = {int(zstd.CompressionParameter.window_log): 27}
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(b"hello", zstd.ZstdCompressor.FLUSH_BLOCK)
    with pytest.raises(ValueError, match="compressed answer is broken"):
        Inflate("zstd", 1000).feed(packed)


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], ""),
        ([b""], ""),
        ([b"identity"], ""),
        ([b"none"], ""),
        ([b" NULL "], ""),
        ([b"utf-8"], ""),
        ([b"aws-chunked"], ""),
        ([b"identity, identity", b"none,,"], ""),
        ([b"aws-chunked,GZip"], "gzip"),
        ([b"identity", b"br", b"utf-8"], "br"),
        ([b"gzip", b"br"], "gzip, br"),
        ([b"\xff"], "\xff"),
    ],
)
def test_names_that_stand_for_no_coding_are_left_out(values: list[bytes], coding: str) -> None:
    assert coding_in(values) == coding


def test_what_can_be_read_is_asked_for() -> None:
    assert ACCEPT_ENCODING == b"gzip, deflate, br, zstd"


def test_what_has_no_library_is_not_asked_for() -> None:
    program = (
        "import sys; sys.modules.update({'brotli': None, 'backports.zstd': None,"
        " 'compression.zstd': None});"
        "from response_cache._protocol.content_coding import ACCEPT_ENCODING, Inflate;"
        "print(ACCEPT_ENCODING.decode());"
        "Inflate('br', 10).feed(b'x')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "gzip, deflate\n"
    assert "content-encoding 'br' is not known" in done.stderr


def test_a_library_that_cannot_bound_what_it_gives_is_not_used() -> None:
    program = (
        "import sys, types; old = types.ModuleType('brotli'); old.error = ValueError;"
        "old.Decompressor = type('Decompressor', (), {}); sys.modules['brotli'] = old;"
        "from response_cache._protocol.content_coding import ANSWER_CODINGS;"
        "print('br' in ANSWER_CODINGS)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n"
