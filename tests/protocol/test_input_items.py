"""Input items: made of a request's input, and read by clients page by page."""

from __future__ import annotations

import copy
import hashlib
import sys
from typing import Any, get_args
from urllib.parse import parse_qs

import httpx2  # what the official client is built on
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from response_cache._protocol.input_items import Paging, page_of, parse_paging
from response_cache.errors import InvalidRequest
from tests.data import table

ID = "resp_1"

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
item_like = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b", "c", ""]) | anything,
        "type": st.sampled_from(["message", "function_call", "reasoning", "new"]) | anything,
        "role": st.sampled_from(["user", "assistant", "system"]) | anything,
        "content": anything,
    },
)
inputs = st.text() | st.lists(item_like | anything, max_size=12)


def input_items(body: dict[str, Any], response_id: str) -> list[dict[str, Any]]:
    """All of them, as one page."""
    page = page_of(body, response_id, Paging(limit=sys.maxsize, order="asc", after=None))
    assert not page["has_more"]
    items: list[dict[str, Any]] = page["data"]
    return items


def only_item(entry: dict[str, Any]) -> dict[str, Any]:
    [item] = input_items({"input": [entry]}, ID)
    return item


def without_id(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "id"}


def numbered(count: int) -> dict[str, Any]:
    return {"input": [{"id": f"item_{n}", "type": "new"} for n in range(count)]}


# --- Items -------------------------------------------------------------------------------------


def test_a_string_is_one_message_of_the_user() -> None:
    [item] = input_items({"input": "hi"}, ID)
    assert item["id"].startswith("msg_")
    assert without_id(item) == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "hi"}],
    }


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": []}, {"input": 7}])
def test_no_input_is_no_items(body: dict[str, Any]) -> None:
    assert input_items(body, ID) == []


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_string_as_content_is_one_part_of_input_text(role: str) -> None:
    item = only_item({"role": role, "content": "hi"})
    assert item["type"] == "message"
    assert item["content"] == [{"type": "input_text", "text": "hi"}]


def test_a_string_as_content_of_the_assistant_is_one_part_of_output_text() -> None:
    item = only_item({"role": "assistant", "content": "hi"})
    assert item["content"] == [{"type": "output_text", "text": "hi", "annotations": []}]


def test_parts_and_unknown_fields_stay_as_they_were_sent() -> None:
    parts = [{"type": "input_image", "image_url": "data:", "new": 1}]
    item = only_item({"type": "message", "role": "user", "content": parts, "more": {"x": None}})
    assert item["content"] == parts
    assert item["more"] == {"x": None}


def test_a_status_that_was_sent_stays() -> None:
    assert only_item({"role": "user", "content": "x", "status": "incomplete"})["status"] == (
        "incomplete"
    )


def test_an_item_without_a_status_of_its_own_gets_none() -> None:
    assert "status" not in only_item({"type": "reasoning", "summary": []})


def test_a_bare_id_is_a_reference() -> None:
    assert only_item({"id": "msg_1"}) == {"type": "item_reference", "id": "msg_1"}


def test_entries_that_are_no_objects_stand_for_no_item() -> None:
    items = input_items({"input": ["x", {"role": "user", "content": "hi"}, None, 5]}, ID)
    assert [item["role"] for item in items] == ["user"]


def test_minted_ids_carry_the_prefixes_of_their_types() -> None:
    prefixes = table("response")["id_prefixes"]
    for kind, prefix in prefixes.items() - {("response", "resp_")}:
        minted = only_item({"type": kind})["id"]
        assert minted.startswith(prefix)
        assert len(bytes.fromhex(minted.removeprefix(prefix))) == 24


def test_an_unknown_type_gets_an_id_too() -> None:
    assert only_item({"type": "brand_new"})["id"].startswith("item_")


def test_the_id_that_was_sent_stays() -> None:
    assert only_item({"type": "reasoning", "id": "rs_7", "summary": []})["id"] == "rs_7"


