"""The exceptions of response_cache, as one tree.

    ResponseCacheError
    ├── InvalidTransition                a move that the lifecycle table does not have
    ├── StreamBroken                     a stream that stops before the end of its log
    ├── APIError                         an error reply; status and code are class attributes
    │   ├── InvalidRequest               400
    │   │   ├── NotCancellable           400
    │   │   ├── NotStreamable            400
    │   │   └── PreviousResponseNotFound 400
    │   ├── NotFound                     404
    │   │   └── NotRecorded              404
    │   ├── MethodNotAllowed             405
    │   ├── RequestTimeout               408
    │   ├── RequestTooLarge              413
    │   ├── IdempotencyConflict          422
    │   ├── TooManyRequests              429
    │   ├── Misconfigured                500
    │   ├── BadUpstream                  502
    │   └── Unavailable                  503
    └── StoreError                       a store's answer to its callers
        ├── AlreadyExists                the id belongs to another incarnation
        ├── Deleted                      the id has a tombstone
        ├── Missing                      there is no record and no tombstone
        ├── Fenced                       the claim is no longer the current one
        ├── Closed                       the record is closed
        ├── SequenceGap                  the claim's tail is not the record's
        └── StoreUnavailable             no answer; whether the operation took effect is unknown
            └── StoreFull                refused for lack of room; it took no effect

Mistakes of the calling program (``TypeError``, ``ValueError``) are not part of the tree.
A message names the response, its state and what was tried. It never has content or credentials.
"""

from __future__ import annotations

import errno
from typing import ClassVar, TypeAlias

__all__ = (
    "APIError",
    "AlreadyExists",
    "BadUpstream",
    "Closed",
    "Deleted",
    "ErrorBody",
    "Fenced",
    "IdempotencyConflict",
    "InvalidRequest",
    "InvalidTransition",
    "MethodNotAllowed",
    "Misconfigured",
    "Missing",
    "NotCancellable",
    "NotFound",
    "NotRecorded",
    "NotStreamable",
    "PreviousResponseNotFound",
    "RequestTimeout",
    "RequestTooLarge",
    "ResponseCacheError",
    "SequenceGap",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StreamBroken",
    "TooManyRequests",
    "Unavailable",
    "error_body",
)

ErrorBody: TypeAlias = dict[str, dict[str, str | None]]
"""The error object of OpenAI's API under its key ``error``."""


def error_body(
    message: str, *, type: str, param: str | None = None, code: str | None = None
) -> ErrorBody:
    """The body of an error reply, to be sent as JSON: always these four keys.

    Clients read each of the keys by its name (OpenAI API reference, Errors).
    """
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


class ResponseCacheError(Exception):
    """The root of the tree."""


class InvalidTransition(ResponseCacheError):
    """The lifecycle has no such move."""

    def __init__(self, status: str, trigger: str) -> None:
        super().__init__(f"a response that is {status} cannot {trigger}")
        self.status = status
        self.trigger = trigger


class StreamBroken(ResponseCacheError, ConnectionResetError):
    """A stream stops before the end of its log: break the client's connection.

    A client would take a proper end of the body for the end of the response. This is a
    ``ConnectionResetError``, because most servers then close the connection without a traceback.
    """

    @classmethod
    def of(cls, why: str, *, id: str = "") -> StreamBroken:
        """The error in the wording of our logs: ``the stream of {id} was broken off: {why}``."""
        which = f"the stream of {id}" if id else "a stream"
        return cls(errno.ECONNRESET, f"{which} was broken off: {why}")


class APIError(ResponseCacheError):
    """An error reply: the HTTP status, and the four keys of OpenAI's error object.

    The keys are ``message``, ``type``, ``param`` and ``code`` (OpenAI API reference, Errors).
    """

    status_code: ClassVar[int] = 500
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        """*param* names the wrong field. *retry_after* (seconds) is sent as ``Retry-After``."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def body(self) -> ErrorBody:
        """The body of the reply, to be sent as JSON."""
        return error_body(self.message, type=self.type, param=self.param, code=self.code)


class InvalidRequest(APIError):
    """The request cannot be understood or is not allowed in this state."""

    status_code = 400


class NotCancellable(InvalidRequest):
    """The response has ended already. Never 409: official clients retry that."""


class NotStreamable(InvalidRequest):
    """The response has no event log that could be streamed (any more)."""


class PreviousResponseNotFound(InvalidRequest):
    """``previous_response_id`` names nothing that this caller may continue."""

    code: ClassVar[str | None] = "previous_response_not_found"


class NotFound(APIError):
    """No response for this caller: unknown, expired, deleted, or of another owner."""

    status_code = 404

    @classmethod
    def of(cls, id: str) -> NotFound:
        """The error in OpenAI's wording, the same for each reason."""
        return cls(f"Response with id '{id}' not found.")


class NotRecorded(NotFound):
    """The store has no record of this id, for any owner."""


class MethodNotAllowed(APIError):
    """The route exists, the method does not."""

    status_code = 405

    def __init__(self, message: str, *, allow: str) -> None:
        """*allow* is the value of the ``Allow`` header."""
        super().__init__(message)
        self.allow = allow


class RequestTimeout(APIError):
    """The body of a create paused for longer than ``body_timeout``."""

    status_code = 408


class RequestTooLarge(APIError):
    """The body of a create is over a limit: bytes, unpacked bytes, or JSON values."""

    status_code = 413


class IdempotencyConflict(APIError):
    """The idempotency key was used before, for another body or for a deleted response."""

    status_code = 422


class TooManyRequests(APIError):
    """``max_running`` responses run in this process and ``max_waiting`` wait."""

    status_code = 429
    type = "rate_limit_error"
    code: ClassVar[str | None] = "rate_limit_exceeded"


class Misconfigured(APIError):
    """The middleware has a wrong option or store; the message names it."""

    type = "server_error"
    code: ClassVar[str | None] = "server_error"


class BadUpstream(APIError):
    """The upstream's answer has a status that no server can send."""

    status_code = 502
    type = "server_error"
    code: ClassVar[str | None] = "server_error"


class Unavailable(APIError):
    """The store does not answer or is full, or this process shuts down. A retry may help."""

    status_code = 503
    type = "server_error"
    code: ClassVar[str | None] = "service_unavailable"


class StoreError(ResponseCacheError):
    """A store refused an operation, or did not answer."""


class AlreadyExists(StoreError):
    """The id is taken by another incarnation."""


class Deleted(StoreError):
    """The id was deleted, and its tombstone is still there."""


class Missing(StoreError):
    """There is no record and no tombstone: never created, expired, or lost."""


class Fenced(StoreError):
    """Another process took the response, or it was created anew: this claim may write no more."""


class Closed(StoreError):
    """The record is closed: its terminal status is final."""


class SequenceGap(StoreError):
    """The claim's tail is not the record's."""

    def __init__(self, message: str, *, tail: int) -> None:
        """*tail* is the number that the store expects next."""
        super().__init__(message)
        self.tail = tail


class StoreUnavailable(StoreError):
    """The store did not answer; whether the operation took effect is unknown."""


class StoreFull(StoreUnavailable):
    """The store has no room; the operation took no effect."""
