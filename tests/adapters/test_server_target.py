"""Where requests go, as pure functions."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache_server.target import BadPath, parse_base_url, target_url

BASE = httpx.URL("https://api.example.com/v1")


def to(path: str, query: str = "", *, base: httpx.URL = BASE, root_path: str = "") -> str:
    raw = path.encode()
    scope = {"path": path, "raw_path": raw, "root_path": root_path, "query_string": query.encode()}
    return str(target_url(base, scope))


@pytest.mark.parametrize("prefix", ["/v1", "", "/openai/v1"])
def test_every_way_to_write_the_resource_leads_to_the_same_address(prefix: str) -> None:
    assert to(f"{prefix}/responses") == "https://api.example.com/v1/responses"
    assert to(f"{prefix}/responses/r_1/cancel") == "https://api.example.com/v1/responses/r_1/cancel"
    assert to(f"{prefix}/models") == "https://api.example.com/v1/models"


def test_only_a_whole_segment_is_a_prefix() -> None:
    assert to("/v1beta/models") == "https://api.example.com/v1/v1beta/models"


@pytest.mark.parametrize("base", ["http://up:9/v1/", "http://up:9/v1"])
def test_a_slash_at_the_end_of_the_base_url_changes_nothing(base: str) -> None:
    assert to("/v1/responses", base=httpx.URL(base)) == "http://up:9/v1/responses"


def test_a_base_url_without_a_path_is_the_root() -> None:
    assert to("/v1/responses", base=httpx.URL("http://up:9")) == "http://up:9/responses"


def test_the_query_is_kept_as_it_came() -> None:
    query = "include%5B%5D=a&include%5B%5D=b&x=1%2F2&empty="
    assert to("/v1/responses/r", query).endswith("/v1/responses/r?" + query)


def test_the_base_urls_own_query_comes_first() -> None:
    base = httpx.URL("https://host/openai/v1?api-version=preview")
    assert to("/v1/responses", base=base).endswith("/responses?api-version=preview")
    assert to("/v1/responses", "a=1", base=base).endswith("/responses?api-version=preview&a=1")


def test_the_mount_point_is_no_part_of_the_resource() -> None:
    assert to("/gateway/v1/models", root_path="/gateway") == "https://api.example.com/v1/models"


def test_escaped_characters_stay_escaped() -> None:
    assert to("/v1/files/a%2Fb%20c") == "https://api.example.com/v1/files/a%2Fb%20c"


def test_a_scope_without_raw_path_is_understood() -> None:
    scope = {"path": "/v1/files/a b", "query_string": b""}
    assert str(target_url(BASE, scope)) == "https://api.example.com/v1/files/a%20b"


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2E/admin", "/..", "/v1/./x"])
def test_a_path_cannot_lead_out_of_the_base_url(path: str) -> None:
    with pytest.raises(BadPath):
        to(path)


def test_a_path_that_is_too_long_for_a_url_is_refused() -> None:
    with pytest.raises(BadPath, match="not valid"):
        to("/v1/" + "x" * 100_000)


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=40))
def test_whatever_is_asked_stays_below_the_base_url(rest: bytes, query: bytes) -> None:
    path = b"/v1/" + rest.replace(b"?", b"")
    scope = {"path": "", "raw_path": path, "query_string": query}
    try:
        url = target_url(BASE, scope)
    except BadPath:
        return
    assert (url.scheme, url.host) == ("https", "api.example.com")
    assert url.raw_path.startswith(b"/v1/")


@pytest.mark.parametrize(
    "url", ["", "api.example.com/v1", "ftp://host/v1", "https://", "http://h:x/v1", "http://h/#f"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        parse_base_url(url)


def test_the_refusal_of_a_base_url_repeats_no_credentials() -> None:
    with pytest.raises(ValueError) as refusal:
        parse_base_url("https://me:secret@host:port/v1")
    assert "secret" not in str(refusal.value)
