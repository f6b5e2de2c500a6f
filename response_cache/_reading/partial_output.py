"""What a poll shows of the output of a response that is still running.

A client that polls may carry out each call that it finds in ``output``, whatever its status says,
and so with arguments that are only half there. Therefore ``text``, the default of the option
``partial_output``, shows what the server makes by itself: messages, reasoning, and the calls that
the server carries out. What waits for the client is left out until the response is over: calls of
functions and of custom tools, of a computer, a shell or a patch, and requests for an approval.

An item of a type that is not known here is left out, too, where it looks like such a call: its type
ends in ``_call`` or ``_request``, or it has a ``call_id`` or ``arguments``.

Streams carry every event, and a response that is over has all of its output.
"""

from __future__ import annotations

from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject
from response_cache.options import PartialOutput

__all__ = ("shows_all", "visible")

_BY_THE_SERVER: Final = frozenset(
    {
        "message",
        "reasoning",
        "code_interpreter_call",
        "file_search_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "web_search_call",
    }
)
"""Types of items that ask nothing of the client (OpenAI API reference, Responses)."""

_ENDINGS: Final = ("_call", "_request")
_KEYS: Final = frozenset({"call_id", "arguments"})


def visible(response: JsonObject, partial_output: PartialOutput) -> JsonObject:
    """The running *response* as a poll shows it. *response* itself is not changed."""
    output = response.get("output")
    if partial_output == "all" or not isinstance(output, list):
        return response
    if partial_output == "none":
        return {**response, "output": []}
    return {**response, "output": [item for item in output if not _is_for_the_client(item)]}


def shows_all(snapshot: bytes, partial_output: PartialOutput) -> bool:
    """Whether ``visible`` leaves out nothing of *snapshot*, as far as can be told unparsed.

    *snapshot* is JSON that was written here: no character of a key is escaped.
    """
    if partial_output != "text":
        return partial_output == "all"
    # No loop: each poll asks. One of the four is in the JSON of every item that is left out.
    return not (
        b'_call"' in snapshot
        or b'_request"' in snapshot
        or b'"call_id"' in snapshot
        or b'"arguments"' in snapshot
    )


def _is_for_the_client(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    type = item.get("type")
    if not isinstance(type, str):
        return not _KEYS.isdisjoint(item)
    if type in _BY_THE_SERVER:
        return False
    return type.endswith(_ENDINGS) or not _KEYS.isdisjoint(item)
