"""What the steps of a normalizer share."""

from __future__ import annotations

from response_cache._protocol.wellformed.context import Context
from response_cache._protocol.wellformed.roster import Item


def item(index: int) -> Item:
    return Item(type="message", id="msg_1", call_id=None, index=index, theirs=None)


def test_an_item_is_looked_up_in_the_fold() -> None:
    context = Context("resp_rc1", lambda: [{"id": "a"}, object()])
    assert context.folded_item(item(0)) == {"id": "a"}
    for gap in (1, 2, -1):
        assert context.folded_item(item(gap)) == {"type": "message", "id": "msg_1"}


def test_what_is_mended_is_counted_and_marks_its_item() -> None:
    context, one = Context("resp_rc1", list), item(0)
    context.count("x")
    context.count("x", one)
    assert context.mended == {"x": 2}
    assert one.is_mended


def test_calls_can_be_announced_once_they_can_be_answered() -> None:
    context = Context("resp_rc1", list)
    assert context.can_be_announced({"type": "message"})
    assert context.can_be_announced({"type": "function_call", "call_id": "c"})
    assert not context.can_be_announced({"type": "function_call", "call_id": ""})
    assert not context.can_be_announced({"type": "shell_call"})
