"""Replies: their headers, their request ids and entity tags, and the errors among them.

An entity tag (RFC 9110 8.8.3) names one state of one response: a client that holds the tag holds
the object.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import lru_cache
from itertools import count
from typing import Final

from response_cache._protocol.headers import Headers, end_to_end
from response_cache._protocol.jsontext import dump
from response_cache._protocol.sse import DONE, KEEP_ALIVE
from response_cache._recording.attempt import Refusal
from response_cache.cache import body_of
from response_cache.errors import APIError, BadUpstream, MethodNotAllowed
from response_cache.http._credentials import CREDENTIAL_HEADERS
from response_cache.http._messages import Body, Stream
from response_cache.http._obfuscation import padded
from response_cache.options import DialectName, PartialOutput
from response_cache.store import RecordView

__all__ = (
    "closed_reply",
    "entity_tag",
    "entity_tags",
    "error_reply",
    "is_known",
    "json_reply",
    "not_modified_reply",
    "poll_headers",
    "preference_applied",
    "refusal_reply",
    "stream_reply",
    "without_retry",
)

_COMMON: Final[Headers] = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b", ".join(CREDENTIAL_HEADERS)),
    (b"openai-version", b"2020-10-01"),
)
_JSON: Final[Headers] = ((b"content-type", b"application/json"), *_COMMON)
_EVENT_STREAM: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *_COMMON,
    (b"x-accel-buffering", b"no"),
)

# --- Whole replies -----------------------------------------------------------------------------


def json_reply(status: int, content: bytes, headers: Headers = ()) -> Body:
    """A reply with the JSON *content*; *headers* stand after the headers of every reply."""
    return Body(
        status,
        (
            *_JSON,
            (b"x-request-id", _request_id()),
            (b"content-length", b"%d" % len(content)),
            *headers,
        ),
        content,
    )


def closed_reply(view: RecordView, dialect: DialectName) -> Body:
    """The reply to most polls: the Response object of a closed record, which never changes."""
    content = body_of(view, dialect)
    headers = _closed_headers(entity_tag(view, "all"), len(content))
    return Body(200, (*headers, (b"x-request-id", _request_id())), content)


@lru_cache(maxsize=1024)
def _closed_headers(tag: str, length: int) -> Headers:
    return (*_JSON, (b"content-length", b"%d" % length), (b"etag", tag.encode()))


def not_modified_reply(headers: Headers) -> Body:
    """The reply to a client that has the object already (RFC 9110 15.4.5)."""
    return Body(304, (*_COMMON, *headers), b"")


def refusal_reply(refusal: Refusal) -> Body:
    """The upstream's refusal as it came, without headers about the upstream's connection."""
    headers = tuple(end_to_end(refusal.headers, without=(b"content-length",)))
    if not 200 <= refusal.status <= 599:  # no server could send it
        return error_reply(BadUpstream(f"The upstream answered with status {refusal.status}."))
    if refusal.status == 304:  # it has no body, and needs no length (RFC 9110 15.4.5)
        return Body(304, headers, b"")
    length = (b"content-length", b"%d" % len(refusal.body))
    return Body(refusal.status, (*headers, length), refusal.body)


_PROCESS: Final = b"req_" + secrets.token_hex(8).encode()
_numbers: Final = count(1)


def _request_id() -> bytes:
    """A name for one reply, for support and logs; no secret."""
    return b"%b%016x" % (_PROCESS, next(_numbers))


# --- Errors ------------------------------------------------------------------------------------


def error_reply(error: APIError) -> Body:
    """The reply that tells a client about *error*."""
    headers: Headers = ()
    if error.retry_after is not None:
        headers += ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))),)
    if isinstance(error, MethodNotAllowed):
        headers += ((b"allow", error.allow.encode("latin-1")),)
    return json_reply(error.status_code, dump(error.body()), headers)


def without_retry(reply: Body) -> Body:
    """*reply* with the header by which the official clients send no second request."""
    return Body(reply.status, (*reply.headers, (b"x-should-retry", b"false")), reply.content)


# --- Streams -----------------------------------------------------------------------------------


def stream_reply(
    chunks: AsyncGenerator[bytes], *, done_marker: bool, is_padded: bool = False
) -> Stream:
    """A reply that sends *chunks* of server-sent events as they come; ``b""`` is a silence.

    With *done_marker* a complete stream ends with ``data: [DONE]``. With *is_padded* the lengths of
    the frames do not tell the lengths of the deltas.
    """
    if is_padded:
        chunks = padded(chunks)
    done = b"data: " + DONE + b"\n\n" if done_marker else b""
    headers = (*_EVENT_STREAM, (b"x-request-id", _request_id()))
    return Stream(200, headers, _event_stream(chunks, done))


async def _event_stream(chunks: AsyncGenerator[bytes], done: bytes) -> AsyncGenerator[bytes]:
    """*chunks* with a comment in each silence, and with *done* after the last one."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk or KEEP_ALIVE
    if done:
        yield done


# --- Headers of polls --------------------------------------------------------------------------


def entity_tag(view: RecordView, partial_output: PartialOutput) -> str:
    """The entity tag of the Response object as *view* has it and a poll shows it.

    A running response without its output changes with its status alone.
    """
    state = f"{view.tail}-{view.status}"
    if not view.closed:
        shown = partial_output if partial_output == "none" else f"{view.tail}-{partial_output}"
        state = f"{shown}-{view.status}"
    return f'"{view.incarnation}-{view.epoch}-{state}"'


def entity_tags(if_none_match: str) -> frozenset[str]:
    """The tags that a client has, for weak comparison (RFC 9110 13.1.2)."""
    if not if_none_match:
        return frozenset()
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return frozenset(tag for tag in tags if tag)


def is_known(view: RecordView, known: frozenset[str], partial_output: PartialOutput) -> bool:
    """Whether a client that has the *known* tags has the object of *view*."""
    return entity_tag(view, partial_output) in known or "*" in known


def poll_headers(view: RecordView, poll_after: float, partial_output: PartialOutput) -> Headers:
    """The entity tag, and when to poll again (in seconds) while the response is not closed."""
    tag = (b"etag", entity_tag(view, partial_output).encode())
    if view.closed:
        return (tag,)
    return (
        tag,
        (b"openai-poll-after-ms", b"%d" % round(poll_after * 1000)),
        (b"retry-after", b"%d" % max(1, math.ceil(poll_after))),
    )


def preference_applied(wait: int | None) -> Headers:
    """The header that says that ``Prefer: wait`` was honoured (RFC 7240 3); none without one."""
    return () if wait is None else ((b"preference-applied", b"wait=%d" % wait),)
