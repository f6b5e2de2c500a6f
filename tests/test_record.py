"""What the core writes into a record beside its log."""

from __future__ import annotations

import json

import pytest

from response_cache._protocol.jsontext import load
from response_cache._record import Header, header_of, request_bytes, request_of

HEADER = Header(
    owner="0" * 48, store=False, stream=True, created_at=1_700_000_000, fingerprint="f" * 64
)


def test_a_header_is_versioned_json_with_all_that_readers_of_it_may_want() -> None:
    assert json.loads(bytes(HEADER)) == {
        "v": 1,
        "kind": "response",
        "owner": "0" * 48,
        "store": False,
        "stream": True,
        "background": True,
        "created_at": 1_700_000_000,
        "fingerprint": "f" * 64,
        "recipe": 1,
        "previous": None,
        "depth": 0,
    }


@pytest.mark.parametrize("owner", [None, "short", "long" * 1000])
def test_a_header_comes_back_as_it_was_written(owner: str | None) -> None:
    header = Header(owner=owner, store=True, stream=False, created_at=1, fingerprint=None)
    assert header_of(bytes(header)) == header


@pytest.mark.parametrize(
    "data",
    [
        bytes(HEADER).replace(b'"v":1', b'"v":2'),
        bytes(HEADER).replace(b'"kind":"response"', b'"kind":"batch"'),
        b"{}",
        b"[]",
        b"",
        b"\x80",
    ],
    ids=["version", "kind", "empty object", "list", "nothing", "no text"],
)
def test_what_is_of_another_version_or_kind_is_no_header(data: bytes) -> None:
    assert header_of(data) is None


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"input":"hi","model":"m"}', b'"hi"'),
        (b'{ "model": "m" , "input" : [ 1.0, 1e400 ,"\\ud83d" ] }', b'[ 1.0, 1e400 ,"\\ud83d" ]'),
        (b'{"input":"first","input":"last"}', b'"last"'),
        (b'{"model":"m","prompt":{"input":"none"}}', b"null"),
    ],
    ids=["text", "as it was spelled", "the one that counts", "none"],
)
def test_of_a_request_the_input_is_kept_as_it_came(body: bytes, kept: bytes) -> None:
    assert request_bytes(body) == b'{"v":1,"input":%b,"links":[]}' % kept


def test_credentials_of_tools_are_not_kept() -> None:
    tool = {"type": "mcp", "server_url": "https://a", "authorization": "5ecret", "headers": {}}
    body = json.dumps({"input": "hi", "tools": [tool], "instructions": "5ecret"}).encode()
    assert b"5ecret" not in request_bytes(body)


def test_a_request_is_read_with_its_input() -> None:
    kept = request_of(request_bytes(b'{"input":[{"role":"user","content":"hi"}]}'))
    assert kept is not None
    assert kept["input"] == [{"role": "user", "content": "hi"}]


def test_a_request_of_another_version_is_not_read() -> None:
    assert request_of(b'{"v":2,"input":"hi","links":[]}') is None
    assert load(request_bytes(b"{}")) == {"v": 1, "input": None, "links": []}
