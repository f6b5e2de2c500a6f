"""Background mode of the Responses API for any server of ``POST /v1/responses``.

The core: a lifecycle, a log of events, a reducer, stores, and the HTTP API without I/O. It needs no
web framework; adapters (``response_cache_asgi``, ``response_cache_server``) carry it.
"""

from response_cache._version import __version__
from response_cache.cache import Created, ResponseCache, body_of
from response_cache.http import (
    Body,
    Headers,
    OwnerOf,
    PassThrough,
    Reply,
    Request,
    ResponsesAPI,
    Route,
    Stream,
    error_reply,
    match_route,
    reply_without_cache,
)
from response_cache.options import Options
from response_cache.protocol.ids import ANYBODY, Owner
from response_cache.protocol.lifecycle import Status
from response_cache.recording.answer import Answer, Upstream, UpstreamStopped
from response_cache.recording.attempt import Refusal
from response_cache.store import Claim, RecordView, Store, Taken
from response_cache.stores import store_from_url

__all__ = (
    "ANYBODY",
    "Answer",
    "Body",
    "Claim",
    "Created",
    "Headers",
    "Options",
    "Owner",
    "OwnerOf",
    "PassThrough",
    "RecordView",
    "Refusal",
    "Reply",
    "Request",
    "ResponseCache",
    "ResponsesAPI",
    "Route",
    "Status",
    "Store",
    "Stream",
    "Taken",
    "Upstream",
    "UpstreamStopped",
    "__version__",
    "body_of",
    "error_reply",
    "match_route",
    "reply_without_cache",
    "store_from_url",
)
