"""What reads the body of an upstream's answer: one class for each kind of body.

    text/event-stream ────────────────> the intake itself
    JSON ─────────────────────────────> Document
    no content type, or another one ──> Unnamed: the first bytes say which of the two it is
    any body with a content-encoding ─> Compressed, around one of these
    status outside 200 to 299 ────────> ErrorBody

A reader is fed the chunks as they come and told of the end. Nothing that it reads makes it raise:
a body that is no answer ends the response as failed.
"""

from __future__ import annotations

from typing import Final, Protocol

from response_cache._protocol.content_coding import Inflate
from response_cache._protocol.headers import Headers
from response_cache._protocol.jsontext import load
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._recording.intake import UPSTREAM_DEPTH, Intake

__all__ = ("Body", "ErrorBody", "is_success", "reader_of", "too_long")

NO_RESPONSE: Final = Failure("The upstream's answer is not a Response object.")


class Body(Protocol):
    """Reads one body."""

    def feed(self, chunk: bytes) -> None:
        """Take the next piece, cut anywhere."""
        ...

    def finish(self) -> None:
        """The body has ended. Whether the response is over then depends on the body."""
        ...


def is_success(status: int) -> bool:
    """Whether an HTTP status says that the request is accepted (RFC 9110, section 15.3)."""
    return 200 <= status < 300


def too_long(limit: int) -> Failure:
    """The failure of an answer of more than *limit* bytes."""
    return Failure(f"The upstream's answer is longer than {limit} bytes.")


def reader_of(intake: Intake, status: int, headers: Headers, *, limit: int) -> Body:
    """What reads the body of an answer with *status* and *headers*, whose names are in lower case.

    At most *limit* bytes are unpacked of a compressed body.
    """
    kind = coding = b""
    for name, value in reversed(headers):  # of a field that comes twice the first one counts
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            coding = value.strip().lower()
    inflate = None
    if coding not in (b"", b"identity"):
        inflate = Inflate(coding.decode("latin-1"), limit)
    if not is_success(status):
        return ErrorBody(intake, status, inflate)
    body = _named(intake, kind)
    return body if inflate is None else Compressed(intake, body, inflate, limit)


def _named(intake: Intake, kind: bytes) -> Body:
    if kind == b"text/event-stream":
        return intake
    if kind == b"application/json" or kind.endswith(b"+json"):
        return Document(intake)
    return Unnamed(intake)


class Document:
    """A Response object: recorded as the events that it would have been streamed as."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._pieces: list[bytes] = []
        intake.parse_backlog().start()

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        self._pieces.append(chunk)

    def finish(self) -> None:
        """Record the answer. The response is over then."""
        recorder = self._intake.parse_backlog()
        try:
            response = load(b"".join(self._pieces), max_depth=UPSTREAM_DEPTH)
        except ValueError:
            recorder.end(Trigger.FAIL, NO_RESPONSE)
            return
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            recorder.end(Trigger.FAIL, _failure_in(response) or NO_RESPONSE)
            return
        recorder.answer(response)


class Unnamed:
    """A body without a content type that says what it is: the first bytes decide."""

    _EVENT_STREAM = (b"data", b"event", b"id:", b"retry", b":")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._first = b""
        self._body: Body | None = None

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        if self._body is None:
            self._first += chunk
            start = self._first.removeprefix(b"\xef\xbb\xbf").lstrip()
            if len(start) < 5:
                return
            is_stream = start.startswith(self._EVENT_STREAM)
            self._body = self._intake if is_stream else Document(self._intake)
            chunk, self._first = self._first, b""
        self._body.feed(chunk)

    def finish(self) -> None:
        """See ``Body``. A body that is too short to be told is left open."""
        if self._body is not None:
            self._body.finish()


class Compressed:
    """A body with a content-encoding (RFC 9110, section 8.4), unpacked for the reader inside."""

    def __init__(self, intake: Intake, body: Body, inflate: Inflate, limit: int) -> None:
        """The response fails when *body* would get more than *limit* bytes."""
        self._intake = intake
        self._body = body
        self._inflate = inflate
        self._limit = limit

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        try:
            plain = self._inflate.feed(chunk)
        except ValueError as error:
            self._fail(Failure(str(error)))
            return
        if self._inflate.given > self._limit:
            self._fail(too_long(self._limit))
        else:
            self._body.feed(plain)

    def finish(self) -> None:
        """See ``Body``."""
        self._body.finish()

    def _fail(self, failure: Failure) -> None:
        self._intake.parse_backlog().end(Trigger.FAIL, failure)


class ErrorBody:
    """The body of an HTTP error: a refusal before admission, the response's failure after it."""

    def __init__(self, intake: Intake, status: int, inflate: Inflate | None) -> None:
        self._intake = intake
        self._status = status
        self._inflate = inflate
        self._pieces: list[bytes] = []

    @property
    def content(self) -> bytes:
        """The body as it came: a refusal is relayed with its content-encoding."""
        return b"".join(self._pieces)

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        self._pieces.append(chunk)

    def finish(self) -> None:
        """End the response as failed, for the reason that the body gives."""
        self._intake.parse_backlog().end(Trigger.FAIL, self._failure())

    def _failure(self) -> Failure:
        code = "rate_limit_exceeded" if self._status == 429 else "server_error"
        plain = Failure(f"The upstream answered with HTTP status {self._status}.", code)
        try:
            content = self._inflate.feed(self.content) if self._inflate else self.content
            return _failure_in(load(content), code) or plain
        except ValueError:
            return plain


def _failure_in(body: object, code: str = "server_error") -> Failure | None:
    """The provider's own code and message, when *body* is an error of the API's shape."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    own = error.get("code")
    if isinstance(own, str) and own and not own.isdigit():  # some repeat the HTTP status there
        code = own
    return Failure(error["message"], code)
