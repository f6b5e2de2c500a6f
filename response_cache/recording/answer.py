"""What an upstream answers to one job: status, headers and body, turned into recorded events.

An adapter feeds it from whatever it wraps. The body may be an event stream in any chunking, a
Response object, an error, compressed or not, or nothing at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import anyio.lowlevel

from response_cache.eventloop import clock
from response_cache.protocol.content_coding import Inflate
from response_cache.protocol.headers import Headers
from response_cache.protocol.jsontext import load
from response_cache.protocol.lifecycle import Status, Trigger
from response_cache.protocol.responses import BROKEN_OFF, Failure
from response_cache.recording.intake import (
    MAX_BACKLOG_BYTES,
    SHORTEST_TERMINAL_EVENT,
    TERMINAL_MARKER,
    UPSTREAM_DEPTH,
    Intake,
)
from response_cache.recording.timers import Timers

__all__ = ("Answer", "Refusal", "Upstream", "UpstreamStopped")


class UpstreamStopped(OSError):
    """Nobody wants the rest of this answer: the response was cancelled, deleted or limited.

    An ``OSError``, as a server raises for a client that has gone (ASGI specification, HTTP).
    """


class Upstream(Protocol):
    """What really answers. Called once for each response, with the body to send it.

    It returns when the answer has ended, raises what went wrong, and is cancelled when it must
    stop. Before that ``answer.stopped`` is set, and ``answer.write`` and ``answer.relay`` raise
    ``UpstreamStopped``.
    """

    async def __call__(self, body: bytes, answer: Answer, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that was no acceptance, to be handed to the client as it came."""

    status: int
    headers: Headers
    body: bytes


class _Body(Protocol):
    def feed(self, chunk: bytes) -> None: ...

    def finish(self) -> None: ...