@pytest.mark.parametrize("unusable", [None, "", 7, ["x"], {"a": 1}])
def test_an_id_that_names_nothing_is_replaced(unusable: object) -> None:
    assert only_item({"role": "user", "content": "x", "id": unusable})["id"].startswith("msg_")


def test_the_second_of_two_items_with_one_id_gets_another() -> None:
    twice = {"type": "message", "role": "user", "content": "x", "id": "msg_same"}
    first, second = input_items({"input": [twice, twice]}, ID)
    assert first["id"] == "msg_same"
    assert second["id"].startswith("msg_")
    assert second["id"] != "msg_same"


def test_other_responses_have_other_ids() -> None:
    body = {"input": "hi"}
    assert input_items(body, "resp_1")[0]["id"] != input_items(body, "resp_2")[0]["id"]


@given(inputs)
def test_ids_are_stable_and_unique_and_the_request_is_left_alone(given_input: Any) -> None:
    body = {"input": given_input}
    before = copy.deepcopy(body)
    items = input_items(body, ID)
    ids = [item["id"] for item in items]
    assert body == before
    assert input_items(body, ID) == items
    assert len(set(ids)) == len(ids)
    assert all(isinstance(name, str) and name for name in ids)
    assert all(isinstance(item["type"], str) for item in items)


def made(number: int) -> str:
    """The digits of the id that is made for the item of this number."""
    return hashlib.sha256(f"{ID}:{number}".encode()).hexdigest()[:48]


risky = st.sampled_from([None, 7, "", "a", "b", *(f"msg_{made(n)}" for n in range(4))])


@given(st.lists(risky, max_size=8), st.data())
def test_ids_are_those_that_naming_each_in_turn_gives(
    given: list[Any], data: st.DataObject
) -> None:
    """One after the other: a later item never gets the id of an earlier one, made here or not."""
    names: list[str] = []
    for number, id in enumerate(given):
        is_usable = isinstance(id, str) and id and id not in names
        names.append(id if is_usable else f"msg_{made(number)}")
    body = {"input": [{"role": "user", "content": "x", "id": id} for id in given]}
    assert [item["id"] for item in input_items(body, ID)] == names
    if names:
        after = data.draw(st.sampled_from(names))
        page = page_of(body, ID, Paging(limit=2, order="asc", after=after))
        behind = names.index(after) + 1
        assert [item["id"] for item in page["data"]] == names[behind : behind + 2]


