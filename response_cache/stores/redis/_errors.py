"""Errors of redis-py and of the server, translated into the errors of the store contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from redis import exceptions

from response_cache.errors import StoreFull, StoreUnavailable

__all__ = ("DRIVER_ERRORS", "Attempt", "formatted", "safe_cause", "translated")

Attempt: TypeAlias = tuple[str, *tuple[str | int, ...]]
"""What was attempted, for error messages: a format string and its values."""

DRIVER_ERRORS: Final = (
    exceptions.RedisError,
    exceptions.RedisClusterException,
    OSError,
    TimeoutError,
)
"""All errors of redis-py and asyncio for a server that does not answer as it should."""

# The first row that fits gives the reason; an error that fits no row is named by its class.
# fmt: off
REASONS: Final[Mapping[type[BaseException], str]] = {
    exceptions.AuthenticationWrongNumberOfArgsError: "it does not take these credentials",
    exceptions.AuthenticationError: "it refuses the credentials",
    exceptions.AuthorizationError:  "it refuses the credentials",
    exceptions.NoPermissionError:   "its access rules forbid what the store needs",
    exceptions.BusyLoadingError:    "it is loading its data",
    exceptions.ReadOnlyError:       "it is a read-only replica",
    exceptions.MaxConnectionsError: "all connections are in use",
    exceptions.MasterDownError:     "its primary is down",
    exceptions.ClusterDownError:    "the cluster is down",
    exceptions.SlotNotCoveredError: "no node of the cluster serves the key",
    exceptions.AskError:            "the key is on another node (a cluster needs redis+cluster://)",
    exceptions.TimeoutError:        "it does not answer in time",
    TimeoutError:                   "it does not answer in time",
}
# fmt: on

# Error codes without a class in redis-py, or inside of a script's error (servers before 7.0).
CODES: Final[Mapping[str, str]] = {
    "NOAUTH": REASONS[exceptions.AuthenticationError],
    "unauthenticated": REASONS[exceptions.AuthenticationError],  # the answer to a long command
    "NOPERM": REASONS[exceptions.NoPermissionError],
    "READONLY": REASONS[exceptions.ReadOnlyError],
    "MISCONF": "it cannot save its data, and takes no writes",
    "NOREPLICAS": "it has fewer replicas than it needs to take writes",
}

_FULL: Final = "OOM command not allowed"  # may stand inside of a script's error, too
_REPEATED: Final = "with args beginning with"  # of an unknown command, which the server repeats


def translated(error: BaseException, attempt: Attempt) -> StoreUnavailable:
    """The store contract's error for *error*, which was raised during *attempt*."""
    if isinstance(error, exceptions.OutOfMemoryError) or _FULL in str(error):
        return StoreFull(f"cannot {formatted(attempt)}: the Redis server has reached maxmemory")
    return StoreUnavailable(
        f"cannot {formatted(attempt)}: Redis does not serve us: {_reason(error)}"
    )


def safe_cause(error: BaseException) -> BaseException:
    """*error*, without its text where the text repeats a command: a password may be in it."""
    link: BaseException | None = error
    while link is not None:
        if _REPEATED in str(link):
            return type(error)("a command that it does not know")
        link = link.__cause__ or link.__context__
    return error


def formatted(attempt: Attempt) -> str:
    """*attempt* as text."""
    text, *values = attempt
    return text % tuple(values)


def _reason(error: BaseException) -> str:
    text = str(error)
    for code, reason in CODES.items():
        if code in text:
            return reason
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, exceptions.ResponseError):
        return text.partition(" ")[0]  # the code alone: the rest may repeat the command
    return f"{type(error).__name__}: {text}" if safe_cause(error) is error else type(error).__name__
