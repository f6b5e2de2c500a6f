"""What all readers of bodies have in common.

A reader is fed the chunks as they come and told of the end. Nothing that it reads makes it raise:
a body that is no answer ends the response as failed.
"""

from __future__ import annotations

from typing import Any, Protocol

from response_cache._protocol.jsontext import load
from response_cache._protocol.responses import Failure
from response_cache._protocol.sse import Decoder
from response_cache._recording.intake import UPSTREAM_DEPTH

__all__ = ("BOM", "Body", "is_success", "too_long", "value_in")

BOM = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, with which some senders begin."""


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


def value_in(content: bytes) -> Any:
    """What a whole body holds that is no stream of a response.

    It is the value of its JSON, or of the JSON in the first event that has some; else its text.
    None stands for what is neither: broken JSON, JSON that is nested too deep, bytes.
    """
    content = content.removeprefix(BOM).strip()
    decoder = Decoder()
    events = [*decoder.feed(content), *decoder.finish()]
    for candidate in (content, *(event.data for event in events)):
        try:
            return load(candidate, max_depth=UPSTREAM_DEPTH)
        except ValueError:
            continue
    try:
        return None if content.startswith((b"{", b"[")) else content.decode()
    except UnicodeDecodeError:
        return None
