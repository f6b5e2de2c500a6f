"""The items of a stream, and which of them an event means."""

from __future__ import annotations

from typing import Any

import pytest

from response_cache._protocol.wellformed.roster import (
    MAX_GAP,
    Held,
    Item,
    Part,
    Roster,
    is_text,
    usable_index,
)


def item(index: int, id: str | None = None, type: str = "message", **more: Any) -> Item:
    known: dict[str, Any] = {"call_id": None, "theirs": index, **more}
    return Item(type=type, id=id, index=index, **known)


def roster(*items: Item) -> Roster:
    made = Roster()
    for one in items:
        made.add(one)
    return made


def test_items_are_found_by_id_by_call_and_by_the_upstreams_index() -> None:
    message = item(0, "msg_1", theirs=7)
    call = item(1, "fc_1", "function_call", call_id="call_1")
    items = roster(message, call)
    assert items.named("msg_1") is items.under(7) is message
    assert items.called("function_call", "call_1") is call
    assert items.called("message", "call_1") is items.named(None) is items.under("7") is None


def test_the_newest_of_a_name_is_meant() -> None:
    first, second = item(0, "msg_1"), item(1, "msg_1", theirs=0)
    items = roster(first, second)
    assert items.named("msg_1") is items.under(0) is second


def test_only_an_id_names_what_is_done() -> None:
    message = item(0, "msg_1")
    items = roster(message)
    items.close(message)
    assert items.meant(("message",), "msg_1", 0) is message
    assert items.meant(("message",), None, 0) is None
    assert items.newest(("message",)) is None


def test_a_type_that_does_not_fit_is_never_meant() -> None:
    items = roster(item(0, "msg_1"))
    assert items.meant(("reasoning",), "msg_1", 0) is None


def test_events_without_ids_tell_a_new_item_by_its_index() -> None:
    items = roster(item(0, "sh_1", "shell_call"))
    assert items.meant(("shell_call",), None, 1, has_ids=False) is None
    assert items.meant(("shell_call",), None, 1) is items.items[0]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(1, 1), (0, 1), (None, 1), (-1, 1), (MAX_GAP + 1, MAX_GAP + 1), (MAX_GAP + 2, 1)],
)
def test_an_index_that_is_free_and_near_is_kept(wanted: Any, index: int) -> None:
    assert roster(item(0)).free_index(wanted, may_leave_gap=True) == index


def test_no_gap_is_left_by_us_or_while_a_call_is_held() -> None:
    items = roster(item(0))
    assert items.free_index(3, may_leave_gap=False) == 1
    items.add(item(-1, type="function_call", held=Held({}), theirs=1))
    assert items.free_index(2, may_leave_gap=True) == 1


def test_a_held_item_gets_its_place_later() -> None:
    call = item(-1, "fc_1", "function_call", held=Held({}), theirs=0)
    items = roster(call)
    call.call_id = "call_1"
    items.place(call, 0)
    assert (items.held, items.next) == ({}, 1)
    assert items.called("function_call", "call_1") is call


def test_a_part_is_found_by_the_upstreams_index_and_its_type() -> None:
    message = item(0)
    message.parts["content"] = [Part("output_text", 1), Part("refusal", 1)]
    assert message.part_called("content", 1, "output_text") == 0
    assert message.part_called("content", 1, "") == 1
    assert message.part_called("content", 0, "") is None
    assert message.newest_part("content", "output_text") == 0
    message.parts["content"][0].is_closed = True
    assert message.newest_part("content", "output_text") is None


def test_an_item_says_something_once_it_or_a_part_has_text() -> None:
    message = item(0)
    message.parts["content"] = [Part("output_text", 0)]
    assert not message.says_something
    message.parts["content"][0].has_text = True
    assert message.says_something


def test_indexes_and_ids() -> None:
    assert [usable_index(value) for value in (0, 3, -1, True, "0", None)] == [0, 3] + [None] * 4
    assert [is_text(value) for value in ("a", "", None, 1)] == [True, False, False, False]
