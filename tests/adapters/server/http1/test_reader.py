"""The reader of requests, with any bytes cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from response_cache_server._http1 import Limits
from response_cache_server._http1.limits import SLICE_BYTES
from response_cache_server._http1.reader import Head, Reader
from response_cache_server._http1.refusal import Refusal

BODY = b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"
OFFER = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
GOOD = (
    b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /b HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    CHUNKED + b"\r\n" + BODY,
    CHUNKED + OFFER + b"\r\n" + BODY,
)
"""Requests that are served."""
WORDS = (
    *(b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.0\r\n", b"CONNECT x:1 "),
    *(b"Host: x\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", OFFER),
    *(b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n"),
    *(b"\r\n", b"\r", b"\n", b":", b" ", b"\0", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", BODY),
)
"""Parts of requests, good and bad."""
BYTES = st.lists(st.sampled_from(GOOD + WORDS) | st.binary(max_size=4)).map(b"".join)
CUTS = st.lists(st.integers(1, 40), max_size=60)


class Noted:
    """What a reader tells, pieces of one body joined."""

    def __init__(self) -> None:
        self.requests: list[tuple[Head, bytes]] = []
        self.ended = 0

    def request_begins(self, head: Head) -> None:
        self.requests.append((head, b""))

    def body_comes(self, piece: bytes) -> None:
        head, body = self.requests[-1]
        self.requests[-1] = (head, body + piece)

    def request_ends(self) -> None:
        self.ended += 1


def read(data: bytes, cuts: Iterable[int]) -> tuple[Noted, str]:
    """What a reader tells of *data* in pieces, and what it refuses at the end."""
    noted = Noted()
    reader = Reader(Limits(), noted)
    try:
        for size in cuts:
            reader.feed(data[:size])
            data = data[size:]
        for begin in range(0, len(data), SLICE_BYTES):
            reader.feed(data[begin : begin + SLICE_BYTES])
    except Refusal as refusal:
        return noted, refusal.message
    return noted, ""


@given(BYTES, CUTS)
@example(b"GET / HTTP/1.1\r\n" + OFFER + b"\r\n", [])  # refused when it is read again
def test_where_the_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole, refused = read(data, [])
    cut, refused_too = read(data, cuts)
    assert cut.requests == whole.requests
    assert (cut.ended, refused_too) == (whole.ended, refused)


@given(st.lists(st.sampled_from(GOOD), max_size=8), CUTS)
def test_good_requests_are_all_read_and_nothing_of_one_gets_into_another(
    requests: list[bytes], cuts: list[int]
) -> None:
    noted, refused = read(b"".join(requests), cuts)
    assert (refused, noted.ended) == ("", len(requests))
    assert noted.requests == [read(request, [])[0].requests[0] for request in requests]


@pytest.mark.parametrize("request_", GOOD[2:])
def test_neither_offers_nor_trailers_are_fields(request_: bytes) -> None:
    (head, body), *others = read(request_, [])[0].requests
    assert not others
    assert body == b"abc"
    assert not {b"upgrade", b"x"} & {name for name, _ in head.fields}
