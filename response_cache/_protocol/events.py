"""The vocabulary: every event type of a stream, its category, and the types that end a stream.

A *lifecycle* event carries the whole Response. Every other event changes one place of its
``output``, or nothing. One terminal event ends a stream: ``TERMINAL`` has the types that may end a
log of ours, ``UPSTREAM_TERMINAL`` has further types that upstreams end with. A type that is not in
``EVENTS`` passes through unchanged.

The types are from the OpenAI API reference, Streaming events, and from Open Responses
(https://www.openresponses.org).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from response_cache._protocol.lifecycle import Status, Trigger

__all__ = (
    "ALIASES",
    "CANCELLED",
    "COMPLETED",
    "CREATED",
    "DELTAS",
    "DONE",
    "DROPPED",
    "ERROR",
    "EVENTS",
    "FAILED",
    "INCOMPLETE",
    "IN_PROGRESS",
    "KEEPALIVE",
    "LIFECYCLE",
    "QUEUED",
    "TERMINAL",
    "UPSTREAM_TERMINAL",
    "Category",
    "terminal_type",
    "trigger_of",
)

CREATED: Final = "response.created"  # always the first
QUEUED: Final = "response.queued"  # background only, right after created
IN_PROGRESS: Final = "response.in_progress"  # the upstream began to answer
COMPLETED: Final = "response.completed"
INCOMPLETE: Final = "response.incomplete"
FAILED: Final = "response.failed"  # also the end of a cancelled stream (docs/protocol.md)
CANCELLED: Final = "response.cancelled"  # understood, never sent: official clients break on it
DONE: Final = "response.done"  # from some upstreams: an end of any kind, named by `status`
ERROR: Final = "error"  # not an end by itself: response.failed follows
KEEPALIVE: Final = "keepalive"  # a sign of life that uses up a number of the upstream


class Category(StrEnum):
    """What an event is about."""

    LIFECYCLE = "lifecycle"  # the whole response
    ITEM = "item"  # a whole output item
    CONTENT = "content"  # a whole part of an item, or an annotation
    DELTA = "delta"  # a piece of a text, or the finished text
    TOOL_STATUS = "tool_status"  # the progress of a tool call
    TRANSIENT = "transient"  # kept for replay, but no part of the response
    ERROR = "error"  # says what went wrong; response.failed follows
    TRANSPORT = "transport"  # about the connection, not the response


# fmt: off
EVENTS: Final[Mapping[str, Category]] = {
    CREATED:     Category.LIFECYCLE,
    QUEUED:      Category.LIFECYCLE,
    IN_PROGRESS: Category.LIFECYCLE,
    COMPLETED:   Category.LIFECYCLE,
    INCOMPLETE:  Category.LIFECYCLE,
    FAILED:      Category.LIFECYCLE,
    CANCELLED:   Category.LIFECYCLE,
    DONE:        Category.LIFECYCLE,

    "response.output_item.added":                   Category.ITEM,
    "response.output_item.done":                    Category.ITEM,

    "response.content_part.added":                  Category.CONTENT,
    "response.content_part.done":                   Category.CONTENT,
    "response.reasoning_summary_part.added":        Category.CONTENT,
    "response.reasoning_summary_part.done":         Category.CONTENT,
    "response.output_text.annotation.added":        Category.CONTENT,

    "response.output_text.delta":                   Category.DELTA,
    "response.output_text.done":                    Category.DELTA,
    "response.refusal.delta":                       Category.DELTA,
    "response.refusal.done":                        Category.DELTA,
    "response.reasoning_text.delta":                Category.DELTA,
    "response.reasoning_text.done":                 Category.DELTA,
    "response.reasoning.delta":                     Category.DELTA,  # Open Responses
    "response.reasoning.done":                      Category.DELTA,  # Open Responses
    "response.reasoning_summary_text.delta":        Category.DELTA,
    "response.reasoning_summary_text.done":         Category.DELTA,
    "response.function_call_arguments.delta":       Category.DELTA,
    "response.function_call_arguments.done":        Category.DELTA,
    "response.custom_tool_call_input.delta":        Category.DELTA,
    "response.custom_tool_call_input.done":         Category.DELTA,
    "response.mcp_call_arguments.delta":            Category.DELTA,
    "response.mcp_call_arguments.done":             Category.DELTA,
    "response.code_interpreter_call_code.delta":    Category.DELTA,
    "response.code_interpreter_call_code.done":     Category.DELTA,
    "response.shell_call_command.added":            Category.DELTA,
    "response.shell_call_command.delta":            Category.DELTA,
    "response.shell_call_command.done":             Category.DELTA,
    "response.shell_call_output_content.delta":     Category.DELTA,
    "response.shell_call_output_content.done":      Category.DELTA,

    "response.code_interpreter_call.in_progress":   Category.TOOL_STATUS,
    "response.code_interpreter_call.interpreting":  Category.TOOL_STATUS,
    "response.code_interpreter_call.completed":     Category.TOOL_STATUS,
    "response.file_search_call.in_progress":        Category.TOOL_STATUS,
    "response.file_search_call.searching":          Category.TOOL_STATUS,
    "response.file_search_call.completed":          Category.TOOL_STATUS,
    "response.image_generation_call.in_progress":   Category.TOOL_STATUS,
    "response.image_generation_call.generating":    Category.TOOL_STATUS,
    "response.image_generation_call.completed":     Category.TOOL_STATUS,
    "response.mcp_call.in_progress":                Category.TOOL_STATUS,
    "response.mcp_call.completed":                  Category.TOOL_STATUS,
    "response.mcp_call.failed":                     Category.TOOL_STATUS,
    "response.mcp_list_tools.in_progress":          Category.TOOL_STATUS,
    "response.mcp_list_tools.completed":            Category.TOOL_STATUS,
    "response.mcp_list_tools.failed":               Category.TOOL_STATUS,
    "response.web_search_call.in_progress":         Category.TOOL_STATUS,
    "response.web_search_call.searching":           Category.TOOL_STATUS,
    "response.web_search_call.completed":           Category.TOOL_STATUS,

    "response.audio.delta":                         Category.TRANSIENT,
    "response.audio.done":                          Category.TRANSIENT,
    "response.audio.transcript.delta":              Category.TRANSIENT,
    "response.audio.transcript.done":               Category.TRANSIENT,
    "response.compaction.compacting":               Category.TRANSIENT,
    "response.image_generation_call.partial_image": Category.TRANSIENT,

    ERROR:     Category.ERROR,
    KEEPALIVE: Category.TRANSPORT,
}

ALIASES: Final[Mapping[str, str]] = {
    "response.reasoning.delta": "response.reasoning_text.delta",
    "response.reasoning.done":  "response.reasoning_text.done",
}
"""Names of Open Responses, and the names under which we pass such events on."""

_TERMINAL_TYPES: Final[Mapping[Status, str]] = {
    Status.COMPLETED:  COMPLETED,
    Status.INCOMPLETE: INCOMPLETE,
    Status.FAILED:     FAILED,
    Status.CANCELLED:  FAILED,  # the only form that every official client understands
}

_TRIGGERS: Final[Mapping[str, Trigger]] = {
    COMPLETED:  Trigger.COMPLETE,
    INCOMPLETE: Trigger.TRUNCATE,
    FAILED:     Trigger.FAIL,
    CANCELLED:  Trigger.CANCEL,
    DONE:       Trigger.COMPLETE,
    ERROR:      Trigger.FAIL,
}

# Exceptions, by the status of the response inside. Some upstreams end every stream with `completed`
# and put the true status inside. A worse end is believed, a better one is not.
_TRIGGERS_BY_STATUS: Final[Mapping[tuple[str, str], Trigger]] = {
    (COMPLETED, Status.INCOMPLETE): Trigger.TRUNCATE,
    (COMPLETED, Status.FAILED):     Trigger.FAIL,
    (COMPLETED, Status.CANCELLED):  Trigger.CANCEL,
    (DONE,      Status.INCOMPLETE): Trigger.TRUNCATE,
    (DONE,      Status.FAILED):     Trigger.FAIL,
    (DONE,      Status.CANCELLED):  Trigger.CANCEL,
    (FAILED,    Status.CANCELLED):  Trigger.CANCEL,
}
# fmt: on

LIFECYCLE: Final = frozenset(t for t, kind in EVENTS.items() if kind is Category.LIFECYCLE)
"""Types that carry a whole Response."""

TERMINAL: Final = frozenset(_TERMINAL_TYPES.values())
"""Types that end a stream of ours."""

UPSTREAM_TERMINAL: Final = frozenset({CANCELLED, DONE})
"""Further types that end the stream of an upstream; never sent by us."""

DELTAS: Final = frozenset(t for t in EVENTS if t.endswith(".delta"))
"""Types that carry a fragment, and so may be padded with ``obfuscation``."""

DROPPED: Final = frozenset(t for t, kind in EVENTS.items() if kind is Category.TRANSPORT)
"""Types that are neither stored nor forwarded, and get no number in the log."""


def trigger_of(type: str, response: Mapping[str, Any] | None) -> Trigger:
    """The move of the lifecycle that an upstream's last event stands for.

    *response* is the Response that the event carries. Its ``status`` decides where the type alone
    does not.

    Raises:
        ValueError: events of this *type* end nothing.
    """
    if type not in _TRIGGERS:
        raise ValueError(f"{type} is not a terminal event")
    status = response.get("status") if response else None
    if not isinstance(status, str):
        return _TRIGGERS[type]
    return _TRIGGERS_BY_STATUS.get((type, status), _TRIGGERS[type])


def terminal_type(status: Status) -> str:
    """The type of the event that ends the stream of a response with this terminal *status*.

    Raises:
        ValueError: the status is not terminal.
    """
    if status not in _TERMINAL_TYPES:
        raise ValueError(f"{status} is not a terminal status")
    return _TERMINAL_TYPES[status]
