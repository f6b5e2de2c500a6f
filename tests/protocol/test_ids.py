"""Ids of responses, by which ours are recognised, and owners."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.ids import (
    ANYBODY,
    IDS,
    POLLING_IDS,
    Ids,
    Owner,
    digest,
    may_name_ours,
)

TAG = "0123abcd"

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
