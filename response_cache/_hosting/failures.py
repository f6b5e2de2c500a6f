"""What is said when the store cannot be opened: to clients little, to operators the cause."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from response_cache._redaction import explained
from response_cache.errors import Misconfigured, ResponseCacheError, Unavailable

__all__ = ("log_not_open", "naming_the_cause", "not_open", "why_not_open")

REOPEN_DELAY: Final = 1.0  # seconds after which a client may ask again for what needs the store


def not_open() -> Unavailable:
    """The error that clients get while the store cannot be opened. It does not say why."""
    return Unavailable("The response store could not be opened.", retry_after=REOPEN_DELAY)


def why_not_open(error: BaseException) -> str:
    """What operators are told of the *error* that opening raised: one line without secrets."""
    if isinstance(error, Misconfigured):
        return explained(error)
    return f"the response store could not be opened: {explained(error)}"


def log_not_open(log: logging.Logger, error: BaseException) -> None:
    """Log why. A traceback is added to an *error* that is not ours: its text may say too little."""
    is_ours = isinstance(error, ResponseCacheError)
    log.error("%s", why_not_open(error), exc_info=None if is_ours else error)


@contextmanager
def naming_the_cause() -> Iterator[None]:
    """For operators who open the store now: an ``Unavailable`` gets its cause as its message."""
    try:
        yield
    except Unavailable as error:
        if error.__cause__ is None:
            raise
        raise Unavailable(why_not_open(error.__cause__), retry_after=REOPEN_DELAY) from None
