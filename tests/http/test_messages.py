"""Requests as plain data."""

from __future__ import annotations

from response_cache.http._messages import Request


def test_a_header_that_comes_twice_is_one_list() -> None:
    fields = ((b"prefer", b"respond-async"), (b"x", b"y"), (b"prefer", b"wait=3"))
    request = Request("GET", "/", b"", fields)
    assert request.header(b"prefer") == "respond-async, wait=3"
    assert request.header(b"absent") == ""


def test_a_header_that_is_there_and_empty_is_there() -> None:
    request = Request("GET", "/", b"", ((b"prefer", b""),))
    assert request.has_any(frozenset((b"prefer", b"origin")))
    assert not request.has_any(frozenset((b"origin",)))
    assert request.header(b"prefer") == ""


def test_bytes_of_a_header_are_latin_1() -> None:
    assert Request("GET", "/", b"", ((b"x", b"\xe9"),)).header(b"x") == "\xe9"


def test_what_a_host_says_and_the_body_is_not_shown_twice_in_logs() -> None:
    request = Request("GET", "/", b"", (), scope={"user": "s3cret"}, environ={"user": "s3cret"})
    assert "s3cret" not in repr(request)
