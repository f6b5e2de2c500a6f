"""The web face of a cache, without I/O: routes, queries, headers, error bodies, CORS."""

from response_cache.http.api import (
    ABOUT_THE_BODY,
    ABOUT_THE_CLIENT,
    Body,
    OwnerOf,
    PassThrough,
    Reply,
    Request,
    ResponsesAPI,
    Route,
    Stream,
    Verb,
    answer_early,
    error_reply,
    is_background,
    match_route,
)

__all__ = (
    "ABOUT_THE_BODY",
    "ABOUT_THE_CLIENT",
    "Body",
    "OwnerOf",
    "PassThrough",
    "Reply",
    "Request",
    "ResponsesAPI",
    "Route",
    "Stream",
    "Verb",
    "answer_early",
    "error_reply",
    "is_background",
    "match_route",
)
