"""The header fields that a proxy adds, and the claims that it drops, as pure functions."""

from __future__ import annotations

from response_cache_server._asgi import Scope
from response_cache_server._proxy.headers import forwarded, without_claims


def test_the_client_is_added_to_the_chain_of_addresses() -> None:
    headers = [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"host", b"front.example.com"),
    ]
    scope = {"client": ("10.0.0.1", 4711), "scheme": "http", "headers": headers}
    assert dict(forwarded(scope, headers[:2])) == {
        b"x-forwarded-for": b"203.0.113.9, 10.0.0.1",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"front.example.com",
    }


def test_a_client_without_an_address_is_not_made_up() -> None:
    scope: Scope = {"client": None, "scheme": "http", "headers": []}
    assert forwarded(scope, []) == [(b"x-forwarded-proto", b"http")]


def test_what_a_client_says_of_itself_is_dropped_in_every_spelling() -> None:
    fields = [
        (b"x-forwarded-for", b"1"),
        (b"x-forwarded-user", b"root"),
        (b"x_forwarded_for", b"2"),
        (b"x-forwarded_host", b"3"),
        (b"forwarded", b"for=4"),
        (b"x-forwarder", b"kept"),
        (b"forwarded-to", b"kept"),
    ]
    assert [name for name, _ in without_claims(fields)] == [b"x-forwarder", b"forwarded-to"]
