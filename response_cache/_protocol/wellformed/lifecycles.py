"""Lifecycle events in their one shape: a Response under ``response``, its error an object."""

from __future__ import annotations

from typing import Any, Final

from response_cache._protocol.error_forms import failure_in
from response_cache._protocol.events import (
    CREATED,
    DONE,
    FAILED,
    INCOMPLETE,
    QUEUED,
    trigger_of,
)
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.lifecycle import Status, Trigger
from response_cache._protocol.responses import Failure

__all__ = ("NOT_FINISHED", "completes", "is_waiting", "nested", "with_end")

NOT_FINISHED: Final = Failure(
    "The upstream answered before it had finished: it works in the background by itself."
)

_BESIDE: Final = ("type", "sequence_number", "obfuscation")


def nested(event: JsonObject) -> JsonObject:
    """*event* with its Response under ``response``, where its fields stand beside ``type``."""
    if isinstance(event.get("response"), dict) or not _is_flat(event):
        return event
    response = {k: v for k, v in event.items() if k not in (*_BESIDE, "response")}
    return {**{k: event[k] for k in _BESIDE if k in event}, "response": response}


def _is_flat(event: JsonObject) -> bool:
    return event.get("object") == "response" or isinstance(event.get("output"), list)


def is_waiting(event: JsonObject) -> bool:
    """Whether *event* says that the upstream has the request, and has not begun."""
    response = event.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    return event["type"] in (CREATED, QUEUED) and status == Status.QUEUED


def completes(event: JsonObject) -> bool:
    """Whether a terminal *event* says that the answer is whole."""
    response = event.get("response")
    told = response if isinstance(response, dict) else None
    return trigger_of(event["type"], told) is Trigger.COMPLETE


def with_end(event: JsonObject, heard: Failure | None) -> JsonObject:
    """A terminal *event* that says how the response ended, in the fields where readers look.

    *heard* is an error of which the upstream told before.
    """
    response = event.get("response")
    response = response if isinstance(response, dict) else {}
    trigger = trigger_of(event["type"], response)
    if trigger is Trigger.COMPLETE:
        return _not_completed(event, response)
    return _with_error(event, response, heard) if trigger is Trigger.FAIL else event


def _not_completed(event: JsonObject, response: JsonObject) -> JsonObject:
    """The same, unless its fields say that it has not completed."""
    details = response.get("incomplete_details")
    if isinstance(details, dict) and details.get("reason"):
        return {**event, "type": INCOMPLETE, "response": {**response, "status": "incomplete"}}
    if event["type"] == DONE and response.get("status") in (Status.QUEUED, Status.IN_PROGRESS):
        error = {"code": NOT_FINISHED.code, "message": NOT_FINISHED.message}
        failed = {**response, "status": "failed", "error": error}
        return {**event, "type": FAILED, "response": failed}
    return event


def _with_error(event: JsonObject, response: JsonObject, heard: Failure | None) -> JsonObject:
    error = response.get("error")
    is_beside = bool(event.get("error"))
    if _is_whole(error) and not is_beside:
        return event
    failure = failure_in(error) or failure_in(_without_response(event)) or heard
    rest = {k: v for k, v in event.items() if k != "error"}
    if failure is None or _is_whole(error):
        return rest if is_beside else event
    told = error if isinstance(error, dict) else {}
    whole = {**told, "code": failure.code, "message": failure.message}
    return {**rest, "response": {**response, "error": whole}}


def _is_whole(error: Any) -> bool:
    return (
        isinstance(error, dict)
        and isinstance(error.get("message"), str)
        and isinstance(error.get("code"), str)
    )


def _without_response(event: JsonObject) -> JsonObject:
    return {k: v for k, v in event.items() if k not in ("response", *_BESIDE)}
