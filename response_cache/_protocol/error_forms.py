"""The forms in which servers say what went wrong, read as one.

An error may be the whole body of an HTTP error, an event of a stream, or a field of a failed
response. Whatever it is wrapped in, it has a message and often a code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from response_cache._protocol.responses import Failure

__all__ = ("MAX_TEXT", "failure_in")

MAX_TEXT: Final = 1000
"""Characters of a plain text that are kept as the message."""

_WRAPPERS: Final = ("error", "errors", "detail", "details", "response", "fault", "exception")
_MESSAGES: Final = ("message", "msg", "detail", "error_description", "title", "reason")
_MAX_DEPTH: Final = 6


def failure_in(body: object, code: str = "server_error") -> Failure | None:
    """The error that *body* tells, or None if it tells none.

    *body* is anything that a JSON parser returns, or text that is no JSON. *code* is the failure's
    where the error has no code in words.
    """
    if isinstance(body, str):
        text = _plain(body)
        return Failure(text, code) if text else None
    for error in _errors_in(body, 0):
        if message := _message(error):
            return Failure(message, _code(error) or code)
    return None


def _errors_in(body: object, depth: int) -> Iterator[Any]:
    """What may be the error, the innermost first."""
    if depth == _MAX_DEPTH:
        return
    if isinstance(body, list):
        for entry in body[:1]:
            yield from _errors_in(entry, depth + 1)
    elif isinstance(body, dict):
        for name in _WRAPPERS:
            yield from _errors_in(body.get(name), depth + 1)
        yield body


def _message(error: Any) -> str | None:
    for name in (*_MESSAGES, *_WRAPPERS):
        if isinstance(error.get(name), str) and (text := _plain(error[name])):
            return text
    return None


def _code(error: Any) -> str | None:
    """The error's code where it is a word: some repeat the HTTP status there."""
    word = error.get("code")
    return word if isinstance(word, str) and word and not word.isdigit() else None


def _plain(text: str) -> str | None:
    """*text*, cut to a length that fits a message; None for markup and nothing."""
    text = text.strip()
    return None if not text or text.startswith("<") else text[:MAX_TEXT]
