"""GET /responses/{id}/input_items."""

from __future__ import annotations

import pytest

from response_cache.testing._http_suite.site import (
    HttpSuite,
    JsonObject,
    Site,
    error_of,
    invalid,
    ok,
)

LIMIT = invalid("'limit' must be an integer from 1 to 100.", "limit")


def messages(count: int) -> list[JsonObject]:
    """Input of *count* messages without ids."""
    return [{"role": "user", "content": f"number {n}"} for n in range(count)]


def texts(page: JsonObject) -> list[str]:
    """The texts of the items of a page."""
    return [item["content"][0]["text"].removeprefix("number ") for item in page["data"]]


class Paging(HttpSuite):
    """The input items of a response."""

    async def test_a_string_is_one_message_with_an_id(self, site: Site) -> None:
        created = await site.create(input="hello")
        page = ok(await site.input_items(created["id"]))
        [item] = page["data"]
        assert item["id"].startswith("msg_")
        assert item["content"] == [{"type": "input_text", "text": "hello"}]
        assert page == {
            "object": "list",
            "data": [item],
            "first_id": item["id"],
            "last_id": item["id"],
            "has_more": False,
        }

    async def test_a_response_without_input_has_an_empty_list(self, site: Site) -> None:
        created = await site.create(input=[])
        assert ok(await site.input_items(created["id"])) == {
            "object": "list",
            "data": [],
            "first_id": "",
            "last_id": "",
            "has_more": False,
        }

    async def test_the_newest_come_first_and_20_at_a_time(self, site: Site) -> None:
        created = await site.create(input=messages(25))
        page = ok(await site.input_items(created["id"]))
        assert texts(page) == [str(n) for n in range(24, 4, -1)]
        assert page["has_more"] is True

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("limit", [1, 7, 100])
    async def test_walking_from_the_last_item_on_meets_each_once(
        self, site: Site, order: str, limit: int
    ) -> None:
        id = (await site.create(input=messages(15)))["id"]
        seen: list[str] = []
        query: JsonObject = {"order": order, "limit": limit}
        while True:
            page = ok(await site.input_items(id, **query))
            seen += texts(page)
            if not page["has_more"]:
                break
            query["after"] = page["data"][-1]["id"]
        expected = [str(n) for n in range(15)]
        assert seen == (expected if order == "asc" else expected[::-1])

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5"])
    async def test_a_limit_out_of_bounds_is_refused(self, site: Site, limit: str) -> None:
        created = await site.create()
        assert error_of(await site.input_items(created["id"], limit=limit), 400) == LIMIT

    async def test_another_order_is_refused(self, site: Site) -> None:
        created = await site.create()
        error = error_of(await site.input_items(created["id"], order="up"), 400)
        assert error == invalid("'order' must be 'asc' or 'desc'.", "order")

    async def test_an_unknown_item_is_refused(self, site: Site) -> None:
        created = await site.create()
        error = error_of(await site.input_items(created["id"], after="msg_none"), 400)
        assert error["param"] == "after"

    async def test_includes_are_ignored_in_lists(self, site: Site) -> None:
        created = await site.create()
        query = {"include[]": ["a", "b"]}
        assert ok(await site.input_items(created["id"], **query))["data"]
