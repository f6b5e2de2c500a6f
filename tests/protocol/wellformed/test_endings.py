"""The terminal event: what is open is closed, and nothing that came is missing from the output."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from response_cache._protocol.wellformed.families import is_minted
from tests.protocol.wellformed.runs import Run, played

AT: Final = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
MESSAGE: Final = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress"}
CALL: Final = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f"}


def item(step: str, index: int, **whole: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{step}", "output_index": index, "item": whole}


def delta(text: str, family: str = "output_text", **at: Any) -> dict[str, Any]:
    return {"type": f"response.{family}.delta", **AT, **at, "delta": text}


def end(*output: Any, step: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{step}", "response": {"output": [*output], **fields}}


def message(text: str, id: Any = "msg_1", **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {**MESSAGE, "id": id, "status": "completed", "content": content, **more}


OPEN: Final = [item("added", 0, **MESSAGE, content=[]), delta("Hi")]


def test_what_is_open_is_closed_from_the_inside_out() -> None:
    run = played([*OPEN, end()])
    assert run.types[-3:] == ["output_text.done", "content_part.done", "output_item.done"]
    assert [event.get("text") for event in run.log[-4:-3]] == ["Hi"]
    assert run.output[0]["status"] == "completed"
    assert run.findings == []


@pytest.mark.parametrize(
    ("family", "field", "kind"),
    [
        ("function_call_arguments", "arguments", {**CALL, "arguments": ""}),
        ("custom_tool_call_input", "input", {**CALL, "type": "custom_tool_call", "input": ""}),
        ("mcp_call_arguments", "arguments", {"type": "mcp_call", "id": "i", "arguments": ""}),
        ("code_interpreter_call_code", "code", {"type": "code_interpreter_call", "id": "i"}),
    ],
)
def test_a_text_of_the_item_itself_is_closed(family: str, field: str, kind: Any) -> None:
    run = played([item("added", 0, **kind), delta("{}", family, item_id=kind["id"]), end()])
    assert run.types[-2:] == [f"{family}.done", "output_item.done"]
    assert run.log[-3][field] == run.output[0][field] == "{}"
    assert run.findings == []


def test_summary_and_commands_are_closed() -> None:
    shell = {"type": "shell_call", "id": "sh_1", "call_id": "c", "action": {"commands": []}}
    run = played(
        [
            item("added", 0, type="reasoning", id="rs_1", summary=[]),
            delta("hm", "reasoning_summary_text", item_id="rs_1", summary_index=0),
            item("added", 1, **shell),
            {
                "type": "response.shell_call_command.delta",
                "output_index": 1,
                "command_index": 0,
                "delta": "ls",
            },
            end(),
        ]
    )
    assert run.types[-5:] == [
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("shell_call_command.done", "output_item.done"),
    ]
    assert run.output[1]["action"]["commands"] == ["ls"]
    assert run.findings == []


def test_an_item_is_closed_as_the_end_has_it() -> None:
    run = played([*OPEN, end(message("Hi there", phase="final"))])
    assert run.log[-2]["item"] == message("Hi there", phase="final")
    assert run.log[-4]["text"] == "Hi there"


def test_items_are_closed_by_their_index() -> None:
    run = played([delta("b", item_id="msg_2", output_index=1), delta("a"), end()])
    done = [event for event in run.log if event["type"] == "response.output_item.done"]
    assert [event["output_index"] for event in done] == sorted(e["output_index"] for e in done)


@pytest.mark.parametrize("step", ["incomplete", "failed"])
def test_only_a_completed_response_is_closed(step: str) -> None:
    run = played([*OPEN, end(step=step)])
    assert run.types == ["output_item.added", "content_part.added", "output_text.delta"]
    assert (run.output[0]["status"], run.response["status"]) == ("in_progress", step)


def test_after_a_cut_nothing_is_made_up() -> None:
    run = played(OPEN)
    assert run.types[-1] == "output_text.delta"
    assert run.output[0]["status"] == "in_progress"


def test_an_item_that_is_in_the_end_as_it_was_announced_is_left_alone() -> None:
    tools = {"type": "mcp_list_tools", "id": "mcpl_1", "tools": []}
    event = end({**tools, "tools": [{"name": "f"}]})
    run = Run().feed(item("added", 0, **tools))
    assert run.normalizer.feed(event) == [event]


# The output.


@pytest.mark.parametrize("terminal", [{}, {"output": None}, {"output": []}])
def test_an_end_without_output_has_what_the_log_folds_to(terminal: dict[str, Any]) -> None:
    run = played([*OPEN, {"type": "response.completed", "response": terminal}])
    assert run.output[0]["content"][0]["text"] == "Hi"


def test_a_done_item_that_is_missing_from_the_end_is_inserted_at_its_index() -> None:
    done = [item("done", 0, **message("Hi")), item("done", 1, **CALL, arguments="{}")]
    run = played([*done, end({**message("bye"), "id": "msg_2"})])
    assert [entry["type"] for entry in run.output] == ["message", "function_call"]
    run = played([*done, end({**CALL, "arguments": "{}"})])
    assert [entry["type"] for entry in run.output] == ["message", "function_call"]


def test_without_keep_done_items_it_stays_away() -> None:
    run = Run(keep_done_items=False).feed(item("done", 0, **message("Hi")), end(message("", "x")))
    assert [entry["id"] for entry in run.output] == ["x"]
    run = Run(keep_done_items=False)
    run.feed(item("done", 0, **message("Hi")), end({**CALL, "arguments": "{}"}))
    assert [entry["type"] for entry in run.output] == ["function_call"]


def test_text_that_the_end_leaves_out_is_inserted_too() -> None:
    run = played([*OPEN, end({**CALL, "arguments": "{}"})])
    assert "Hi" in json.dumps(run.output)


def test_an_empty_item_that_the_end_leaves_out_is_closed_and_stays_away() -> None:
    run = played([OPEN[0], end({**CALL, "arguments": "{}"})])
    assert [entry["type"] for entry in run.output] == ["function_call"]
    assert run.findings == []


def test_entries_may_differ_from_done_items_in_all_but_their_identity() -> None:
    done = [item("added", 0, **MESSAGE, content=[]), item("done", 0, **message("Hi"))]
    event = end(message("Hi", encrypted_content="xyz"))
    run = Run().feed(*done)
    assert run.normalizer.feed(event)[-1] is event


def test_an_id_that_the_end_changes_is_the_upstreams_to_change() -> None:
    done = [item("added", 0, **MESSAGE, content=[]), item("done", 0, **message("Hi"))]
    run = played([*done, end(message("Hi", "msg_9"))])
    assert [entry["id"] for entry in run.output] == ["msg_9"]
    assert run.findings == []


def test_entries_without_ids_get_them() -> None:
    call = {key: value for key, value in CALL.items() if key != "call_id"}
    run = played([end(message("Hi", None), {**call, "id": None, "arguments": "{}"})])
    assert [is_minted(entry["id"]) for entry in run.output] == [True, True]
    assert is_minted(run.output[1]["call_id"])


def test_entries_get_the_shape_of_their_type() -> None:
    run = played([end({**MESSAGE, "content": None}, None, "junk")])
    assert run.output == [{**MESSAGE, "content": []}]
