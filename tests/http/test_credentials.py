"""The default owner of a request."""

from __future__ import annotations

import logging

import pytest

from response_cache._protocol.headers import Headers
from response_cache._protocol.ids import ANYBODY, Owner
from response_cache.http._credentials import CREDENTIAL_HEADERS, owner_by_credential
from response_cache.http._messages import Request


async def owner(*headers: tuple[bytes, bytes], secret: str = "s") -> Owner:
    found = await owner_by_credential(secret)(Request("GET", "/", b"", headers))
    assert isinstance(found, Owner)
    return found


@pytest.mark.parametrize("name", CREDENTIAL_HEADERS)
async def test_one_credential_is_one_owner_and_is_not_in_it(name: bytes) -> None:
    first = await owner((name, b"sk-5ecret"))
    assert first == await owner((b"x-other", b"1"), (name, b"sk-5ecret"))
    assert first not in (await owner((name, b"sk-other")), ANYBODY)
    assert first.id is not None
    assert "5ecret" not in first.id


async def test_owners_depend_on_the_secret() -> None:
    pair = (b"authorization", b"sk")
    assert await owner(pair, secret="one") != await owner(pair, secret="two")


async def test_of_several_credentials_the_first_of_the_list_counts() -> None:
    both = ((b"x-api-key", b"two"), (b"authorization", b"one"))
    assert await owner(*both) == await owner((b"authorization", b"one"))


@pytest.mark.parametrize("headers", [(), ((b"authorization", b""),)])
async def test_without_a_credential_the_id_is_enough_and_that_is_said_once(
    headers: Headers, caplog: pytest.LogCaptureFixture
) -> None:
    owner_of = owner_by_credential("")
    with caplog.at_level(logging.WARNING, "response_cache.http"):
        for _ in range(3):
            assert await owner_of(Request("GET", "/", b"", headers)) == ANYBODY
    [message] = caplog.messages
    assert "without a credential" in message
