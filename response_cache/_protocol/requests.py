"""The fields that are read of a create request, and the body that the upstream is sent.

To validate a request is the wrapped app's task. Here only fields are read that our own part depends
on, and only what cannot be stored or repeated is refused. All else goes to the upstream as it came,
unknown fields included. A field that is null counts as absent. Messages name fields and never quote
the request.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from response_cache._protocol import jsontext
from response_cache._protocol.jsontext import JsonObject
from response_cache.errors import InvalidRequest

__all__ = (
    "CACHE_OPTIONS",
    "COMPARISON",
    "PREVIOUS",
    "CreateRequest",
    "create_request",
    "json_object",
    "object_or_text",
    "parse_create",
    "references",
    "upstream_body",
    "with_upstream_ids",
    "without_stream",
)


_PIECE: Final = 1 << 20  # characters that are hashed at a time


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What is read of a create request. Made by ``create_request``, which checks the fields."""

    body: JsonObject = field(repr=False)  # as received; not to be changed, never logged
    background: bool
    stream: bool
    store: bool
    metadata: JsonObject = field(repr=False)
    previous_response_id: str | None

    @property
    def include_obfuscation(self) -> bool:
        """Whether the deltas of the stream shall be padded: only where that is asked for."""
        options = self.body.get("stream_options")
        return isinstance(options, dict) and options.get("include_obfuscation") is True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the body in hex digits, the same for each order of keys and white space.

        Computed at each access, because a foreground create of many megabytes never needs it.
        """
        # The standard library, because jsontext.dump cannot sort keys.
        canonical = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256()
        for start in range(0, len(canonical), _PIECE):  # may be three times as long as the body
            digest.update(canonical[start : start + _PIECE].encode())
        return digest.hexdigest()


# --- Reader -----------------------------------------------------------------------------------

_MAX_METADATA_PAIRS: Final = 16
_MAX_METADATA_KEY: Final = 64  # characters
_MAX_METADATA_VALUE: Final = 512  # characters
_LONGEST_TEXT: Final = 64 * 2**10  # characters of metadata that came as JSON text


class _Shape(NamedTuple):
    types: tuple[type, ...]
    words: str


# Not a pydantic model, because a model refuses the lone surrogates that jsontext reads, and because
# its errors quote values and metadata keys, which are content.
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
"""Fields that decide the form of the reply. They are always checked here."""


def parse_create(data: bytes) -> CreateRequest:
    """Read the body of a create request.

    Raises:
        InvalidRequest: not a JSON object, or a field that is read here has the wrong shape;
            ``param`` names it.
    """
    return create_request(json_object(data))


def create_request(
    body: JsonObject, *, is_checked: bool = True, max_input_items: int = sys.maxsize
) -> CreateRequest:
    """The create request with *body*, whose ``input`` has at most *max_input_items* entries.

    Where *is_checked* is false, the wrapped app checks all fields but those that it never gets to
    see, and those that decide the form of the reply.

    Raises:
        InvalidRequest: a field that is read here has the wrong shape; ``param`` names it.
    """
    for name in _SHAPES if is_checked else _DECIDE:
        _check_shape(name, body.get(name), _SHAPES[name])
    if "background_options" in body:
        _check_background_options(body["background_options"])
    if is_checked:
        if metadata := body.get("metadata"):
            _check_metadata(metadata)
        if "stream_options" in body:
            _check_stream_options(body["stream_options"])
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
        metadata=object_or_text(body.get("metadata"), {}),
        previous_response_id=previous if isinstance(previous, str) else None,
    )


def json_object(data: bytes) -> JsonObject:
    """The body of a request, which must be a JSON object.

    Raises:
        InvalidRequest: it is not.
    """
    try:
        body = jsontext.load(data)
    except ValueError as error:
        raise InvalidRequest("The body of the request could not be read as JSON.") from error
    if not isinstance(body, dict):
        raise InvalidRequest("The body of the request must be a JSON object.")
    return body


def object_or_text(given: Any, default: JsonObject) -> JsonObject:
    """The object that *given* is, or is the JSON text of; for all other values *default*.

    Some hosts accept text in the place of an object.
    """
    if isinstance(given, str) and len(given) <= _LONGEST_TEXT:
        try:
            given = jsontext.load(given.encode("utf-8", "surrogatepass"))
        except ValueError:
            return default
    return given if isinstance(given, dict) else default


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


def _check_stream_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, dict) or not isinstance(
        options.get("include_obfuscation"), bool | None
    ):
        raise InvalidRequest(
            "Invalid type for 'stream_options': it must be an object, and its"
            " 'include_obfuscation' a boolean.",
            param="stream_options",
        )


_WINDOWS: Final = (None, "soonest")
_LONGEST_NAME: Final = 64  # characters of an unknown option that the message repeats


def _check_background_options(options: object) -> None:
    """Refuse what background work here cannot keep (OpenAI API reference, ``background_options``).

    The upstream never sees these options, because its call is in the foreground. A later window
    has a lower price: to leave it out without a word would cost the client money.
    """
    if options is None:
        return
    if not isinstance(options, dict):
        raise _invalid_background_options("it must be an object")
    for name, value in options.items():
        if name == "completion_window":
            _check_window(value)
        elif value is not None:
            raise _invalid_background_options(f"'{name[:_LONGEST_NAME]}' is not supported here")


def _check_window(window: object) -> None:
    if window is not None and not isinstance(window, str):
        raise _invalid_background_options("'completion_window' must be a string")
    if window not in _WINDOWS:
        raise _invalid_background_options("only the 'completion_window' 'soonest' is supported")


def _invalid_background_options(rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid 'background_options': {rule}.", param="background_options")


# --- Other responses that a request names ------------------------------------------------------

PREVIOUS: Final = "previous_response_id"
CACHE_OPTIONS: Final = "prompt_cache_options"
"""The fields that may name other responses. A body without both of them names none."""
COMPARISON: Final = "comparison_response_id"  # in CACHE_OPTIONS


def references(body: JsonObject) -> dict[str, str]:
    """The ids of other responses that a request names, by the field that names them."""
    named, options = {PREVIOUS: body.get(PREVIOUS)}, body.get(CACHE_OPTIONS)
    if isinstance(options, dict):
        named[f"{CACHE_OPTIONS}.{COMPARISON}"] = options.get(COMPARISON)
    return {name: id for name, id in named.items() if isinstance(id, str)}


def with_upstream_ids(body: JsonObject, ids: Mapping[str, str]) -> JsonObject:
    """*body* with the upstream's own *ids* of other responses, by ours; a new dict."""
    changed = dict(body)
    previous, options = body.get(PREVIOUS), body.get(CACHE_OPTIONS)
    if isinstance(previous, str):
        changed[PREVIOUS] = ids.get(previous, previous)
    if isinstance(options, dict) and isinstance(compared := options.get(COMPARISON), str):
        changed[CACHE_OPTIONS] = options | {COMPARISON: ids.get(compared, compared)}
    return changed


# --- What the upstream is sent -----------------------------------------------------------------

_OURS: Final = frozenset({"background", "background_options"})
_ABOUT_STREAMS: Final = frozenset({"stream", "stream_options"})


def upstream_body(request: CreateRequest, ids: Mapping[str, str]) -> bytes:
    """The body for the wrapped app: the same request, in the foreground and streamed.

    *ids* are the upstream's own ids of other responses that the request names, by ours. Other ids
    stay as the client sent them.
    """
    body = {name: value for name, value in request.body.items() if name not in _OURS}
    body["stream"] = True
    return jsontext.dump(with_upstream_ids(body, ids) if ids else body)


def without_stream(body: bytes) -> bytes:
    """What the upstream is sent, *body*, as a request that is not answered by a stream."""
    request = jsontext.load(body)
    return jsontext.dump({name: request[name] for name in request if name not in _ABOUT_STREAMS})
