"""A body with a content-encoding (RFC 9110, section 8.4)."""

from __future__ import annotations

from response_cache._protocol.content_coding import Inflate
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._recording.bodies.body import Body, too_long
from response_cache._recording.bodies.undecided import Undecided
from response_cache._recording.intake import Intake

__all__ = ("Compressed",)


class Compressed:
    """Unpacks the body for the reader inside."""

    def __init__(self, intake: Intake, kind: bytes, coding: str, limit: int) -> None:
        """The response fails when more than *limit* bytes are unpacked, or none can be.

        *kind* is the content type in lower case.
        """
        self._intake = intake
        self._body: Body = Undecided(intake, kind, self._decided)
        self._inflate = Inflate(coding, limit)
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

    def _decided(self, body: Body) -> None:
        self._body = body

    def _fail(self, failure: Failure) -> None:
        self._intake.parse_backlog().end(Trigger.FAIL, failure)
