"""A URL names a store; a wrong one is answered with what is known, never with what was given."""

from __future__ import annotations

import pytest

from response_cache.errors import StoreFull
from response_cache.store import NewRecord, Store
from response_cache.stores import store_from_url
from response_cache.stores.memory import MemoryStore

SECRET = "hunter2"


async def create(store: Store, id: str, request: bytes = b"") -> None:
    new = NewRecord(
        id=id,
        incarnation="first",
        header=b"",
        request=request,
        snapshot=b"",
        events=[],
        status="queued",
        ttl=10.0,
    )
    await store.create(new, 10.0)


@pytest.mark.parametrize("url", ["memory://", "memory:", "MEMORY://", "memory://?"])
def test_memory_is_the_memory_store(url: str) -> None:
    assert isinstance(store_from_url(url), MemoryStore)


def test_each_call_makes_a_store_of_its_own() -> None:
    assert store_from_url("memory://").id_tag != store_from_url("memory://").id_tag


async def test_max_responses_is_an_option() -> None:
    store = store_from_url("memory://?max_responses=1")
    await create(store, "a")
    with pytest.raises(StoreFull):
        await create(store, "b")


async def test_max_bytes_is_an_option() -> None:
    store = store_from_url("memory://?max_bytes=10000")
    with pytest.raises(StoreFull):
        await create(store, "a", b"x" * 10_000)


def test_options_can_be_combined() -> None:
    store = store_from_url("memory://?max_bytes=4096&tombstone_ttl=2.5&max_responses=3")
    assert store.tombstone_ttl == 2.5


@pytest.mark.parametrize("url", ["", "nonsense", "memry://", f"ftp://me:{SECRET}@host", SECRET])
def test_an_unknown_scheme_is_answered_with_the_known_ones(url: str) -> None:
    with pytest.raises(ValueError, match=r"scheme.*\bmemory\b"):
        store_from_url(url)


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="max_bytes, max_responses, tombstone_ttl"):
        store_from_url("memory://?max_byte=1")


@pytest.mark.parametrize("option", ["max_bytes", "max_responses"])
@pytest.mark.parametrize("value", ["", "x", "1.5", "-1", "0", "1e3", "²", " 1", "1_000", "9" * 20])
def test_a_value_that_is_no_whole_number_is_refused_by_its_name(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{option} .* a whole number above 0$"):
        store_from_url(f"memory://?{option}={value}")


@pytest.mark.parametrize("value", ["", "x", "0", "-1", "nan", "inf", "1e999"])
def test_a_value_that_is_no_time_is_refused_by_its_name(value: str) -> None:
    with pytest.raises(ValueError, match=r"^tombstone_ttl .* a number of seconds above 0$"):
        store_from_url(f"memory://?tombstone_ttl={value}")


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes stands twice"):
        store_from_url("memory://?max_bytes=1&max_bytes=2")


@pytest.mark.parametrize(
    "url", ["memory://host", "memory:///path", "memory:path", "memory://#part", "memory://:@"]
)
def test_memory_has_neither_host_nor_path(url: str) -> None:
    with pytest.raises(ValueError, match="neither host nor path"):
        store_from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"unknown://me:{SECRET}@host/0",
        f"memory://me:{SECRET}@host/0",
        f"memory://me:{SECRET}@host/0?max_bytes=1",
        f"memory://me:{SECRET}@[host",
        f"memory://me:{SECRET}@ho℀st",
        f"memory://?max_bytes={SECRET}",
        f"memory://?tombstone_ttl={SECRET}",
        f"memory://?{SECRET}=1",
        f"{SECRET}://host",
    ],
)
def test_no_message_repeats_what_may_be_a_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        store_from_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
