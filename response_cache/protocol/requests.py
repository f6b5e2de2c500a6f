"""What we read of a create request, and what is made from it.

The wrapped app judges a request; we read only what decides our own part, and refuse only what we
could not keep or echo. Everything else goes through as it came, unknown fields included. A field
that is null counts as absent. No message quotes the request: it names fields.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from response_cache.errors import InvalidRequest
from response_cache.protocol import jsontext as codec
from response_cache.protocol.jsontext import JsonObject
from response_cache.protocol.lifecycle import Status

__all__ = (
    "CreateRequest",
    "create_request",
    "json_object",
    "parse_create",
    "queued_response",
    "require_short_echo",
    "upstream_body",
    "with_previous_response_id",
)


_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A create request that passed ``parse_create``, which is the only one to make them."""

    body: JsonObject = field(repr=False)  # as received, not to be changed; content is never logged
    background: bool
    stream: bool
    store: bool
    metadata: JsonObject = field(repr=False)
    previous_response_id: str | None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the body, in hex, whatever its key order and white space.

        Computed when asked: a foreground create of many megabytes never needs it.
        """
        # The standard library, because codec.dump cannot sort keys. Nobody reads this text.
        canonical = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256()
        for start in range(0, len(canonical), _PIECE):  # it may be three times as long as the body
            digest.update(canonical[start : start + _PIECE].encode())
        return digest.hexdigest()


# --- Reader -----------------------------------------------------------------------------------

_MAX_METADATA_PAIRS: Final = 16
_MAX_METADATA_KEY: Final = 64  # characters
_MAX_METADATA_VALUE: Final = 512  # characters
_LONGEST_TEXT: Final = 64 * 2**10  # characters of metadata as text, where a host takes that


class _Shape(NamedTuple):
    types: tuple[type, ...]
    words: str


# Not a pydantic model: that refuses the lone surrogates which codec lets through, and its errors
# quote values and name metadata keys, which are content.
# fmt: off
_SHAPES: Final[Mapping[str, _Shape]] = {
    "background":           _Shape((bool,),     "a boolean"),
    "stream":               _Shape((bool,),     "a boolean"),
    "store":                _Shape((bool,),     "a boolean"),
    "model":                _Shape((str,),      "a string"),
    "input":                _Shape((str, list), "a string or an array"),
    "metadata":             _Shape((dict,),     "an object"),
    "previous_response_id": _Shape((str,),      "a string"),
}
# fmt: on


_DECIDE: Final = ("background", "stream")
"""What a reply depends on, whoever judges the rest."""


def parse_create(data: bytes) -> CreateRequest:
    """Read the body of a create request.

    Raises:
        InvalidRequest: not a JSON object, or a field that we read has the wrong shape; ``param``
            names it.
    """
    return create_request(json_object(data))


def create_request(
    body: JsonObject, *, is_checked: bool = True, max_input_items: int = sys.maxsize
) -> CreateRequest:
    """The same for a body that is read already, and whose input may have so many entries.

    Unless it *is checked*, the wrapped app alone judges all but what a reply depends on.

    Raises:
        InvalidRequest: a field that we read has the wrong shape; ``param`` names it.
    """
    for name in _SHAPES if is_checked else _DECIDE:
        _check_shape(name, body.get(name), _SHAPES[name])
    if is_checked:
        _check_metadata(body.get("metadata") or {})
    given = body.get("input")
    if isinstance(given, list) and len(given) > max_input_items:
        raise InvalidRequest(
            f"Invalid 'input': it may have at most {max_input_items} entries.", param="input"
        )
    previous = body.get("previous_response_id")
    return CreateRequest(
        body=body,
        background=body.get("background") is True,
        stream=body.get("stream") is True,
        store=body.get("store") is not False,
        metadata=_object(body.get("metadata"), {}),
        previous_response_id=previous if isinstance(previous, str) else None,
    )


def json_object(data: bytes) -> JsonObject:
    """The body of a request, which must be a JSON object.

    Raises:
        InvalidRequest: it is not.
    """
    try:
        body = codec.load(data)
    except ValueError as error:
        raise InvalidRequest("The body of the request could not be read as JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body of the request must be a JSON object.")
    return body


def _check_shape(name: str, value: object, shape: _Shape) -> None:
    if value is not None and not isinstance(value, shape.types):
        raise InvalidRequest(f"Invalid type for '{name}': it must be {shape.words}.", param=name)


def _check_metadata(metadata: Mapping[str, object]) -> None:
    if len(metadata) > _MAX_METADATA_PAIRS:
        raise _invalid_metadata(f"it may have at most {_MAX_METADATA_PAIRS} pairs")
    for key, value in metadata.items():
        if len(key) > _MAX_METADATA_KEY:
            raise _invalid_metadata(f"a key may have at most {_MAX_METADATA_KEY} characters")
        if not isinstance(value, str):
            raise _invalid_metadata("each value must be a string")
        if len(value) > _MAX_METADATA_VALUE:
            raise _invalid_metadata(f"a value may have at most {_MAX_METADATA_VALUE} characters")


def _invalid_metadata(rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid 'metadata': {rule}.", param="metadata")


# --- The queued response -----------------------------------------------------------------------


def _fixed(_given: Any, default: Any) -> Any:
    return default


def _echoed(given: Any, default: Any) -> Any:
    return default if given is None else given


def _merged(given: Any, default: JsonObject) -> JsonObject:
    if not isinstance(given, dict):
        return default
    return default | {key: value for key, value in given.items() if value is not None}


def _object(given: Any, default: JsonObject) -> JsonObject:
    """An object as it came, also one that came as JSON text: some hosts take that, too."""
    if isinstance(given, str) and len(given) <= _LONGEST_TEXT:
        try:
            given = codec.load(given.encode("utf-8", "surrogatepass"))
        except ValueError:
            return default
    return given if isinstance(given, dict) else default


def _tools(given: Any, default: list[Any]) -> list[Any]:
    return [_tool(tool) for tool in given] if isinstance(given, list) else default


def _tool(given: Any) -> Any:
    match given:
        case {"type": "function"}:
            # Clients that validate require these keys; null claims nothing about the function.
            return {"description": None, "parameters": None, "strict": None} | given
        case {"type": "mcp"}:
            # Credentials of the tool's server: OpenAI never shows them again either.
            return {key: given[key] for key in given if key != "authorization"} | {"headers": None}
        case _:
            return given


class _Row(NamedTuple):
    operation: Callable[[Any, Any], Any]
    default: Any


# Real servers send every one of these fields from the start, in this order. The penalties cannot
# be set through this API.
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
    "metadata":               _Row(_object, {}),
}
# fmt: on

_ONLY_WHEN_GIVEN: Final = ("prompt", "prompt_cache_options", "image")


def queued_response(request: CreateRequest, *, id: str, created_at: int) -> JsonObject:
    """The Response as it stands right after the create: every field, the request echoed.

    A new dict with new defaults; echoed values belong to the request and are not to be changed.
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


