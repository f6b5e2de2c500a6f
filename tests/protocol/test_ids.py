"""Ids of responses, by which ours are recognised, and owners."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.ids import (
    ANYBODY,
    IDS,
    MAX_ERROR_BYTES,
    NO_TRANSLATION,
    POLLING_IDS,
    Ids,
    Owner,
    Translation,
    digest,
    may_name_ours,
    put_our_id,
    searchable,
)

TAG = "0123abcd"
GZIP = partial(gzip.compress, mtime=0)  # the time would stand in the names of tests

texts = st.text(max_size=8) | st.text(alphabet="\ud800\udfff\x00a", max_size=3)


@pytest.mark.parametrize("tag", ["", TAG])
def test_new_ids_are_ours_and_never_the_same(tag: str) -> None:
    ids = {IDS.new(tag) for _ in range(100)}
    assert len(ids) == 100
    assert all(IDS.are_ours(id) and id.startswith(f"resp_rc{tag}") for id in ids)
    assert {len(id) for id in ids} == {len("resp_rc") + len(tag) + 48}


def test_an_id_without_a_tag_is_as_long_as_the_upstreams_own() -> None:
    assert len(IDS.new("")) == len("resp_") + 50


@pytest.mark.parametrize(
    "id",
    [
        "",
        "resp_" + "0a" * 25,  # an upstream's own form
        "resp_rc",
        "resp_rcQm9zc2FOb3ZhLCBzb21lIGxldHRlcnMgYW5kIGRpZ2l0cw",  # all letters, by chance ours
        "resp_rc" + "0A" * 24,
        "resp_rc" + "0a" * 23,
        "resp_rc" + "0a" * 41,
        "resp_rc" + "0a" * 24 + "\n",
        "resp_rc" + "0a" * 24 + "{tag}",
        "xresp_rc" + "0a" * 24,
        "resp_rc" + "٣" * 48,
    ],
)
def test_other_ids_are_not_ours(id: str) -> None:
    assert not IDS.are_ours(id)


@pytest.mark.parametrize("ids", [IDS, POLLING_IDS])
@given(owner=texts, key=texts)
def test_a_key_always_leads_to_the_same_id(ids: Ids, owner: str, key: str) -> None:
    id = ids.keyed(TAG, "secret", owner, key)
    assert id == ids.keyed(TAG, "secret", owner, key)
    assert ids.are_ours(id)
    assert id != ids.keyed(TAG, "other secret", owner, key)


def test_ids_of_the_older_dialect_are_a_prefix_and_a_uuid() -> None:
    made = {POLLING_IDS.new(TAG) for _ in range(100)}
    assert len(made) == 100
    for id in made:
        assert id.startswith("litellm_poll_")
        assert UUID(id.removeprefix("litellm_poll_")).version == 4
        assert POLLING_IDS.are_ours(id)
        assert POLLING_IDS.may_be_the_apps(id)
        assert not IDS.are_ours(id)


def test_what_was_made_before_the_older_dialect_was_chosen_stays_ours() -> None:
    id = IDS.new(TAG)
    assert POLLING_IDS.are_ours(id)
    assert not POLLING_IDS.may_be_the_apps(id)
    assert not IDS.may_be_the_apps(id)


@given(st.lists(texts, max_size=3), st.lists(texts, max_size=3))
def test_digests_are_the_same_for_the_same_parts_only(first: list[str], second: list[str]) -> None:
    assert (digest("secret", *first) == digest("secret", *second)) == (first == second)


def test_parts_do_not_run_into_each_other() -> None:
    assert digest("", "ab", "c") != digest("", "a", "bc") != digest("", "abc")


@given(st.text(alphabet='"\\{}[],: x', max_size=20))
def test_json_that_names_one_of_ours_is_told_from_its_bytes(around: str) -> None:
    for ids in (IDS, POLLING_IDS):
        for indent in (None, 2):
            assert may_name_ours(json.dumps({around: ids.new(TAG)}, indent=indent).encode())
    assert not may_name_ours(json.dumps({"previous_response_id": "resp_00"}).encode())


@pytest.mark.parametrize(
    ("asking", "owner_id", "may"),
    [
        (Owner("a"), "a", True),
        (Owner("a"), "b", False),
        (Owner("a"), None, True),  # made without a credential: who knows the id has access
        (ANYBODY, None, True),
        (ANYBODY, "a", False),
        (Owner(None, is_admin=True), "a", True),
        (Owner("b", is_admin=True), "a", True),
    ],
)
def test_who_sees_what(asking: Owner, owner_id: str | None, may: bool) -> None:
    assert asking.may_see(owner_id) is may


@pytest.mark.parametrize(
    ("id", "tag", "elsewhere"),
    [
        (IDS.new(TAG), TAG, False),
        (IDS.new("ffff0000"), TAG, True),
        (IDS.new(""), "", False),
        (IDS.new(TAG), "", False),  # a shared store knows all ids
        ("resp_theirs", TAG, False),
    ],
    ids=["ours", "another process's", "a shared store's", "a shared store knows all", "foreign"],
)
def test_ids_of_another_process_are_told_where_stores_are_not_shared(
    id: str, tag: str, elsewhere: bool
) -> None:
    assert IDS.is_elsewhere(id, tag) is elsewhere


# --- Ids of the upstream -----------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.sampled_from(["up_1", "up_12", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "response_id", "text", "run", "x"]), inner)
    ),
    max_leaves=8,
)


def test_the_upstreams_id_becomes_ours_in_each_field_that_holds_it() -> None:
    event = {
        "type": "response.output_item.added",
        "response_id": "up_1",
        "id": "up_1",
        "item": {
            "type": "message",
            "created_by": {"response_id": "up_1", "agent": {"id": "up_1"}},
            "content": [{"type": "output_text", "run": "up_1"}],
        },
        "metadata": {"response": "up_1"},
    }
    assert put_our_id(event, theirs="up_1", ours="resp_1")
    assert "up_1" not in json.dumps(event)
    assert json.dumps(event).count("resp_1") == 6


@pytest.mark.parametrize(
    "event",
    [
        {"delta": "up_1"},
        {"item": {"type": "function_call", "arguments": "up_1", "call_id": "up_1"}},
        {"item": {"type": "message", "id": "up_1", "content": [{"type": "x", "text": "up_1"}]}},
        {"item_id": "up_1", "part": {"type": "refusal", "refusal": "up_1"}},
        {"response_id": "up_12", "note": "about up_1", "ids": ["up_1"]},
        {"conversation": {"id": "up_1"}, "metadata": {"conversation_id": "up_1"}},
    ],
)
def test_text_and_ids_of_other_things_stay(event: dict[str, Any]) -> None:
    before = json.dumps(event)
    assert not put_our_id(event, theirs="up_1", ours="resp_1")
    assert json.dumps(event) == before


@given(st.dictionaries(st.sampled_from(["response_id", "text", "item", "run"]), json_values))
def test_nothing_is_replaced_where_the_search_finds_nothing(event: dict[str, Any]) -> None:
    data = json.dumps(event).encode()
    found = put_our_id(event, theirs="up_1", ours="resp_1")
    assert not found or searchable("up_1") in data
    assert not put_our_id(event, theirs="up_1", ours="resp_1")


@pytest.mark.parametrize(
    ("id", "part"),
    [("resp_1", b"resp_1"), ("a/b-long", b"b-long"), ("\u00e9x", b"x"), ("\u00e9", b""), ("", b"")],
)
def test_a_part_of_an_id_is_searched_for_that_no_json_escapes(id: str, part: bytes) -> None:
    assert searchable(id) == part
    assert part in json.dumps(id).encode()


# --- Ids in the words of both sides ------------------------------------------------------------

OURS = "resp_rc" + "0a" * 24
OTHER = "resp_rc" + "0b" * 24
TOLD = Translation({OURS: "resp_up1", OTHER: "resp_up12"})
JSON = ((b"content-type", b"application/json"),)

# fmt: off
SAID: list[tuple[str, str]] = [
    ("Response 'resp_up1' not found.",          f"Response '{OURS}' not found."),
    ("resp_up1",                                OURS),
    ("resp_up1, resp_up12; resp_up1.",          f"{OURS}, {OTHER}; {OURS}."),
    (r"not found:\nresp_up1\tresp_up12",        rf"not found:\n{OURS}\t{OTHER}"),
    (r"with id \u0027resp_up1\u0027 not found", rf"with id \u0027{OURS}\u0027 not found"),
    ("resp_up123 xresp_up1 resp_up1-a",         "resp_up123 xresp_up1 resp_up1-a"),
    (OURS,                                      OURS),
    ("nothing of it",                           "nothing of it"),
]
# fmt: on


@pytest.mark.parametrize(("said", "told"), SAID)
def test_an_error_names_our_ids_where_the_upstream_named_its_own(said: str, told: str) -> None:
    headers, content = TOLD.error((*JSON, (b"Content-Length", b"5")), said.encode())
    assert content == told.encode()
    length = (b"content-length", b"%d" % len(told))
    assert headers == (*JSON, (b"Content-Length", b"5") if told == said else length)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP", "identity"])
def test_a_compressed_error_is_told_in_plain(coding: str) -> None:
    packed = b"no resp_up1"
    if coding != "identity":
        packed = zlib.compress(packed) if coding == "deflate" else gzip.compress(packed)
    headers = (*JSON, (b"content-encoding", coding.encode()), (b"etag", b"x"), (b"digest", b"x"))
    told = b"no " + OURS.encode()
    assert TOLD.error(headers, packed) == ((*JSON, (b"content-length", b"%d" % len(told))), told)


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        (b"compress", b"no resp_up1"),
        (b"gzip", b"no resp_up1"),
        (b"gzip", GZIP(b"no resp_up1" * 9)[:-9]),
        (b"gzip, gzip", GZIP(GZIP(b"no resp_up1"))),
        (b"gzip", GZIP(b" " * MAX_ERROR_BYTES + b"resp_up1")),
        (b"identity", b" " * MAX_ERROR_BYTES + b"resp_up1"),
        (b"gzip", GZIP(b"no id")),
        (b"gzip", b""),
    ],
)
def test_what_cannot_be_read_or_names_no_id_stays_as_it_came(coding: bytes, content: bytes) -> None:
    headers = (*JSON, (b"content-encoding", coding), (b"content-length", b"%d" % len(content)))
    assert TOLD.error(headers, content) == (headers, content)


def test_an_upstream_without_ids_or_with_the_same_one_for_all_is_bearable() -> None:
    assert Translation({OURS: ""}).error(JSON, b"no ''") == (JSON, b"no ''")
    assert NO_TRANSLATION.error(JSON, b"no resp_up1") == (JSON, b"no resp_up1")
    same = Translation({OURS: "resp_1", OTHER: "resp_1"})
    assert same.error(JSON, b"resp_1")[1] in (OURS.encode(), OTHER.encode())
    odd = Translation({OURS: 'a"b.*'})
    assert odd.error(JSON, b'"no a\\"b.*"')[1] == b'"no %b"' % OURS.encode()