class Answer:
    """The upstream's answer to one job, while it comes in."""

    def __init__(
        self,
        intake: Intake,
        *,
        changed: Callable[[float], None],
        wait_for_capacity: Callable[[], Awaitable[None]],
        admit: Callable[[], None],
        refuse: Callable[[Refusal], bool],
        timers: Timers,
        buffer_bytes: int,
        max_bytes: int,
    ) -> None:
        """How the answer speaks to its job.

        *changed* is called with the time when there is something to write, *admit* when the
        request is accepted, *refuse* with a whole refusal: it returns whether the client can still
        be told. *timers* are those that *changed* may fire early when a chunk comes.
        """
        self._intake = intake
        self._changed = changed
        self._wait_for_capacity = wait_for_capacity
        self._admit = admit
        self._refuse = refuse
        self._timers = timers
        self._is_held = False
        self._time = clock()
        self._heard_at = self._time()
        self._buffer_bytes = buffer_bytes
        self._max_bytes = max_bytes
        self._bytes = 0
        self._plain_until = -1  # bytes up to which chunks that end nothing are only put aside
        self._backlog = intake.backlog
        self._yield_at = MAX_BACKLOG_BYTES
        self._body: _Body | None = None
        self._inflate: Inflate | None = None
        self._headers: Headers = ()
        self.status: int | None = None
        self.has_ended = False  # the body is complete
        self.stopped = anyio.Event()
        self.left = anyio.Event()  # the app shall see its client go: stopped, or it has everything
        self._is_stopped = False  # the same, where it is asked for each chunk

    @property
    def id(self) -> str:
        """The id of the response that this answers."""
        return self._intake.so_far.id

    @property
    def heard_at(self) -> float:
        """When the upstream last gave a sign of life; while it is held back, it cannot."""
        return self._time() if self._is_held else self._heard_at

    def begin(self) -> None:
        """The upstream is called now: its silence counts from here."""
        self._heard_at = self._time()

    @property
    def is_refusal(self) -> bool:
        """Whether the status says that the upstream will not answer."""
        return self.status is not None and not 200 <= self.status < 300

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status line and headers have come."""
        self.status = status
        self._headers = tuple((name.lower(), value) for name, value in headers)
        self._heard_at = now = self._time()
        encoding = self._header(b"content-encoding")
        if encoding not in (b"", b"identity"):
            self._inflate = Inflate(encoding.decode("latin-1"), self._max_bytes)
        self._body = self._body_for(self._header(b"content-type"))
        if not self.is_refusal:
            self._admit()
        self._changed(now)

    def stop(self) -> None:
        """Tell the upstream that nobody wants the rest."""
        self._is_stopped = True
        self._plain_until = -1
        self.stopped.set()
        self.left.set()

    def require_wanted(self) -> None:
        """Raise ``UpstreamStopped`` when the rest is not wanted."""
        if self._is_stopped:
            raise UpstreamStopped("the response was ended")

    def admitted(self) -> None:
        """The upstream has accepted the request, though its headers have not come yet."""
        self._admit()

    def note(self, name: str, value: Any) -> None:
        """Keep something about the run as JSON: for operators (``RecordView.notes``), not clients.

        It is stored with the next events, so what comes after the terminal one is too late: it is
        dropped. A later value of the same name replaces the earlier.
        """
        if not self._intake.so_far.is_over:
            self._intake.so_far.note(name, value)

    async def relay(self, chunks: AsyncIterable[bytes]) -> None:
        """Write each of *chunks* as it comes, which costs less than to call ``write`` for each.

        What is left of them when it raises is the caller's to close.

        Raises:
            UpstreamStopped: the rest is not wanted.
        """
        async for chunk in chunks:
            if not self._put_in_backlog(chunk):
                await self._write(chunk)

    async def write(self, chunk: bytes) -> None:
        """A piece of the body. Waits while the store is behind by more than the buffer.

        Raises:
            UpstreamStopped: the rest is not wanted.
        """
        if not self._put_in_backlog(chunk):
            await self._write(chunk)

    def _put_in_backlog(self, chunk: bytes) -> bool:
        """Whether *chunk* ends nothing and was only put aside.

        Little else is done so often, and mostly by a process that has just woken up for it. For
        bytes, ``partition`` finds faster than ``in`` and ``find``, which spend it on arguments.
        """
        length = len(chunk)
        size = self._bytes + length
        if size > self._plain_until or (
            length > SHORTEST_TERMINAL_EVENT and chunk.partition(TERMINAL_MARKER)[1]
        ):
            return False
        self._bytes = size
        self._heard_at = now = self._time()
        is_first = not self._backlog
        self._backlog.append(chunk)
        if is_first or now >= self._timers.earliest:
            self._changed(now)
        return True

    def finish(self) -> None:
        """The body has ended; a response that it left open has failed. May be called twice."""
        if self.has_ended or self._intake.so_far.is_over:
            return
        self.has_ended = True
        if isinstance(self._body, _Error):
            refusal = Refusal(self.status or 0, self._headers, self._body.content)
            if self._refuse(refusal):
                return
        if self._body is not None:
            self._body.finish()
        self.fail(BROKEN_OFF)

    def fail(self, failure: Failure) -> None:
        """The answer broke off."""
        self._intake.parse_backlog().end(Trigger.FAIL, failure)
        self._changed(self._time())

    async def _write(self, chunk: bytes) -> None:
        """The same with every question asked."""
        if self._is_stopped:
            self.require_wanted()
        self._heard_at = now = self._time()
        body, intake = self._body, self._intake
        if intake.so_far.is_over or body is None:
            await anyio.lowlevel.checkpoint()  # whoever is about to stop it must get to it
            return
        self._bytes += len(chunk)
        if self._inflate is None and self._bytes <= self._max_bytes:
            body.feed(chunk)
        else:
            self._take(chunk, body)
        self._changed(now)
        self._plain_until = -1
        if body is intake and self._inflate is None and intake.so_far.status is Status.IN_PROGRESS:
            stride = min(MAX_BACKLOG_BYTES, self._buffer_bytes)
            self._plain_until = min(self._bytes + stride, self._max_bytes)
        if intake.pending_bytes > self._buffer_bytes:
            await self._hold()
        elif self._bytes >= self._yield_at:
            self._yield_at = self._bytes + MAX_BACKLOG_BYTES
            await anyio.lowlevel.checkpoint()

    async def _hold(self) -> None:
        self._is_held = True
        try:
            await self._wait_for_capacity()
        finally:
            self._is_held = False
            self._heard_at = self._time()

    def _take(self, chunk: bytes, body: _Body) -> None:
        size = self._bytes
        if self._inflate is not None and not isinstance(body, _Error):
            try:
                chunk = self._inflate.feed(chunk)
            except ValueError as error:
                self.fail(Failure(str(error)))
                return
            size = max(size, self._inflate.given)
        if size > self._max_bytes:
            self.fail(Failure(f"The upstream's answer is longer than {self._max_bytes} bytes."))
        else:
            body.feed(chunk)

    def _body_for(self, content_type: bytes) -> _Body:
        kind = content_type.partition(b";")[0].strip().lower()
        if self.is_refusal:
            return _Error(self._intake, self.status or 0, self._inflate)
        if kind == b"text/event-stream":
            return self._intake
        if kind == b"application/json" or kind.endswith(b"+json"):
            return _Document(self._intake)
        return _Unnamed(self._intake)

    def _header(self, name: bytes) -> bytes:
        for key, value in self._headers:
            if key == name:
                return value.strip().lower()
        return b""


class _Document:
    """A Response object: recorded as the events that it would have been streamed as."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._pieces: list[bytes] = []
        intake.parse_backlog().start()

    def feed(self, chunk: bytes) -> None:
        self._pieces.append(chunk)

    def finish(self) -> None:
        try:
            response = load(b"".join(self._pieces), max_depth=UPSTREAM_DEPTH)
        except ValueError:
            self._intake.parse_backlog().end(Trigger.FAIL, NO_RESPONSE)
            return
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            self._intake.parse_backlog().end(Trigger.FAIL, _failure_in(response) or NO_RESPONSE)
            return
        self._intake.parse_backlog().answer(response)


