"""What a log has announced, as the check remembers it."""

from __future__ import annotations

from response_cache._protocol.wellformed.log_state import LogState, part_type


def test_items_and_their_parts_are_remembered() -> None:
    state = LogState()
    content = [{"type": "output_text"}]
    item = {"type": "message", "id": "m", "content": content}
    state.see({"type": "response.output_item.added", "output_index": 2, "item": item})
    at = {"output_index": 2, "content_index": 1, "part": {"type": "refusal"}}
    state.see({"type": "response.content_part.added", **at})
    assert state.items[2].parts == {"content": ["output_text", "refusal"]}
    state.see({"type": "response.output_item.done", "output_index": 2})
    assert state.items[2].is_done
    assert (state.length, state.ids) == (3, {"m"})


def test_commands_count_as_parts() -> None:
    state = LogState()
    item = {"type": "shell_call", "id": "s", "action": {"commands": ["ls"]}}
    state.see({"type": "response.output_item.added", "output_index": 0, "item": item})
    at = {"output_index": 0, "command_index": 1, "command": ""}
    state.see({"type": "response.shell_call_command.added", **at})
    assert state.items[0].parts == {"action.commands": ["", ""]}


def test_lifecycle_events_are_counted() -> None:
    state = LogState()
    for step in ("created", "queued", "completed"):
        state.see({"type": f"response.{step}", "response": {"id": "r"}})
    assert (state.response_id, state.is_over) == ("r", True)
    assert state.counts["response.queued"] == 1


def test_junk_is_only_counted() -> None:
    state = LogState()
    state.see({"type": 1})
    state.see({"type": "response.output_item.added", "output_index": True, "item": {}})
    assert (state.length, state.items) == (2, {})
    assert part_type(None) == "None"
