"""The HTTP API of a cache, without I/O: what an adapter needs to carry it over a host's protocol.

The door for authors of adapters. ``match_route`` tells which requests are answered here,
``ResponsesAPI`` answers them, ``reply_without_cache`` tells which creates need no cache, and
``Cors`` which pages of a browser may read the replies. Requests and replies are plain data.
``docs/embedding.md`` has a whole adapter in about 60 lines.
"""

from response_cache._protocol.content_coding import ACCEPT_ENCODING
from response_cache._protocol.headers import BODY_HEADERS, CLIENT_HEADERS, Headers
from response_cache._protocol.ids import Translation
from response_cache.http._api import ResponsesAPI
from response_cache.http._cors import Cors, dressed
from response_cache.http._creates import reply_without_cache
from response_cache.http._messages import (
    Body,
    OwnerOf,
    PassThrough,
    Reply,
    Request,
    Stream,
    WhileConnected,
)
from response_cache.http._preflights import Ask, Preflight
from response_cache.http._replies import error_reply
from response_cache.http._routes import Route, Verb, match_route

__all__ = (
    "ACCEPT_ENCODING",
    "BODY_HEADERS",
    "CLIENT_HEADERS",
    "Ask",
    "Body",
    "Cors",
    "Headers",
    "OwnerOf",
    "PassThrough",
    "Preflight",
    "Reply",
    "Request",
    "ResponsesAPI",
    "Route",
    "Stream",
    "Translation",
    "Verb",
    "WhileConnected",
    "dressed",
    "error_reply",
    "match_route",
    "reply_without_cache",
)
