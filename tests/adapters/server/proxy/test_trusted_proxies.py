"""Which peers are believed."""

from __future__ import annotations

import pytest

from response_cache_server._proxy.trusted_proxies import TRUSTED_BY_DEFAULT, TrustedProxies

# fmt: off
CASES = (
    (TRUSTED_BY_DEFAULT,                     "127.0.0.1",           True),
    (TRUSTED_BY_DEFAULT,                     "::1",                 True),
    (TRUSTED_BY_DEFAULT,                     "::ffff:127.0.0.1",    True),
    (TRUSTED_BY_DEFAULT,                     "0:0:0:0:0:0:0:1",     True),
    (TRUSTED_BY_DEFAULT,                     "127.0.0.2",           False),
    (TRUSTED_BY_DEFAULT,                     "10.0.0.1",            False),
    (TRUSTED_BY_DEFAULT,                     None,                  False),
    (TRUSTED_BY_DEFAULT,                     "",                    False),
    (TRUSTED_BY_DEFAULT,                     "localhost",           False),
    ("*",                          "203.0.113.9",         True),
    (" * ",                        None,                  True),
    ("10.0.0.0/8, 2001:db8::/32",  "10.9.8.7",            True),
    ("10.0.0.0/8, 2001:db8::/32",  "::ffff:10.9.8.7",     True),
    ("10.0.0.0/8, 2001:db8::/32",  "2001:db8::9",         True),
    ("10.0.0.0/8, 2001:db8::/32",  "11.0.0.1",            False),
    ("10.0.0.0/8, 2001:db8::/32",  "127.0.0.1",           False),
    ("",                           "127.0.0.1",           False),
)
# fmt: on


@pytest.mark.parametrize(("allowed", "host", "believed"), CASES)
def test_a_peer_is_believed_when_it_is_named(
    allowed: str, host: str | None, believed: bool
) -> None:
    scope = {"client": None if host is None else (host, 4711)}
    assert TrustedProxies(allowed).includes(scope) is believed
    assert TrustedProxies(allowed).includes({}) is (allowed.strip() == "*")


@pytest.mark.parametrize(
    "allowed", ["localhost", "10.0.0.1/8", "127.0.0.1,*", "1.2.3", "/run/sock"]
)
def test_what_is_neither_an_address_nor_a_network_is_refused(allowed: str) -> None:
    with pytest.raises(ValueError, match="comma list"):
        TrustedProxies(allowed)
