"""The bodies of creates: which pass to the wrapped app, which are beyond a limit, which are read.

A search of the bytes tells whether a body may ask for background work, and how many JSON values it
holds. Only a body that may be ours and is within the limits is parsed. A body beyond a limit is
refused where it seems to ask for background work; any other passes to the app, which judges it.
"""

from __future__ import annotations

import re
from typing import Final

from response_cache._offload import LARGE
from response_cache._protocol.content_coding import CODINGS, Inflate
from response_cache._protocol.ids import may_name_ours
from response_cache._protocol.jsontally import holds_more
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.requests import json_object
from response_cache.errors import InvalidRequest, RequestTooLarge
from response_cache.options import Options

__all__ = (
    "decode_body",
    "is_background",
    "may_be_ours",
    "read_body",
    "require_no_background",
    "size_unpacked",
)

_ASKS_FOR_BACKGROUND: Final = re.compile(
    rb'"background"\s*:\s*true'
)  # in a body that is not parsed
_INFLATES_FREELY: Final = 2**20  # bytes to which any compressed body may unpack


def is_background(data: bytes) -> bool:
    """Whether a body may ask for background work, told without parsing it."""
    return b'"background"' in data


def may_be_ours(data: bytes) -> bool:
    """Whether a body may be about a response of ours: a new one, or one that it continues."""
    return is_background(data) or may_name_ours(data)


def require_no_background(beginning: bytes, message: str) -> None:
    """Raise ``RequestTooLarge`` with *message* where a body seems to ask for background work.

    *beginning* is the received part of a body that is not parsed.
    """
    if _ASKS_FOR_BACKGROUND.search(beginning):
        raise RequestTooLarge(message)


def size_unpacked(data: bytes, encoding: str, options: Options) -> int:
    """How many bytes ``read_body`` has to read; exact where there are at most ``LARGE``.

    Raises:
        InvalidRequest: it is not in its encoding.
    """
    if not encoding or len(data) > LARGE or not _can_decode(encoding):
        return len(data)
    few = min(LARGE, _most_unpacked(len(data), options))
    return len(decode_body(data, encoding, limit=few))


def read_body(data: bytes, encoding: str, options: Options) -> tuple[JsonObject, bytes] | None:
    """The object in the body of a create, and the body without its *encoding*; None: it passes.

    Raises:
        InvalidRequest: it cannot be read.
        RequestTooLarge: it is beyond a limit, and seems to ask for background work.
    """
    if encoding:
        if not _can_decode(encoding):
            return None  # the app may know this encoding
        most = _most_unpacked(len(data), options)
        data = decode_body(data, encoding, limit=most)
        if len(data) > most:
            require_no_background(data, f"The request unpacks to more than {most} bytes.")
            return None
    if not may_be_ours(data):
        return None
    if holds_more(data, options.max_request_values):
        most = options.max_request_values
        require_no_background(data, f"The request holds more than {most} JSON values.")
        return None
    return json_object(data), data


def _most_unpacked(size: int, options: Options) -> int:
    return min(max(_INFLATES_FREELY, size * options.max_inflation), options.max_request_bytes)


# --- Content encodings -------------------------------------------------------------------------

_LONGEST_NAME: Final = 32  # characters of an unknown encoding that the message repeats
_MAX_STREAMS: Final = 10_000  # compressed streams in one body, because each takes time to begin


def _can_decode(content_encoding: str) -> bool:
    return content_encoding.strip().lower() in ("", "identity", *CODINGS)


def decode_body(data: bytes, content_encoding: str, *, limit: int) -> bytes:
    """*data* without its ``Content-Encoding`` (RFC 9110, 8.4).

    At most *limit* bytes are unpacked and one more, by which it is seen that there are too many.

    Raises:
        InvalidRequest: the encoding is unknown, *data* is not in it, or has too many streams.
    """
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return data
    if encoding not in CODINGS:
        name = encoding[:_LONGEST_NAME]
        raise InvalidRequest(f"The content encoding '{name}' is not supported.")
    return _inflate(data, encoding, limit)


def _inflate(data: bytes, encoding: str, limit: int) -> bytes:
    inflate = Inflate(encoding, limit, max_streams=_MAX_STREAMS)
    try:
        inflated = inflate.feed(data)
    except ValueError as error:
        raise InvalidRequest(f"The body of the request is not valid {encoding}.") from error
    if inflate.streams > _MAX_STREAMS:
        raise InvalidRequest(
            f"The body of the request has more than {_MAX_STREAMS} {encoding} streams."
        )
    if len(inflated) <= limit and not inflate.is_whole:
        raise InvalidRequest(f"The body of the request is not valid {encoding}.")
    return inflated
