"""Which header fields go from one connection to the next."""

from __future__ import annotations

from response_cache._protocol.headers import HOP_BY_HOP, end_to_end


def test_hop_by_hop_fields_and_those_that_connection_names_are_removed() -> None:
    fields = [
        *((name.title(), b"x") for name in HOP_BY_HOP - {b"connection"}),
        (b"Connection", b"close, X-Private"),
        (b"connection", b"x-other"),
        (b"X-Private", b"1"),
        (b"x-other", b"2"),
        (b"X-Public", b"3"),
    ]
    assert end_to_end(fields) == [(b"x-public", b"3")]


def test_repeated_fields_keep_their_order_and_their_number() -> None:
    fields = [(b"Set-Cookie", b"a=1"), (b"Vary", b"x"), (b"set-cookie", b"b=2")]
    assert end_to_end(fields) == [(b"set-cookie", b"a=1"), (b"vary", b"x"), (b"set-cookie", b"b=2")]


def test_a_caller_may_leave_out_more_fields() -> None:
    fields = [(b"Date", b"today"), (b"Host", b"a"), (b"X-Public", b"1")]
    assert end_to_end(fields, without=(b"date", b"host")) == [(b"x-public", b"1")]
