"""The bodies of creates as they come: unpacked, bounded, and told from what is the app's."""

from __future__ import annotations

import gzip
import json
import random
import string
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache import Options
from response_cache._offload import LARGE
from response_cache.errors import APIError, InvalidRequest
from response_cache.http._bodies import decode_body, read_body, size_unpacked

MIB = 2**20


def refused(data: bytes, encoding: str = "", **options: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        read_body(data, encoding, Options(**options))
    return caught.value


def body(**more: Any) -> bytes:
    return json.dumps({"background": True, **more}).encode()


# --- Which are read ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "identity", "gzip"])
def test_background_work_is_read(encoding: str) -> None:
    sent = gzip.compress(body(x=1)) if encoding == "gzip" else body(x=1)
    assert read_body(sent, encoding, Options()) == ({"background": True, "x": 1}, body(x=1))


def test_what_may_continue_a_response_of_ours_is_read() -> None:
    data = b'{"previous_response_id":"resp_rc00"}'
    assert read_body(data, "", Options()) == ({"previous_response_id": "resp_rc00"}, data)


@pytest.mark.parametrize(
    "data", [b"{}", b'{"input": "in the background"}', b"", b"\xff", b"[" * 99]
)
def test_all_else_is_the_apps_and_is_not_even_parsed(data: bytes) -> None:
    assert read_body(data, "", Options()) is None


def test_a_body_in_an_encoding_that_we_do_not_know_is_the_apps() -> None:
    assert read_body(body(), "br", Options()) is None


# --- Bounds ------------------------------------------------------------------------------------


def test_as_many_values_as_may_be_are_read_and_one_more_is_refused() -> None:
    data = body(x=[0] * 95)
    assert read_body(data, "", Options(max_request_values=98)) is not None
    error = refused(data, max_request_values=97)
    assert (error.status_code, error.param) == (413, None)
    assert "97 JSON values" in error.message


@pytest.mark.parametrize(
    "value",
    [
        b"{}," * 9999,
        b"[" * 9999,
        b'"",' * 9999,
        b'{"a":1},' * 9999,
        b"NaN," * 9999,
        b'"\\ud800",' * 9999,
        b"9" * 99_999,
        b"1." + b"9" * 99_999,
    ],
    ids=lambda value: value[:8].decode(),
)
def test_what_takes_long_to_read_is_refused_before_it_is_parsed(value: bytes) -> None:
    # None of these is JSON to its end: a parser would say so, with 400.
    data = b'{"background": true, "input": [' + value
    assert refused(data, max_request_values=5000).status_code == 413


@pytest.mark.parametrize(
    "text", ["prose, and more. ", "1,2,3\n", '{"a": [1, {}]}, ', "\\", '"', "\0", "é", "aGVsbG8"]
)
def test_long_texts_are_read_whatever_they_hold(text: str) -> None:
    text *= 30_000
    read = read_body(body(input=text, metadata={text: text}), "", Options(max_request_values=9))
    assert read is not None
    assert read[0]["input"] == text


@pytest.mark.parametrize("asked", [b"", b'"background": false,', b'"background" :null,'])
def test_what_is_too_much_is_the_apps_unless_it_asks_for_background_work(asked: bytes) -> None:
    data = b'{%b "previous_response_id": "resp_rc00", "x": [%b]}' % (asked, b"1," * 9999)
    assert read_body(data, "", Options(max_request_values=50)) is None
    assert read_body(gzip.compress(data), "gzip", Options(max_request_bytes=5000)) is None


# --- What may be unpacked ----------------------------------------------------------------------


def noise(size: int) -> str:
    """Text that does not become much shorter by compression."""
    return "".join(random.Random(7).choices(string.ascii_letters, k=size))


def test_small_bodies_unpack_to_a_mebibyte_whatever_their_size() -> None:
    data = gzip.compress(body(input="x" * (MIB - 100)))
    assert len(data) < MIB / 900
    assert read_body(data, "gzip", Options(max_inflation=1)) is not None
    bomb = gzip.compress(body(input="x" * MIB))
    error = refused(bomb, "gzip")
    assert (error.status_code, error.param) == (413, None)
    assert str(MIB) in error.message


def test_larger_ones_unpack_to_so_many_times_their_size() -> None:
    data = gzip.compress(body(input=noise(50_000) + "x" * 2 * MIB))
    assert read_body(data, "gzip", Options()) is not None
    assert refused(data, "gzip", max_inflation=40).status_code == 413


def test_none_unpacks_to_more_than_a_body_may_have() -> None:
    data = gzip.compress(body(input=noise(50_000)))
    assert refused(data, "gzip", max_request_bytes=50_000).status_code == 413


@given(st.integers(0, 3 * LARGE), st.sampled_from(["", "gzip"]))
def test_the_size_is_told_exactly_as_long_as_it_is_small(size: int, encoding: str) -> None:
    data = gzip.compress(bytes(size)) if encoding else bytes(size)
    assert min(size_unpacked(data, encoding, Options()), LARGE + 1) == min(size, LARGE + 1)


# --- Content encodings -------------------------------------------------------------------------

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@given(st.binary(max_size=2000), st.sampled_from(sorted(ENCODINGS)))
def test_what_was_compressed_comes_back(data: bytes, encoding: str) -> None:
    assert decode_body(ENCODINGS[encoding](data), encoding, limit=2000) == data


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_body_that_was_not_encoded_stays_as_it_is(encoding: str) -> None:
    assert decode_body(b"{}", encoding, limit=2) == b"{}"


def test_the_name_of_an_encoding_has_no_case() -> None:
    assert decode_body(gzip.compress(b"{}"), "GZip", limit=2) == b"{}"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [999, 1000, 1001, 20 * 2**20])
