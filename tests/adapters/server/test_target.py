"""Where requests go, as pure functions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from urllib.parse import unquote, unquote_to_bytes

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache_server._target import BadPath, parse_base_url, target_url, with_whole_names

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


AZURE = httpx.URL("https://name.openai.azure.com/openai")


@pytest.mark.parametrize("base", ["https://api.example.com/v1", "https://host/openai/v1"])
@pytest.mark.parametrize("prefix", ["/openai", "/openai/deployments/gpt-4.1", "/openai/v1"])
def test_paths_of_azures_clients_stand_for_the_resource(prefix: str, base: str) -> None:
    url = httpx.URL(base)
    assert to(f"{prefix}/responses", "api-version=1", base=url) == f"{base}/responses?api-version=1"
    assert to(f"{prefix}/responses/r_1/cancel", base=url) == f"{base}/responses/r_1/cancel"


def test_a_deployment_stays_where_the_base_url_is_azures() -> None:
    base = str(AZURE)
    assert to("/openai/responses", base=AZURE) == f"{base}/responses"
    assert to("/openai/deployments/a/responses", base=AZURE) == f"{base}/deployments/a/responses"
    slash = httpx.URL(f"{base}/?api-version=preview")
    assert to("/openai/deployments/a%2Fb/responses", base=slash) == (
        f"{base}/deployments/a%2Fb/responses?api-version=preview"
    )


@pytest.mark.parametrize(
    "path", ["/openai/deployments", "/openai/deployments/", "/openai/deployments//x"]
)
def test_a_deployment_without_a_name_is_no_prefix(path: str) -> None:
    assert to(path) == "https://api.example.com/v1" + path.removeprefix("/openai")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/..%2f..%2fadmin", "/v1/x%2f..%2f..%2fadmin", "/v1/%2e%2e%2f%2e%2e%2fadmin"),
        *("/v1/..%5c..%5cadmin", "/v1/..\\..\\admin", "/v1/x\\..", "/v1/%2e%2e\\admin"),
        *("/v1/%252e%252e/admin", "/v1/%25252e%25252e%25252fadmin", "/v1/.%2e/admin"),
        *("/v1/%%32%65%%32%65/admin", "/v1/%2%65./admin", "/v1/%u002e%u002e/admin"),
        *("/v1/..;/admin", "/v1/..;x=1/admin", "/v1/..%3bx/admin", "/v1/.%2e%253b/admin"),
        *("/v1/..%3Fx", "/v1/..%23x", "/v1/..%20/admin", "/v1/.;a;b/x"),
        *("/v1/%c0%ae%c0%ae/admin", "/v1/..%c0%af..%c0%afadmin", "/v1/..%c1%9cadmin"),
        *("/v1/%e0%80%ae%e0%80%ae/x", "/v1/%f0%80%80%ae./x", "/v1/%25c0%25ae./x"),
        *("/v1/%ef%bc%8e%ef%bc%8e/x", "/v1/%e2%80%a5/x", "/v1/..%ef%bc%8fadmin", "/v1/%uff0e./x"),
        *("/v1/..%00/admin", "/v1/a%00b", "/v1/.%09./x", "/v1/%0d%0ax", "/v1/%2500"),
    ],
)
def test_nothing_that_a_server_might_read_as_upwards_passes(path: str) -> None:
    with pytest.raises(BadPath):
        to(path)


@pytest.mark.parametrize(
    "path",
    [
        *("/models/org%2Fmodel", "/models/gpt-4.1", "/models/a%2F.b", "/models/...", "/files/a..b"),
        *(
            "/models/a%5Cb",
            "/files/%C3%A9t%C3%A9.txt",
            "/files/100%25",
            "/x/.well-known",
            "/x;a=..",
        ),
        *("/files/%E2%80%A6", "//x", "/x//y", "/", "/models/%252F"),
    ],
)
def test_what_leads_nowhere_else_is_sent_as_it_came(path: str) -> None:
    assert to(f"/v1{path}") == f"https://api.example.com/v1{path}"


@pytest.mark.parametrize("path", ["*", "http://elsewhere/v1/responses", "elsewhere:443", "v1/x"])
def test_a_target_in_another_form_is_refused(path: str) -> None:
    with pytest.raises(BadPath, match="begin with"):
        to(path)


def test_a_path_that_only_begins_like_the_mount_point_is_refused() -> None:
    with pytest.raises(BadPath, match="begin with"):
        to("/gateway.evil/x", root_path="/gateway")


@pytest.mark.parametrize("unit", ["%25", "%252e", "../", "%2e%2e%2f", "%c0%ae", ";", "%u002e", "é"])
def test_a_long_path_costs_a_look_for_each_decoding_and_no_more(unit: str) -> None:
    raw = ("/v1/" + unit * 20_000).encode()
    seen = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        target_url(BASE, {"path": "", "raw_path": raw})
    except BadPath:
        pass
    finally:
        sys.setprofile(None)
    assert seen < 40 * len(raw)


DOTS = (".", "%2e", "%2E", "%252e", "%c0%ae", "%u002e", "%25%32%65", "%ef%bc%8e")
SLASHES = ("/", "\\", "%2f", "%5c", "%252f", "%c0%af", "%25255c", "%u2215")
REST = ("a", ";", ";x=1", "%3b", "%00", "%20", "admin", "%25", "%", "v1", "%32%65", "?")
PATHS = st.lists(st.sampled_from((*DOTS, *SLASHES, *REST)), max_size=12).map("".join)


def _percent(path: bytes) -> bytes:
    return unquote_to_bytes(path)


def _lenient(path: bytes) -> bytes:
    """As decoders did that took overlong UTF-8 and the escapes of IIS."""
    path = re.sub(rb"%u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)).encode(), path)
    text = _percent(path).replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/")
    return text.replace("．".encode(), b".").replace("∕".encode(), b"/")


def _nginx(path: bytes) -> bytes:
    return _percent(path)


def _iis(path: bytes) -> bytes:
    return _lenient(path).replace(b"\\", b"/")


def _tomcat(path: bytes) -> bytes:
    """Parameters go before a segment is decoded; backslashes become slashes after it."""
    segments = [segment.partition(b";")[0] for segment in path.split(b"/")]
    return _percent(b"/".join(segments)).replace(b"\\", b"/")


def _twice(decode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda path: decode(decode(path))


DECODERS = (_nginx, _iis, _tomcat, _twice(_nginx), _twice(_iis), _twice(_tomcat), _lenient)


def _resolved(path: bytes) -> list[bytes] | None:
    """The segments that are left; None when it leads above the root."""
    left: list[bytes] = []
    for segment in path.split(b"\0")[0].split(b"/"):
        if segment == b".." and not left:
            return None
        if segment == b"..":
            left.pop()
        elif segment not in (b"", b"."):
            left.append(segment)
    return left


@given(PATHS)
@settings(max_examples=500)
def test_no_server_that_is_known_reads_a_path_as_one_outside(rest: str) -> None:
    scope = {"path": "", "raw_path": f"/v1/{rest}".encode(), "query_string": b""}
    try:
        sent = target_url(httpx.URL("http://up/public/v1"), scope).raw_path.partition(b"?")[0]
    except BadPath:
        return
    for decode in DECODERS:
        segments = _resolved(decode(sent))
        assert segments is not None, decode
        assert segments[:2] == [b"public", b"v1"], decode


@pytest.mark.parametrize(
    "url", ["", "api.example.com/v1", "ftp://host/v1", "https://", "http://h:x/v1", "http://h/#f"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        parse_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://me:secret@host:port/v1", "https://me:secret/more@host/v1", "//:secret@host"),
        *("https://me:secret?@host/v1", "ftp://me:secret@host", "https://host/#secret"),
        *("https://me:\x00secret@host/v1", "https://host/v1?key=secret#x"),
    ],
)
def test_the_refusal_of_a_base_url_repeats_nothing_of_it(url: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_base_url(url)
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


# --- Names before the resource -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/d/a%2Fb/responses", "/d/a%2Fb/responses"),
        ("/d/a%2fb%2F%20c/responses/r_1/cancel", "/d/a%2fb%2F c/responses/r_1/cancel"),
        ("/d/r%2Fresponses/responses", "/d/r%2Fresponses/responses"),
        ("/d/a%252Fb/responses", "/d/a%2Fb/responses"),
        ("/v1/responses%2Fr_1", "/v1/responses/r_1"),
        ("/v1/responses/r_1%2Fcancel", "/v1/responses/r_1/cancel"),
        ("/v1/files/a%2Fb", "/v1/files/a/b"),
    ],
)
@pytest.mark.parametrize("mount", ["", "/mounted"])
def test_a_slash_is_kept_in_a_name_before_the_resource(raw: str, path: str, mount: str) -> None:
    scope = {"path": mount + unquote(raw), "raw_path": raw.encode(), "method": "GET"}
    assert with_whole_names(scope) == {**scope, "path": mount + path}


@pytest.mark.parametrize("raw", [None, b"", b"/d/x%2Fy/responses", b"/\xff%2Fb/responses"])
def test_a_path_that_is_not_the_raw_one_stays_as_it_is(raw: bytes | None) -> None:
    scope = {"path": "/d/a/b/responses", "raw_path": raw}
    assert with_whole_names(scope) == scope
