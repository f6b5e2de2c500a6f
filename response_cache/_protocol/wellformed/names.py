"""Older and foreign names of events, and the names that they have today.

Such an event becomes the one of today, with its ``event:`` line, so that polls show what it brings
and official clients read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from response_cache._protocol.events import ALIASES
from response_cache._protocol.jsontext import JsonObject, dump

__all__ = ("NAMES", "renamed", "text_in")

# fmt: off
_TABLE: Final[Sequence[tuple[str, str, str]]] = (
    # by then                             today                               source
    ("reasoning_part.added",             "content_part.added",               "vLLM 0.11"),
    ("reasoning_part.done",              "content_part.done",                "vLLM 0.11"),
    ("reasoning_summary.delta",          "reasoning_summary_text.delta",     "OpenAI, May 2025"),
    ("reasoning_summary.done",           "reasoning_summary_text.done",      "OpenAI, May 2025"),
    ("output_text_annotation.added",     "output_text.annotation.added",     "OpenAI, May 2025"),
    ("mcp_call.arguments.delta",         "mcp_call_arguments.delta",         "OGX, Llama Stack"),
    ("mcp_call.arguments.done",          "mcp_call_arguments.done",          "OGX, Llama Stack"),
    ("mcp_call.arguments_delta",         "mcp_call_arguments.delta",         "OpenAI, May 2025"),
    ("mcp_call.arguments_done",          "mcp_call_arguments.done",          "OpenAI, May 2025"),
    ("code_interpreter_call.code.delta", "code_interpreter_call_code.delta", "OpenAI, May 2025"),
    ("code_interpreter_call.code.done",  "code_interpreter_call_code.done",  "OpenAI, May 2025"),
    ("function_call.arguments.delta",    "function_call_arguments.delta",    "gateways"),
    ("function_call.arguments.done",     "function_call_arguments.done",     "gateways"),
)
# fmt: on
"""Sources are servers that send the name, and OpenAI's specification of that month."""

NAMES: Final[Mapping[str, str]] = {
    **ALIASES,
    **{f"response.{old}": f"response.{today}" for old, today, _ in _TABLE},
    "response.error": "error",  # forks of vLLM
}
"""Today's name of an event, by the other."""

_REASONING_PART: Final = "response.reasoning_part."


def renamed(type: str, event: JsonObject) -> JsonObject:
    """*event*, which has an old name, as it is called today: a new object."""
    today = {**event, "type": NAMES[type]}
    part = event.get("part")
    if type.startswith(_REASONING_PART) and isinstance(part, dict):
        today["part"] = {**part, "type": "reasoning_text"}
    return today


def text_in(value: Any) -> str | None:
    """The text that a delta or a whole text brings, in any form; None if there is none.

    The first specifications had an object there: one with a text in it, or arguments as they are.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value["text"])
    return dump(value).decode()
