"""A body that is one JSON document: a Response object, or what went wrong."""

from __future__ import annotations

from typing import Any, Final

from response_cache._protocol.error_forms import failure_in
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.lifecycle import TERMINAL, Status, Trigger
from response_cache._protocol.responses import Failure
from response_cache._recording.bodies.body import value_in
from response_cache._recording.intake import Intake

__all__ = ("Document",)

NO_RESPONSE: Final = Failure("The upstream's answer is not a Response object.")

_UNFINISHED: Final = frozenset(Status) - TERMINAL


class Document:
    """A Response object: recorded as the events that it would have been streamed as."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._pieces: list[bytes] = []
        intake.parse_backlog().start()

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        self._pieces.append(chunk)

    def finish(self) -> None:
        """Record the answer. The response is over then."""
        recorder = self._intake.parse_backlog()
        value = value_in(b"".join(self._pieces))
        if not isinstance(value, dict) or not isinstance(value.get("output"), list):
            recorder.end(Trigger.FAIL, _no_response(value))
            return
        failure = _failure_of(value)
        if failure is not None:
            error = {"code": failure.code, "message": failure.message}
            value |= {"status": Status.FAILED.value, "error": error}
        recorder.answer(value)


def _no_response(value: Any) -> Failure:
    """Why *value* is no answer: in its own words, where it has some."""
    failure = failure_in(value)
    if failure is not None and isinstance(value, str):
        return Failure(f"{NO_RESPONSE.message[:-1]}: {failure.message}")
    return failure or NO_RESPONSE


def _failure_of(response: JsonObject) -> Failure | None:
    """Why *response* has failed though its status does not say so; None where it has not.

    A status that is not known says nothing.
    """
    status, error = response.get("status"), response.get("error")
    if isinstance(status, str) and status in TERMINAL and not isinstance(error, str):
        return None
    told = failure_in({"error": error}) if error else None
    if isinstance(status, str) and status in _UNFINISHED:
        return told or _in_the_background(status)
    return told


def _in_the_background(status: str) -> Failure:
    return Failure(
        f"The upstream answered with status '{status}': it works in the background by itself, and"
        " what comes of it is not known here."
    )
