"""A body whose first bytes are still to come: they decide whether it is an event stream or JSON.

Labels are wrong too often: a gateway keeps the content type of JSON for a stream, or that of a
stream for an error. JSON cannot begin as an event stream does (HTML Living Standard, 9.2.6), nor an
event stream as an object, a list or a text of JSON. The label counts for all other beginnings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from response_cache._recording.bodies.body import BOM, Body
from response_cache._recording.bodies.document import Document
from response_cache._recording.intake import Intake

__all__ = ("Undecided",)

_BLANK: Final = re.compile(rb"(?:%s|\s)*" % BOM)
_FIELDS: Final = (b"data", b"event", b"id", b"retry")
_STREAM: Final = re.compile(rb":|(?:%s)[:\r\n]" % b"|".join(_FIELDS))
_JSON: Final = (b"{", b"[", b'"')


class Undecided:
    """Keeps what comes until it is clear what reads the body, and hands it to that reader."""

    def __init__(self, intake: Intake, kind: bytes, decided: Callable[[Body], None]) -> None:
        """*kind* is the content type in lower case. *decided* is told what reads the body."""
        self._intake = intake
        self._kind = kind
        self._decided = decided
        self._first = b""

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        self._first = _BLANK.sub(b"", self._first + chunk, count=1)
        if _STREAM.match(self._first):
            self._become(self._intake)
        elif self._first.startswith(_JSON):
            self._become(Document(self._intake))
        elif not any(word.startswith(self._first) for word in (BOM, *_FIELDS)):
            self._become(self._labelled())

    def finish(self) -> None:
        """See ``Body``. A body without a byte and without a label is left open."""
        if self._first or self._kind:
            self._become(self._labelled()).finish()

    def _labelled(self) -> Body:
        is_stream = self._kind == b"text/event-stream"
        return self._intake if is_stream else Document(self._intake)

    def _become(self, body: Body) -> Body:
        self._decided(body)
        body.feed(self._first)
        return body
