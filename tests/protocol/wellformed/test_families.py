"""The table of families, against the reference table of OpenAI's events."""

from __future__ import annotations

from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.families import (
    FAMILIES,
    KINDS,
    LISTS,
    Step,
    event_type,
    fields_of,
    is_minted,
    kind_of,
    mint_call_id,
    mint_id,
)
from tests.data import table

REFERENCE: Final = {row["type"]: row for row in table("events")["events"]}
WHOLE_ITEMS: Final = {"response.output_item.added", "response.output_item.done"}
SEEN_ON_THE_WIRE_ALONE: Final = {
    "response.apply_patch_call_operation_diff.delta",
    "response.apply_patch_call_operation_diff.done",
}


def of_items() -> set[str]:
    """The types of events of which the reference says that they are about an item."""
    return {type for type, row in REFERENCE.items() if row["item_types"]} - WHOLE_ITEMS


def test_every_event_about_an_item_has_a_row() -> None:
    assert set(FAMILIES) == of_items() | SEEN_ON_THE_WIRE_ALONE


@pytest.mark.parametrize("type", sorted(of_items()))
def test_a_row_says_what_the_reference_says(type: str) -> None:
    family, row = FAMILIES[type], REFERENCE[type]
    fields = {*row["fields"]}
    assert set(family.items) == set(row["item_types"])
    assert family.names_item == ("item_id" in fields)
    assert not family.index or family.index in fields
    if family.step is Step.SETTLE and family.field:
        assert family.field in fields
    if family.step is Step.GROW:
        assert "delta" in fields
    if family.step in (Step.ANNOUNCE, Step.CLOSE):
        assert fields & {"part", "command"}


def test_every_item_of_a_family_is_of_a_known_kind() -> None:
    assert {item for family in FAMILIES.values() for item in family.items} <= set(KINDS)


def test_every_list_of_a_family_is_a_list_of_its_items() -> None:
    for family in FAMILIES.values():
        assert all(family.list in LISTS[item] for item in family.items if family.list)


def test_an_unknown_kind_has_nothing_special() -> None:
    kind = kind_of("acme:thing")
    assert (kind.prefix, kind.has_call_id, kind.has_name) == ("item", False, False)


def test_texts_are_named_by_their_part_or_item() -> None:
    assert event_type("output_text", "done") == "response.output_text.done"
    assert event_type("summary_text", "delta") == "response.reasoning_summary_text.delta"
    assert event_type("acme:part", "done") == ""
    assert fields_of("mcp_call") == ("response.mcp_call_arguments", "arguments")
    assert fields_of("message") is None


def test_an_id_is_made_from_the_response_the_index_and_the_type() -> None:
    made = mint_id("resp_rc1", 0, "message")
    assert made.startswith("msg_rc")
    assert made == mint_id("resp_rc1", 0, "message")
    others: list[Any] = [("resp_rc2", 0, "message"), ("resp_rc1", 1, "message")]
    assert made not in [mint_id(*other) for other in [*others, ("resp_rc1", 0, "reasoning")]]


def test_our_ids_are_told_from_others() -> None:
    assert is_minted(mint_id("resp_rc1", 0, "message"))
    assert is_minted(mint_call_id("resp_rc1", 0, "function_call"))
    for other in ("msg_1", "resp_rc0123", "call_rc", None, 1):
        assert not is_minted(other)
