"""Background mode of the Responses API for any server of ``POST /v1/responses``.

The door for apps: options, owners, stores, errors, and ``ResponseCache`` itself. The core needs no
web framework. Adapters carry it: ``response_cache_asgi``, ``response_cache_wsgi``,
``response_cache_server`` and ``response_cache_litellm``.

Two more doors are for authors: ``response_cache.store`` for a store of your own, and
``response_cache.http`` for an adapter of your own. ``response_cache.testing`` proves both.
"""

from response_cache._option_fields import OptionFields
from response_cache._protocol.ids import ANYBODY, Owner
from response_cache._protocol.input_items import Paging
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.lifecycle import Status
from response_cache._protocol.requests import CreateRequest, parse_create
from response_cache._recording.answer import Answer, Upstream, UpstreamStopped
from response_cache._recording.attempt import Refusal
from response_cache._version import __version__
from response_cache.cache import Created, ResponseCache, body_of
from response_cache.errors import (
    AlreadyExists,
    APIError,
    BadUpstream,
    Closed,
    Deleted,
    ErrorBody,
    Fenced,
    IdempotencyConflict,
    InvalidRequest,
    InvalidTransition,
    MethodNotAllowed,
    Misconfigured,
    Missing,
    NotCancellable,
    NotFound,
    NotRecorded,
    NotStreamable,
    PreviousResponseNotFound,
    RequestTimeout,
    RequestTooLarge,
    ResponseCacheError,
    SequenceGap,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StreamBroken,
    TooManyRequests,
    Unavailable,
    error_body,
)
from response_cache.http import Body, Headers, OwnerOf, PassThrough, Request, error_reply
from response_cache.options import DialectName, Options, PartialOutput
from response_cache.store import RecordView, Store
from response_cache.stores import store_from_url
from response_cache.stores.memory import MemoryStore

__all__ = (
    "ANYBODY",
    "APIError",
    "AlreadyExists",
    "Answer",
    "BadUpstream",
    "Body",
    "Closed",
    "CreateRequest",
    "Created",
    "Deleted",
    "DialectName",
    "ErrorBody",
    "Fenced",
    "Headers",
    "IdempotencyConflict",
    "InvalidRequest",
    "InvalidTransition",
    "JsonObject",
    "MemoryStore",
    "MethodNotAllowed",
    "Misconfigured",
    "Missing",
    "NotCancellable",
    "NotFound",
    "NotRecorded",
    "NotStreamable",
    "OptionFields",
    "Options",
    "Owner",
    "OwnerOf",
    "Paging",
    "PartialOutput",
    "PassThrough",
    "PreviousResponseNotFound",
    "RecordView",
    "Refusal",
    "Request",
    "RequestTimeout",
    "RequestTooLarge",
    "ResponseCache",
    "ResponseCacheError",
    "SequenceGap",
    "Status",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StreamBroken",
    "TooManyRequests",
    "Unavailable",
    "Upstream",
    "UpstreamStopped",
    "__version__",
    "body_of",
    "error_body",
    "error_reply",
    "parse_create",
    "store_from_url",
)
