"""Which entry of the end is which item."""

from __future__ import annotations

from typing import Any

from response_cache._protocol.wellformed.partners import partners_of
from response_cache._protocol.wellformed.roster import Item


def item(index: int, id: str | None, type: str = "message", **more: Any) -> Item:
    return Item(type=type, id=id, call_id=more.get("call_id"), index=index, theirs=index)


def entry(id: Any = None, type: str = "message", **more: Any) -> dict[str, Any]:
    return {"type": type, "id": id, **more}


def paired(
    items: list[Item], entries: list[dict[str, Any]], *wholes: dict[str, Any]
) -> dict[int, int]:
    by_index = dict(enumerate(wholes))
    return partners_of(items, entries, lambda item: by_index.get(item.index, {}))


def test_an_id_tells_first() -> None:
    items = [item(0, "a"), item(1, "b")]
    assert paired(items, [entry("b"), entry("a")]) == {0: 1, 1: 0}


def test_a_call_id_tells_next() -> None:
    items = [item(n, None, "function_call", call_id=f"c{n}") for n in (0, 1)]
    entries = [entry(type="function_call", call_id=f"c{n}") for n in (1, 0)]
    assert paired(items, entries) == {0: 1, 1: 0}


def test_then_what_they_say() -> None:
    items = [item(0, "a"), item(1, "b")]
    told: list[dict[str, Any]] = [{"content": [{"text": text}]} for text in "xy"]
    assert paired(items, [entry("c", **told[1])], *told) == {1: 0}


def test_then_the_index_and_the_order() -> None:
    items = [item(0, "a"), item(1, "b"), item(5, "c")]
    assert paired(items, [entry(), entry("x"), entry("y")]) == {0: 0, 1: 1, 2: 2}


def test_types_never_mix() -> None:
    assert paired([item(0, "a")], [entry("a", "reasoning")]) == {}


def test_one_entry_is_one_item() -> None:
    assert paired([item(0, "a"), item(1, "a")], [entry("a")]) == {0: 0}


def test_an_index_makes_no_pair_of_what_says_other_things() -> None:
    told: dict[str, Any] = {"content": [{"text": "abc"}]}
    other: dict[str, Any] = {"content": [{"text": "xyz"}]}
    assert paired([item(0, "a")], [entry("b", **other)], told) == {}
    assert paired([item(0, "a")], [entry("b", content=[{"text": "ac"}])], told) == {0: 0}
    assert paired([item(0, "a")], [entry("b", **other)], {"content": []}) == {0: 0}
