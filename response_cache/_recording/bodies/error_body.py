"""The body of an HTTP error: a refusal before admission, the response's failure after it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from response_cache._protocol.content_coding import Inflate
from response_cache._protocol.error_forms import failure_in
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._recording.bodies.body import value_in
from response_cache._recording.bodies.stream_refusals import refuses_stream
from response_cache._recording.intake import Intake

__all__ = ("ErrorBody",)


class ErrorBody:
    """Keeps the body until it is whole."""

    def __init__(self, intake: Intake, status: int, coding: str, limit: int) -> None:
        """At most *limit* bytes are unpacked."""
        self._intake = intake
        self._status = status
        self._inflate = Inflate(coding, limit) if coding else None
        self._pieces: list[bytes] = []

    @property
    def content(self) -> bytes:
        """The body as it came: a refusal is relayed with its content-encoding."""
        return b"".join(self._pieces)

    @property
    def refuses_stream(self) -> bool:
        """Whether the whole body says that this request could be answered, but not as a stream."""
        return refuses_stream(self._status, self._value)

    def feed(self, chunk: bytes) -> None:
        """See ``Body``."""
        self._pieces.append(chunk)

    def finish(self) -> None:
        """End the response as failed, for the reason that the body gives."""
        code = "rate_limit_exceeded" if self._status == 429 else "server_error"
        plain = Failure(f"The upstream answered with HTTP status {self._status}.", code)
        failure = failure_in(self._value, code) or plain
        self._intake.parse_backlog().end(Trigger.FAIL, failure)

    @cached_property
    def _value(self) -> Any:
        """What the whole body holds, see ``value_in``."""
        try:
            return value_in(self._inflate.feed(self.content) if self._inflate else self.content)
        except ValueError:
            return None
