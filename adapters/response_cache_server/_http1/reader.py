"""Bytes of a connection into requests, within bounds.

The parser is llhttp, by httptools, in its strict mode. This module adds:

* Bounds for the head, in bytes and in fields, and for the bytes after it that are no body: chunk
  sizes, their extensions, trailers. Trailers are read and dropped.
* Offers to upgrade (RFC 9110, 7.8), which are never taken here. llhttp takes an offer for an
  agreement and stops before the body, so a new parser reads the head again, without the offer.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import httptools

from response_cache_server._http1.limits import SLICE_BYTES, Limits
from response_cache_server._http1.refusal import Refusal
from response_cache_server._http1.rules import Fields, check_offer, check_request

__all__ = ("Head", "Reader", "Requests")

CHUNK_OVERHEAD_BYTES: Final = 16
"""Bytes of framing that each chunk may have without being counted, beside twice its length."""


class Head(NamedTuple):
    """The head of a request that no rule refuses."""

    method: str
    path: bytes
    """As it was sent, percent-encoded."""
    query: bytes
    version: str
    fields: Fields
    expects_continue: bool
    keeps_alive: bool


class Requests(Protocol):
    """Receives what was read: for each request its head, pieces of its body, and its end."""

    def request_begins(self, head: Head) -> None:
        """A head was read."""

    def body_comes(self, piece: bytes) -> None:
        """A piece of the body of the request that began last was read."""

    def request_ends(self) -> None:
        """That request was read to its end."""


class Reader:
    """Reads the requests of one connection and tells *requests*."""

    def __init__(self, limits: Limits, requests: Requests) -> None:
        self._limits = limits
        self._requests = requests
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: Fields = []
        self._overhead = 0  # bytes since the last piece of a body that are no body
        self._near = limits.max_head_bytes - SLICE_BYTES
        self._is_last = False
        self._refusal: Refusal | None = None  # raised by a function below, inside of the parser
        self.is_in_head = False
        self.is_over = False  # no further request is read

    def feed(self, data: bytes | memoryview) -> None:
        """Read *data*, at most ``SLICE_BYTES`` bytes.

        Raises:
            Refusal: it is not HTTP, too large, or not served here.
        """
        self._overhead += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if not self.is_over:  # bytes behind the last request are not read
                raise self._refusal_for(error) from None
        if self._overhead > 0:
            self._check_overhead()
        elif self._overhead < 0:
            self._overhead = 0

    def _parse(self, data: bytes | memoryview) -> None:
        while not self.is_over:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
            else:
                return
            head = self._head_without_offer()
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head)

    def _check_overhead(self) -> None:
        limits = self._limits
        is_too_long = self._overhead > limits.max_head_bytes
        if not self.is_over and (is_too_long or len(self._fields) > limits.max_head_fields):
            raise _too_large(limits)

    def stop(self) -> None:
        """Read no further bytes."""
        self.is_over = True
        self.is_in_head = False

    @property
    def method(self) -> str:
        """The method of the request whose head is being read; GET until it is known."""
        return self._parser.get_method().decode("ascii") if self._target else "GET"

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._target = b""
        self._fields = []
        self.is_in_head = True

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_in_head:  # it is no trailer
            self._fields.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        self.is_in_head = False
        try:
            # The count is not exact: the head may have up to a slice of bytes less.
            if self._overhead > self._near or len(self._fields) > self._limits.max_head_fields:
                self._check_head()
            self._overhead = 0
            self._take_head()
        except Refusal as refusal:
            self._refusal = refusal
            raise

    def on_body(self, piece: bytes) -> None:
        self._overhead -= 3 * len(piece) + CHUNK_OVERHEAD_BYTES
        self._requests.body_comes(piece)

    def on_message_complete(self) -> None:
        self._overhead = 0
        if self._parser.should_upgrade():
            return
        if self._is_last:
            self.stop()
        self._requests.request_ends()

    def _take_head(self) -> None:
        parser, fields = self._parser, self._fields
        method, version = parser.get_method().decode("ascii"), parser.get_http_version()
        if parser.should_upgrade():
            check_offer(method, version, fields)
            return  # it is read again
        expects_continue = check_request(version, fields)
        keeps_alive = parser.should_keep_alive()
        self._is_last = not keeps_alive
        path, query = _split(self._target)
        self._requests.request_begins(
            Head(method, path, query, version, fields, expects_continue, keeps_alive)
        )

    def _check_head(self) -> None:
        limits, fields = self._limits, self._fields
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in fields)
        if size > limits.max_head_bytes or len(fields) > limits.max_head_fields:
            raise _too_large(limits)

    def _refusal_for(self, error: httptools.HttpParserError) -> Exception:
        if self._refusal is not None:
            return self._refusal
        if isinstance(error, httptools.HttpParserCallbackError):
            return error  # a fault of ours
        return Refusal(400, f"The request is not valid HTTP: {error}.")

    def _head_without_offer(self) -> bytes:
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        kept = [b"%b: %b\r\n" % pair for pair in self._fields if pair[0] != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._target, version, b"".join(kept))


def _split(target: bytes) -> tuple[bytes, bytes]:
    if target.startswith(b"/") and b"#" not in target:
        path, _, query = target.partition(b"?")
        return path, query
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        raise Refusal(400, "The address of the request is not valid.") from None
    return url.path or b"/", url.query or b""


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        431,
        f"The head of the request is larger than {limits.max_head_bytes} bytes"
        f" or {limits.max_head_fields} fields.",
    )
