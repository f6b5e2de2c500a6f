"""What a poll shows of the output of a response that is still running."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.jsontext import dump
from response_cache._protocol.litellm_format import to_polling
from response_cache._reading.partial_output import shows_all, visible

SHOWN = [
    "message",
    "reasoning",
    "compaction",
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "mcp_list_tools",
    "acme:thinking",
]
LEFT_OUT = [
    "function_call",
    "custom_tool_call",
    "computer_call",
    "shell_call",
    "local_shell_call",
    "apply_patch_call",
    "mcp_approval_request",
    "acme_call",
    "acme:approval_request",
]

items = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", 'with "call_id"', "_call"])},
    optional={
        "type": st.sampled_from([*SHOWN, *LEFT_OUT, "shell_call_output", "program"]) | st.none(),
        "call_id": st.text(),
        "arguments": st.text(),
        "text": st.sampled_from(["function_call", '"type":"function_call"', '_call"']),
    },
)
outputs = st.lists(items | st.none() | st.integers() | st.text(), max_size=4)


def response(*output: Any) -> dict[str, Any]:
    return {"id": "resp_1", "status": "in_progress", "output": list(output)}


def types(response: dict[str, Any]) -> list[Any]:
    return [item["type"] for item in response["output"]]


def test_what_a_client_would_carry_out_is_left_out() -> None:
    running = response(*({"type": type} for type in [*SHOWN, *LEFT_OUT]))
    assert types(visible(running, "text")) == SHOWN
    assert types(visible(running, "all")) == [*SHOWN, *LEFT_OUT]
    assert visible(running, "none") == response()
    assert types(running) == [*SHOWN, *LEFT_OUT], "the response itself is not changed"


@pytest.mark.parametrize("key", ["call_id", "arguments"])
@pytest.mark.parametrize("type", [{"type": "acme"}, {"type": None}, {"type": 7}, {}])
def test_what_looks_like_a_call_is_left_out(key: str, type: dict[str, Any]) -> None:
    assert visible(response({**type, key: "x"}), "text") == response()
    assert visible(response(type), "text") == response(type)


def test_calls_of_the_server_are_shown_with_their_arguments() -> None:
    call = {"type": "mcp_call", "arguments": '{"a":'}
    assert visible(response(call), "text") == response(call)


@pytest.mark.parametrize("output", [None, "text", {"type": "function_call"}])
def test_an_output_that_is_no_list_is_shown_as_it_is(output: Any) -> None:
    running = {"output": output}
    assert visible(running, "text") == running == visible(running, "none")


@given(outputs)
def test_what_is_told_from_the_bytes_is_true(output: list[Any]) -> None:
    running = response(*output)
    for form in (running, to_polling(running)):
        if shows_all(dump(form), "text"):
            assert visible(running, "text") == running
    assert shows_all(dump(running), "all")
    assert not shows_all(dump(running), "none")


def test_most_snapshots_are_shown_without_a_look_at_their_items() -> None:
    said = 'to call: {"type": "function_call", "call_id": 1}'
    message = {"type": "message", "content": [{"type": "output_text", "text": said}]}
    tools = {"tools": [{"type": "function", "name": "a_call"}, {"type": "web_search"}]}
    assert not shows_all(dump({**response(message), **tools}), "text")  # for the name of the tool
    assert shows_all(dump(response(message)), "text")