def test_no_more_than_the_limit_and_one_byte_is_unpacked(encoding: str, size: int) -> None:
    bomb = ENCODINGS[encoding](bytes(size))
    assert len(decode_body(bomb, encoding, limit=1000)) == min(size, 1001)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: b"",
        lambda data: b"{}",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
    ids=["cut", "followed by more", "empty", "not compressed", "wrong checksum"],
)
def test_a_broken_body_is_refused(encoding: str, spoil: Any) -> None:
    data = spoil(ENCODINGS[encoding](b'{"input": "hi"}'))
    with pytest.raises(InvalidRequest) as caught:
        decode_body(data, encoding, limit=1000)
    assert caught.value.param is None


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_body_of_several_gzip_members_is_all_of_them(encoding: str) -> None:
    members = gzip.compress(b'{"background": ') + gzip.compress(b"") + gzip.compress(b"true}")
    assert decode_body(members, encoding, limit=1000) == b'{"background": true}'
    assert read_body(members, encoding, Options()) is not None
    with pytest.raises(InvalidRequest, match="not valid"):
        decode_body(members[:-1], encoding, limit=1000)


def test_the_limits_hold_for_all_members_together() -> None:
    members = gzip.compress(body(input="x" * 400)) + gzip.compress(b" " * MIB)
    assert len(decode_body(members, "gzip", limit=1000)) == 1001
    assert refused(members, "gzip").status_code == 413


def test_members_that_hold_nothing_are_not_unpacked_for_ever() -> None:
    empty = gzip.compress(b"")
    assert decode_body(empty * 10_000, "gzip", limit=1000) == b""
    with pytest.raises(InvalidRequest, match="more than 10000 gzip streams"):
        decode_body(empty * 10_001, "gzip", limit=1000)


def test_bare_deflate_is_understood_as_it_is_in_answers() -> None:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bare = packer.compress(b"{}") + packer.flush()
    assert decode_body(bare, "deflate", limit=2) == b"{}"


@given(st.text(string.ascii_lowercase, min_size=1))
def test_an_unknown_encoding_is_refused_and_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"un-{name}"[:32]):
        decode_body(b"{}", f"un-{name}", limit=1000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "*"])
def test_only_one_layer_of_gzip_or_deflate_is_understood(encoding: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_body(gzip.compress(b"{}"), encoding, limit=1000)
