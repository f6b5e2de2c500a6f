"""The Response as we write it: queued, and in each status after that.

The fields of OpenAI's Response object (OpenAI API reference, Responses) are in the table of the
queued response. A field that holds in one status only is null in every other status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.lifecycle import Status
from response_cache._protocol.requests import COMPARISON, CreateRequest, object_or_text
from response_cache.errors import InvalidRequest

__all__ = (
    "BROKEN_OFF",
    "OUR_FIELDS",
    "Failure",
    "adopted",
    "in_status",
    "queued_response",
    "require_short_echo",
    "unsaid_fields",
    "with_our_comparison",
)

# --- The queued response -----------------------------------------------------------------------


def _fixed(_given: Any, default: Any) -> Any:
    return default


def _echoed(given: Any, default: Any) -> Any:
    return default if given is None else given


def _merged(given: Any, default: JsonObject) -> JsonObject:
    if not isinstance(given, dict):
        return default
    return default | {key: value for key, value in given.items() if value is not None}


_TOOL: Final[JsonObject] = {"description": None, "parameters": None, "strict": False}
"""Keys of a function that clients which validate require (Open Responses, schema of 2026-04-24; its
own clients want a boolean). False claims the least."""


def _tools(given: Any, default: list[Any]) -> list[Any]:
    return [_tool(tool) for tool in given] if isinstance(given, list) else default


def _tool(given: Any) -> Any:
    match given:
        case {"type": "function"}:
            said = {key: given[key] for key in given if key != "strict" or given[key] is not None}
            return {**_TOOL, **said}
        case {"type": "mcp"}:
            # Credentials of the tool's server are left out, as OpenAI does.
            return {key: given[key] for key in given if key != "authorization"} | {"headers": None}
        case _:
            return given


class _Row(NamedTuple):
    operation: Callable[[Any, Any], Any]
    default: Any


# OpenAI sends each of these fields from the start, in this order. No request of this API sets the
# penalties.
# fmt: off
_QUEUED: Final[Mapping[str, _Row]] = {
    "status":                 _Row(_fixed,  Status.QUEUED.value),
    "background":             _Row(_fixed,  True),
    "completed_at":           _Row(_fixed,  None),
    "error":                  _Row(_fixed,  None),
    "frequency_penalty":      _Row(_fixed,  0.0),
    "incomplete_details":     _Row(_fixed,  None),
    "instructions":           _Row(_echoed, None),
    "max_output_tokens":      _Row(_echoed, None),
    "max_tool_calls":         _Row(_echoed, None),
    "model":                  _Row(_echoed, ""),
    "output":                 _Row(_fixed,  []),
    "parallel_tool_calls":    _Row(_echoed, True),
    "presence_penalty":       _Row(_fixed,  0.0),
    "previous_response_id":   _Row(_echoed, None),
    "prompt_cache_key":       _Row(_echoed, None),
    "prompt_cache_retention": _Row(_echoed, None),
    "reasoning":              _Row(_merged, {"effort": None, "summary": None}),
    "safety_identifier":      _Row(_echoed, None),
    "service_tier":           _Row(_echoed, "auto"),
    "store":                  _Row(_echoed, True),
    "temperature":            _Row(_echoed, 1.0),
    "text":                   _Row(_merged, {"format": {"type": "text"}, "verbosity": "medium"}),
    "tool_choice":            _Row(_echoed, "auto"),
    "tools":                  _Row(_tools,  []),
    "top_logprobs":           _Row(_echoed, 0),
    "top_p":                  _Row(_echoed, 1.0),
    "truncation":             _Row(_echoed, "disabled"),
    "usage":                  _Row(_fixed,  None),
    "user":                   _Row(_echoed, None),
    "metadata":               _Row(object_or_text, {}),
}
# fmt: on

_ONLY_WHEN_GIVEN: Final = ("prompt", "prompt_cache_options", "image")


def queued_response(request: CreateRequest, *, id: str, created_at: int) -> JsonObject:
    """The Response as it stands right after the create: every field, the request echoed.

    Returns a new dict. Repeated values belong to the request and are not to be changed.
    """
    body = request.body
    response: JsonObject = {"id": id, "object": "response", "created_at": created_at}
    for name, row in _QUEUED.items():
        default = row.default
        if isinstance(default, (dict, list)):
            default = deepcopy(default)
        response[name] = row.operation(body.get(name), default)
    for name in _ONLY_WHEN_GIVEN:
        if body.get(name) is not None:
            response[name] = body[name]
    return response | _conversation(body.get("conversation"))


_ASSUMED: Final = ("service_tier", "temperature", "top_logprobs", "top_p", "truncation")
"""Fields whose default stands in a queued response, where it may not be null (Open Responses,
schema of 2026-04-24). Whether the upstream uses that default nobody knows."""


def unsaid_fields(request: CreateRequest, queued: JsonObject) -> JsonObject:
    """What to say of fields of the *queued* response that the request does not name.

    As soon as the upstream has the word these replace the defaults: null, until the upstream says
    something of the field.
    """
    body = request.body
    unsaid: JsonObject = {name: None for name in _ASSUMED if body.get(name) is None}
    text = body.get("text")
    if not isinstance(text, dict) or text.get("verbosity") is None:
        unsaid["text"] = {**queued["text"], "verbosity": None}
    return unsaid


def _conversation(given: Any) -> JsonObject:
    named = given.get("id") if isinstance(given, dict) else given
    return {"conversation": {"id": named}} if isinstance(named, str) else {}


def require_short_echo(response: JsonObject, size: int, *, most: int) -> None:
    """Check that a queued *response*, *size* bytes as JSON, is not longer than *most*.

    Each poll of a running response, and several of its events, repeat these bytes.

    Raises:
        InvalidRequest: it is longer; ``param`` names the field that takes most of it.
    """
    if size > most:
        longest = max(response, key=lambda name: len(dump(response[name])))
        raise InvalidRequest(
            f"Invalid '{longest}': a response repeats at most {most} bytes of its request.",
            param=longest,
        )


# --- By status ---------------------------------------------------------------------------------

OUR_FIELDS: Final = (
    "id",
    "object",
    "created_at",
    "background",
    "store",
    "metadata",
    "previous_response_id",
)
"""Fields that no event of the upstream replaces: they come from the request or are our own.
To ``metadata`` the upstream may add keys."""


def adopted(folded: JsonObject, upstream: JsonObject, ours: JsonObject) -> JsonObject:
    """The *folded* response with the value that *upstream* has of each field: a new dict.

    The fields in *ours* keep our value, but for ``metadata``: there the upstream may add keys.
    The output stays the folded one.
    """
    response = {**folded, **upstream, **ours, "output": folded.get("output", [])}
    theirs = upstream.get("metadata")
    if isinstance(theirs, dict):
        response["metadata"] = {**_object(folded.get("metadata")), **theirs}
        response["metadata"].update(_object(ours.get("metadata")))
    elif "metadata" in folded:
        response["metadata"] = folded["metadata"]
    if "usage" in upstream:
        response["usage"] = _usage(upstream["usage"])
    if isinstance(tools := upstream.get("tools"), list):
        response["tools"] = [_tool_with_all_keys(tool) for tool in tools]
    return response


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _tool_with_all_keys(given: Any) -> Any:
    is_function = isinstance(given, dict) and given.get("type") == "function"
    return _tool(given) if is_function and not given.keys() >= _TOOL.keys() else given


# In chat completions (OpenAI API reference, Chat) and in responses: the tokens, their details, and
# the one detail that a Response must have.
_TOKENS: Final = (
    ("prompt_tokens", "input_tokens", "cached_tokens"),
    ("completion_tokens", "output_tokens", "reasoning_tokens"),
)


def _usage(given: Any) -> Any:
    """*given* in the names of the Responses API, if it has those of chat completions."""
    if not isinstance(given, dict) or not any(old in given for old, _, _ in _TOKENS):
        return given
    usage = dict(given)
    for old, new, detail in _TOKENS:
        tokens, details = usage.pop(old, None), usage.pop(f"{old}_details", None)
        if usage.get(new) is None:
            usage[new] = tokens or 0
        known = _object(usage.get(f"{new}_details") or details)
        usage[f"{new}_details"] = {**known, detail: known.get(detail) or 0}
    tokens = (usage["input_tokens"], usage["output_tokens"])
    if usage.get("total_tokens") is None and all(isinstance(one, int) for one in tokens):
        usage["total_tokens"] = sum(tokens)
    return usage


def with_our_comparison(upstream: JsonObject, ours: JsonObject) -> JsonObject:
    """*upstream* with the id in ``prompt_cache_options`` that *ours* has: the client's own.

    The upstream may have been sent another id in its place. Its other options stay.
    """
    given, kept = upstream["prompt_cache_options"], ours.get("prompt_cache_options")
    if not (isinstance(given, dict) and given.get(COMPARISON) is not None):
        return upstream
    if not (isinstance(kept, dict) and isinstance(kept.get(COMPARISON), str)):
        return upstream
    return upstream | {"prompt_cache_options": given | {COMPARISON: kept[COMPARISON]}}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a response failed: ``error`` of the Response object (OpenAI API reference, Responses)."""

    message: str
    code: str = "server_error"


BROKEN_OFF: Final = Failure("The upstream ended its answer without saying how it ended.")


def in_status(
    response: JsonObject, status: Status, *, now: float, failure: Failure | None = None
) -> JsonObject:
    """*response* in *status*, at *now* in Unix seconds: a new dict.

    A failed response keeps the error that it has; else *failure* becomes its error.
    """
    ours: JsonObject = {"completed_at": None, "error": None, "incomplete_details": None}
    match status:
        case Status.COMPLETED:
            at = response.get("completed_at")
            ours["completed_at"] = at if isinstance(at, int | float) else int(now)
        case Status.FAILED:
            ours["error"] = _error(response.get("error"), failure or BROKEN_OFF)
        case Status.INCOMPLETE:
            ours["incomplete_details"] = response.get("incomplete_details")
    return {**response, "status": status.value, **ours}


def _error(given: Any, failure: Failure) -> JsonObject:
    if isinstance(given, dict) and given:
        return given
    return {"code": failure.code, "message": failure.message}