# What clients send, each in the short form that the API allows.
SENT: list[dict[str, Any]] = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "42"},
    {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "c", "output": "42"},
    {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
    {"type": "shell_call_output", "call_id": "c", "output": []},
    {"type": "reasoning", "summary": []},
    {"type": "compaction", "encrypted_content": "x"},
    {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
]


@pytest.mark.parametrize("entry", SENT, ids=lambda entry: entry.get("type", entry.get("role")))
def test_the_official_client_accepts_each_kind_of_item(entry: dict[str, Any]) -> None:
    validated = TypeAdapter(get_args(ResponseItem)[0]).validate_python(only_item(entry))
    assert validated.id


# --- Paging ------------------------------------------------------------------------------------


def test_the_first_page_has_twenty_items_and_begins_with_the_newest() -> None:
    assert parse_paging({}) == Paging(limit=20, order="desc", after=None)


def test_what_is_asked_for_is_read() -> None:
    query = {"limit": ["5"], "order": ["asc"], "after": ["msg_1"], "include[]": ["x"]}
    assert parse_paging(query) == Paging(limit=5, order="asc", after="msg_1")


def test_the_last_of_several_values_counts() -> None:
    assert parse_paging({"limit": ["5", "6"], "order": [], "after": []}).limit == 6


@pytest.mark.parametrize("limit", ["1", "100", "020"])
def test_limits_from_one_to_a_hundred_are_taken(limit: str) -> None:
    assert parse_paging({"limit": [limit]}).limit == int(limit)


@pytest.mark.parametrize(
    "limit", ["0", "101", "-1", "", "ten", "1.0", "1e1", " 5", "5\n", "1_0", "٥", "9" * 5000]
)
def test_any_other_limit_is_refused_by_name(limit: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_paging({"limit": [limit]})
    assert caught.value.param == "limit"


@pytest.mark.parametrize("order", ["", "ASC", "descending"])
def test_any_other_order_is_refused_by_name(order: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_paging({"order": [order]})
    assert caught.value.param == "order"


def test_a_page_is_a_list_envelope() -> None:
    assert page_of(numbered(3), ID, Paging(limit=2, order="asc", after=None)) == {
        "object": "list",
        "data": [{"id": "item_0", "type": "new"}, {"id": "item_1", "type": "new"}],
        "first_id": "item_0",
        "last_id": "item_1",
        "has_more": True,
    }


def test_the_descending_order_begins_with_the_last_item() -> None:
    page = page_of(numbered(3), ID, Paging(limit=1, order="desc", after="item_2"))
    assert page["data"] == [{"id": "item_1", "type": "new"}]
    assert page["has_more"] is True


@pytest.mark.parametrize(("count", "after"), [(0, None), (2, "item_1")])
def test_an_empty_page_names_nothing(count: int, after: str | None) -> None:
    assert page_of(numbered(count), ID, Paging(limit=5, order="asc", after=after)) == {
        "object": "list",
        "data": [],
        "first_id": "",
        "last_id": "",
        "has_more": False,
    }


@pytest.mark.parametrize("after", ["", "item_9", "xyzzy-never-repeat-me"])
def test_a_page_behind_an_unknown_item_is_refused_by_name(after: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        page_of(numbered(2), ID, Paging(limit=5, order="asc", after=after))
    assert caught.value.param == "after"
    assert "xyzzy" not in caught.value.message


def walk(body: dict[str, Any], limit: int, order: str) -> list[str]:
    """The ids in the order in which official clients page through them."""
    met: list[str] = []
    page = page_of(body, ID, Paging(limit=limit, order=order, after=None))
    while page["data"]:
        assert len(page["data"]) <= limit
        met += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        last = page["data"][-1]["id"]
        page = page_of(body, ID, Paging(limit=limit, order=order, after=last))
    return met


@given(inputs, st.integers(1, 100) | st.integers(1, 4), st.sampled_from(["asc", "desc"]))
def test_walking_the_pages_meets_each_item_once(given_input: Any, limit: int, order: str) -> None:
    body = {"input": given_input}
    ids = [item["id"] for item in input_items(body, ID)]
    assert walk(body, limit, order) == (ids if order == "asc" else ids[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_the_official_client_walks_through_all_pages(order: Any, limit: int) -> None:
    body = {"input": [{"role": "user", "content": str(n)} for n in range(7)]}

    def answer(request: httpx2.Request) -> httpx2.Response:
        paging = parse_paging(parse_qs(request.url.query.decode()))
        page = page_of(body, ID, paging)
        return httpx2.Response(200, json=page)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http_client:
        client = OpenAI(api_key="none", base_url="http://test/v1", http_client=http_client)
        met = [item.id for item in client.responses.input_items.list(ID, order=order, limit=limit)]
    ids = [item["id"] for item in input_items(body, ID)]
    assert met == (ids if order == "asc" else ids[::-1])


def digests_made_for(body: dict[str, Any], paging: Paging) -> int:
    """How many ids are made here for one page."""
    made = 0

    def profile(_frame: object, event: str, function: Any) -> None:
        nonlocal made
        made += event == "c_call" and function.__name__ == "openssl_sha256"

    sys.setprofile(profile)
    try:
        page_of(body, ID, paging)
    finally:
        sys.setprofile(None)
    return made


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("entry", [{}, {"id": ""}, {"role": "user", "content": "x"}], ids=str)
def test_a_page_costs_a_page(entry: dict[str, Any], order: str) -> None:
    body = {"input": [entry] * 10_000}
    assert digests_made_for(body, Paging(limit=3, order=order, after=None)) == 3
    named = {"input": [entry] * 10_000 + [{"id": "a"}] + [entry] * 10}
    assert digests_made_for(named, Paging(limit=1, order=order, after="a")) == 1
