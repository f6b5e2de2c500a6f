"""The HTTP API of a cache, without I/O: what an adapter needs to carry it over a host's protocol.

``match_route`` tells which requests are answered here, ``ResponsesAPI`` answers them. Requests and
replies are plain data. Adapters also import three modules of this package: ``cors`` and
``preflights``, for pages of other origins, and ``bodies``, for bodies in a content encoding.
"""

from response_cache.http.api import ResponsesAPI
from response_cache.http.creates import reply_without_cache
from response_cache.http.messages import (
    Body,
    OwnerOf,
    PassThrough,
    Reply,
    Request,
    Stream,
    WhileConnected,
)
from response_cache.http.replies import error_reply
from response_cache.http.routes import Route, Verb, match_route
from response_cache.protocol.headers import BODY_HEADERS, CLIENT_HEADERS, Headers

__all__ = (
    "BODY_HEADERS",
    "CLIENT_HEADERS",
    "Body",
    "Headers",
    "OwnerOf",
    "PassThrough",
    "Reply",
    "Request",
    "ResponsesAPI",
    "Route",
    "Stream",
    "Verb",
    "WhileConnected",
    "error_reply",
    "match_route",
    "reply_without_cache",
)