def _conversation(given: Any) -> JsonObject:
    named = given.get("id") if isinstance(given, dict) else given
    return {"conversation": {"id": named}} if isinstance(named, str) else {}


def require_short_echo(response: JsonObject, size: int, *, most: int) -> None:
    """See to it that a queued *response*, *size* bytes as JSON, is not longer than *most*.

    Each poll of a running response and several of its events bring all that it repeats.

    Raises:
        InvalidRequest: it is longer; ``param`` names the field that takes most of it.
    """
    if size > most:
        longest = max(response, key=lambda name: len(codec.dump(response[name])))
        raise InvalidRequest(
            f"Invalid '{longest}': a response repeats at most {most} bytes of its request.",
            param=longest,
        )


# --- What the upstream is sent -----------------------------------------------------------------

_OURS: Final = frozenset({"background", "background_options"})


def upstream_body(request: CreateRequest, *, previous_response_id: str | None) -> bytes:
    """The body for the wrapped app: the same request, in the foreground and streamed.

    *previous_response_id* is the name that the upstream knows; None leaves what the client sent.
    """
    body = {name: value for name, value in request.body.items() if name not in _OURS}
    body["stream"] = True
    if previous_response_id is None:
        return codec.dump(body)
    return with_previous_response_id(body, previous_response_id)


def with_previous_response_id(body: JsonObject, id: str) -> bytes:
    """*body* as JSON, continuing the response that the upstream knows as *id*."""
    return codec.dump(body | {"previous_response_id": id})
