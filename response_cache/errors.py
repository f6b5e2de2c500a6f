"""The exceptions of response_cache, as one tree.

    ResponseCacheError
    ├── InvalidTransition               a move that the lifecycle table does not have
    ├── StreamBroken                    a stream that stops before the end of its log
    ├── APIError                        what a client is told; status and code are class attributes
    │   ├── InvalidRequest              400
    │   │   ├── NotCancellable          400
    │   │   ├── NotStreamable           400
    │   │   └── PreviousResponseNotFound 400
    │   ├── NotFound                    404
    │   ├── MethodNotAllowed            405
    │   ├── RequestTimeout              408
    │   ├── RequestTooLarge             413
    │   ├── IdempotencyConflict         422
    │   ├── TooManyRequests             429
    │   ├── Misconfigured               500
    │   ├── BadUpstream                 502
    │   └── Unavailable                 503
    └── StoreError                      what a store answers to its callers
        ├── AlreadyExists               the id belongs to another incarnation
        ├── Deleted                     the id has a tombstone
        ├── Missing                     there is no record and no tombstone
        ├── Fenced                      the claim is no longer the current one
        ├── Closed                      the record is closed
        ├── SequenceGap                 the claim's tail is not the record's
        └── StoreUnavailable            no answer; whether the operation took effect is unknown
            └── StoreFull               refused for want of room; it took no effect

Mistakes of the calling program (``TypeError``, ``ValueError``) are not part of the tree.
Messages name the response, its state and what was tried; never content, never credentials.
"""

from __future__ import annotations

import errno
from typing import ClassVar

__all__ = (
    "APIError",
    "AlreadyExists",
    "BadUpstream",
    "Closed",
    "Deleted",
    "Fenced",
    "IdempotencyConflict",
    "InvalidRequest",
    "InvalidTransition",
    "MethodNotAllowed",
    "Misconfigured",
    "Missing",
    "NotCancellable",
    "NotFound",
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
)


class ResponseCacheError(Exception):
    """The root of the tree."""


class InvalidTransition(ResponseCacheError):
    """The lifecycle has no such move."""

    def __init__(self, status: str, trigger: str) -> None:
        super().__init__(f"a response that is {status} cannot {trigger}")
        self.status = status
        self.trigger = trigger


class StreamBroken(ResponseCacheError, ConnectionResetError):
    """A stream stops before the end of its log: its reader must see a broken connection.

    A proper end of the body would be taken for the end of the response. This is a
    ``ConnectionResetError`` because most servers take that one for what it is, without a traceback.
    """

    @classmethod
    def of(cls, why: str, *, id: str = "") -> StreamBroken:
        """The one wording, for logs; *why* is half a sentence."""
        which = f"the stream of {id}" if id else "a stream"
        return cls(errno.ECONNRESET, f"{which} was broken off: {why}")


class APIError(ResponseCacheError):
    """An answer of the API that is an error: HTTP status and the body's four keys (protocol 2)."""

    status_code: ClassVar[int] = 500
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        """*param* names the field at fault; *retry_after* (seconds) becomes ``Retry-After``."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(APIError):
    """The request cannot be understood or is not allowed in this state."""

    status_code = 400


class NotCancellable(InvalidRequest):
    """The response is foreground work or already over. Never 409: official clients retry that."""


class NotStreamable(InvalidRequest):
    """The response has no event log that could be streamed (any more)."""


class PreviousResponseNotFound(InvalidRequest):
    """``previous_response_id`` names nothing that this caller may continue."""

    code = "previous_response_not_found"


class NotFound(APIError):
    """There is no such response for this caller: unknown, expired, deleted or somebody else's."""

    status_code = 404

    @classmethod
    def of(cls, id: str) -> NotFound:
        """The one wording for every id that is not there (protocol 2)."""
        return cls(f"Response with id '{id}' not found.")


class NotRecorded(NotFound):
    """There is no such response for anybody; what it was, if it was, is gone."""


class MethodNotAllowed(APIError):
    """The route exists, the method does not."""

    status_code = 405

    def __init__(self, message: str, *, allow: str) -> None:
        """*allow* is the value of the ``Allow`` header."""
        super().__init__(message)
        self.allow = allow


class RequestTimeout(APIError):
    """The body did not come in ``body_timeout``."""

    status_code = 408


class RequestTooLarge(APIError):
    """The body is longer than ``max_request_bytes``."""

    status_code = 413


class IdempotencyConflict(APIError):
    """The idempotency key was used before, for another body or a response since deleted."""

    status_code = 422


class TooManyRequests(APIError):
    """As many responses run and wait here as may."""

    status_code = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class Misconfigured(APIError):
    """What the middleware was told cannot be; the message names the option."""

    type = "server_error"
    code = "server_error"


class BadUpstream(APIError):
    """The upstream's answer is none that could be passed on."""

    status_code = 502
    type = "server_error"
    code = "server_error"


class Unavailable(APIError):
    """The store does not answer or is full, or this process is shutting down. Worth a retry."""

    status_code = 503
    type = "server_error"
    code = "service_unavailable"


class StoreError(ResponseCacheError):
    """A store's answer that is not a result."""


class AlreadyExists(StoreError):
    """The id is taken by another incarnation."""


class Deleted(StoreError):
    """The id was deleted; its tombstone is still there."""


class Missing(StoreError):
    """There is no record and no tombstone: never created, expired or lost."""


class Fenced(StoreError):
    """Somebody took the response, or created it anew: this claim may write no more."""


class Closed(StoreError):
    """The record is closed: terminal is final."""


class SequenceGap(StoreError):
    """The claim's tail is not the record's."""

    def __init__(self, message: str, *, tail: int) -> None:
        """*tail* is the number that the store expects next."""
        super().__init__(message)
        self.tail = tail


class StoreUnavailable(StoreError):
    """The store did not answer. Whether the operation took effect is unknown."""


class StoreFull(StoreUnavailable):
    """The store has no room. The operation took no effect."""
