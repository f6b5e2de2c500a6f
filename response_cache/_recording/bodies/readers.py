"""Which reader the body of an answer gets, by its status and headers.

status outside 200 to 299 ─────> ErrorBody
with a content-encoding ───────> Compressed, around what follows
anything else ─────────────────> Undecided: the first bytes say which of the two it is
    an event stream ───────────> the intake itself
    JSON ──────────────────────> Document
"""

from __future__ import annotations

from collections.abc import Callable

from response_cache._protocol.content_coding import coding_in
from response_cache._protocol.headers import Headers
from response_cache._recording.bodies.body import Body, is_success
from response_cache._recording.bodies.compressed import Compressed
from response_cache._recording.bodies.error_body import ErrorBody
from response_cache._recording.bodies.undecided import Undecided
from response_cache._recording.intake import Intake

__all__ = ("reader_of",)


def reader_of(
    intake: Intake,
    status: int,
    headers: Headers,
    *,
    limit: int,
    decided: Callable[[Body], None],
) -> Body:
    """What reads the body of an answer with *status* and *headers*, whose names are in lower case.

    *decided* is called when another reader takes its place. At most *limit* bytes are unpacked of a
    compressed body.
    """
    coding = coding_in(value for name, value in headers if name == b"content-encoding")
    if not is_success(status):
        return ErrorBody(intake, status, coding, limit)
    labels = (value for name, value in headers if name == b"content-type")
    kind = next(labels, b"").partition(b";")[0].strip().lower()
    if coding:
        return Compressed(intake, kind, coding, limit)
    return Undecided(intake, kind, decided)