class _Unnamed:
    """A body without a content type that says what it is: the first bytes decide."""

    _EVENT_STREAM = (b"data", b"event", b"id:", b"retry", b":")

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._first = b""
        self._body: _Body | None = None

    def feed(self, chunk: bytes) -> None:
        if self._body is None:
            self._first += chunk
            start = self._first.removeprefix(b"\xef\xbb\xbf").lstrip()
            if len(start) < 5:
                return
            is_stream = start.startswith(self._EVENT_STREAM)
            self._body = self._intake if is_stream else _Document(self._intake)
            chunk, self._first = self._first, b""
        self._body.feed(chunk)

    def finish(self) -> None:
        if self._body is not None:
            self._body.finish()


class _Error:
    """An HTTP error: a refusal before admission, the response's failure after it."""

    def __init__(self, intake: Intake, status: int, inflate: Inflate | None) -> None:
        self._intake = intake
        self._status = status
        self._inflate = inflate
        self._pieces: list[bytes] = []

    @property
    def content(self) -> bytes:  # as it came: a refusal is relayed with its encoding
        return b"".join(self._pieces)

    def feed(self, chunk: bytes) -> None:
        self._pieces.append(chunk)

    def finish(self) -> None:
        self._intake.parse_backlog().end(Trigger.FAIL, self._failure())

    def _failure(self) -> Failure:
        code = "rate_limit_exceeded" if self._status == 429 else "server_error"
        plain = Failure(f"The upstream answered with HTTP status {self._status}.", code)
        try:
            content = self._inflate.feed(self.content) if self._inflate else self.content
            return _failure_in(load(content), code) or plain
        except ValueError:
            return plain


NO_RESPONSE: Final = Failure("The upstream's answer is not a Response object.")


def _failure_in(body: object, code: str = "server_error") -> Failure | None:
    """The provider's own code and message, when *body* is an error of the API's shape."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    own = error.get("code")
    if isinstance(own, str) and own and not own.isdigit():  # some repeat the HTTP status there
        code = own
    return Failure(error["message"], code)
