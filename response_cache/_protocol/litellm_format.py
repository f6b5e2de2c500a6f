"""Response objects in the form of LiteLLM's first polling, and back.

LiteLLM documented its polling with a form of its own at first. It is the official object with three
differences: ``status`` is never ``queued``, the texts of messages are parts of type ``text``, and
``status_details`` says how the response ended. All other fields are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.lifecycle import Status

__all__ = ("from_polling", "to_polling")

_TYPES: Final = {"output_text": "text"}
_TYPES_BACK: Final = {"text": "output_text"}
_REASONS: Final = {"max_output_tokens": "length"}  # other reasons have the same name in both forms


def to_polling(response: JsonObject) -> JsonObject:
    """*response* in the older form, as a new object."""
    status = response.get("status")
    return response | {
        "status": Status.IN_PROGRESS.value if status == Status.QUEUED else status,
        "status_details": _details(response),
        "output": _retyped(response.get("output"), _TYPES),
    }


def from_polling(response: JsonObject) -> JsonObject:
    """The official object that ``to_polling`` was given, but ``in_progress`` for ``queued``."""
    official = response | {"output": _retyped(response.get("output"), _TYPES_BACK)}
    official.pop("status_details", None)
    return official


def _details(response: JsonObject) -> JsonObject | None:
    match response.get("status"):
        case Status.COMPLETED:
            return {"type": "completed", "reason": "stop"}
        case Status.INCOMPLETE:
            reason = _object(response.get("incomplete_details")).get("reason")
            return {"type": "incomplete", "reason": _REASONS.get(str(reason), reason)}
        case Status.CANCELLED:
            return {"type": "cancelled", "reason": "user_requested"}
        case Status.FAILED:
            return {"type": "failed", "error": _error(_object(response.get("error")))}
    return None


def _error(error: JsonObject) -> JsonObject:
    return {
        "type": error.get("type") or "internal_error",
        "message": error.get("message"),
        "code": error.get("code"),
    }


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _retyped(output: Any, types: Mapping[str, str]) -> Any:
    """*output* with new *types* for the parts of its messages."""
    if not isinstance(output, list):
        return output
    return [_with_parts(item, types) if _is_message(item) else item for item in output]


def _is_message(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "message"
        and isinstance(item.get("content"), list)
    )


def _with_parts(item: JsonObject, types: Mapping[str, str]) -> JsonObject:
    return item | {"content": [_of_type(part, types) for part in item["content"]]}


def _of_type(part: Any, types: Mapping[str, str]) -> Any:
    type = _object(part).get("type")
    return part | {"type": types[type]} if isinstance(type, str) and type in types else part
