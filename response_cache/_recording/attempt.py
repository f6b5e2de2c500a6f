"""One call of an upstream, as its job sees it: when it was heard, what it refuses, how it stops.

The other half is ``answer.Answer``, through which the upstream speaks. Both share the ``Traffic``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio

from response_cache._eventloop import clock
from response_cache._protocol.headers import Headers
from response_cache._protocol.ids import NO_TRANSLATION, Translation
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import BROKEN_OFF, Failure
from response_cache._recording.bodies.body import Body, is_success
from response_cache._recording.bodies.error_body import ErrorBody
from response_cache._recording.bodies.readers import reader_of
from response_cache._recording.intake import Intake

__all__ = ("Attempt", "Refusal", "Traffic")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that was no acceptance, to be handed to the client as it came."""

    status: int
    headers: Headers
    body: bytes


@dataclass(slots=True, eq=False)
class Traffic:
    """What has come of one answer. Written for each chunk, so it is a plain record."""

    limit: int  # bytes of the body, at most
    heard_at: float  # when the upstream last gave a sign of life, by the event loop's clock
    is_held: bool = False  # the upstream waits for us (back-pressure), so it can give none
    size: int = 0  # bytes of the body, as they came
    plain_until: int = -1  # up to this size a chunk that ends nothing only goes to the backlog
    is_stopped: bool = False  # nobody wants the rest


class Attempt:
    """One call of the upstream for one response. Where it refuses a stream, there is a second."""

    def __init__(
        self,
        intake: Intake,
        *,
        changed: Callable[[float], None],
        admit: Callable[[], None],
        refuse: Callable[[Refusal], bool],
        max_bytes: int,
        asks_for_stream: bool,
        translation: Translation = NO_TRANSLATION,
    ) -> None:
        """How the attempt speaks to its job.

        *changed* is called with the time when there is something to write, *admit* when the
        request is accepted, *refuse* with a whole refusal: it returns whether the client can still
        be told. An answer of more than *max_bytes* fails. With *asks_for_stream* a refusal of the
        stream alone is neither told nor recorded: see ``refused_stream``. An error is told in the
        words of *translation*.
        """
        self._intake = intake
        self._changed = changed
        self._refuse = refuse
        self._translation = translation
        self.asks_for_stream: bool = asks_for_stream
        self._headers: Headers = ()
        self._is_refusing = False
        self.admit = admit
        self.time: Callable[[], float] = clock()
        self.traffic: Traffic = Traffic(limit=max_bytes, heard_at=self.time())
        self.body: Body | None = None  # what reads the body, once status and headers are there
        self.status: int | None = None
        self.has_ended: bool = False  # the body is complete
        self.refused_stream: bool = False  # it is to be asked again, without a stream
        self.stopped: anyio.Event = anyio.Event()
        self.left: anyio.Event = anyio.Event()  # the app shall see its client go

    @property
    def heard_at(self) -> float:
        """When the upstream last gave a sign of life; while it is held back, it cannot."""
        return self.time() if self.traffic.is_held else self.traffic.heard_at

    @property
    def is_refusal(self) -> bool:
        """Whether a refusal comes in that the client may be told, or was announced."""
        if self.refused_stream:
            return False
        return self._is_refusing if self.status is None else not is_success(self.status)

    def begin(self) -> None:
        """The upstream is called now: its silence counts from here."""
        self.traffic.heard_at = self.time()

    def refusing(self) -> None:
        """A refusal is about to come in."""
        self._is_refusing = True
        self.traffic.heard_at = self.time()

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers have come."""
        self.status = status
        self._headers = tuple([(name.lower(), value) for name, value in headers])
        traffic = self.traffic
        traffic.heard_at = now = self.time()
        self.body = self._reader()
        if is_success(status):
            self.admit()
        self._changed(now)

    def finish(self) -> None:
        """The body has ended; a response that it left open has failed. May be called twice."""
        if self.has_ended or self._intake.so_far.is_over:
            return
        self.has_ended = True
        body = self.body
        if isinstance(body, ErrorBody):
            if self.asks_for_stream and body.refuses_stream:
                self.refused_stream = True
                return
            content = body.content
            if self._translation.theirs:
                body, content = self._in_our_words(content)
            if self._refuse(Refusal(self.status or 0, self._headers, content)):
                return
        if body is not None:
            body.finish()
        self.fail(BROKEN_OFF)

    def _in_our_words(self, content: bytes) -> tuple[Body, bytes]:
        """The *content* of an error with our ids in place of the upstream's, and its reader."""
        self._headers, content = self._translation.error(self._headers, content)
        body = self._reader()
        body.feed(content)
        return body, content

    def fail(self, failure: Failure) -> None:
        """The answer broke off. Nothing happens when it was complete."""
        self._intake.parse_backlog().end(Trigger.FAIL, failure)
        self._changed(self.time())

    def _reader(self) -> Body:
        """What reads a body with the status and the headers that have come."""
        status, limit = self.status or 0, self.traffic.limit
        return reader_of(self._intake, status, self._headers, limit=limit, decided=self._read_by)

    def _read_by(self, body: Body) -> None:
        self.body = body

    def stop(self) -> None:
        """Tell the upstream that nobody wants the rest."""
        self.traffic.is_stopped = True
        self.traffic.plain_until = -1
        self.stopped.set()
        self.left.set()
