"""What the driver and the server complain of, in the words of the store contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from redis import exceptions

from response_cache.errors import StoreFull, StoreUnavailable

__all__ = ("TROUBLE", "Doing", "cause", "said", "translated")

Doing: TypeAlias = tuple[str, *tuple[str | int, ...]]
"""What an error says that we were doing: words and the values in them, mostly for nobody."""

TROUBLE: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)
"""Everything that may be raised where a server is asked and does not answer as it should."""

# The first row that fits says what is wrong; what fits none is named by its class.
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

# Codes that have no class in the driver, or come wrapped into the error of a script (before 7.0).
CODES: Final[Mapping[str, str]] = {
    "NOAUTH": REASONS[exceptions.AuthenticationError],
    "unauthenticated": REASONS[exceptions.AuthenticationError],  # said of many arguments at once
    "NOPERM": REASONS[exceptions.NoPermissionError],
    "READONLY": REASONS[exceptions.ReadOnlyError],
    "MISCONF": "it cannot save its data, and takes no writes",
    "NOREPLICAS": "it has fewer replicas than it needs to take writes",
}

_FULL: Final = "OOM command not allowed"  # wrapped as well
_REPEATED: Final = "with args beginning with"  # what a server says of a command that it lacks


def translated(error: BaseException, doing: Doing) -> StoreUnavailable:
    """The error of the contract for *error*, which came up while *doing* something."""
    if isinstance(error, exceptions.OutOfMemoryError) or _FULL in str(error):
        return StoreFull(f"cannot {said(doing)}: the Redis server has reached maxmemory")
    return StoreUnavailable(f"cannot {said(doing)}: Redis does not serve us: {_reason(error)}")


def cause(error: BaseException) -> BaseException:
    """*error*, or its kind alone where it repeats what it was asked: a password, or content."""
    link: BaseException | None = error
    while link is not None:
        if _REPEATED in str(link):
            return type(error)("a command that it does not know")
        link = link.__cause__ or link.__context__
    return error


def said(doing: Doing) -> str:
    """*doing* as words."""
    words, *values = doing
    return words % tuple(values)


def _reason(error: BaseException) -> str:
    text = str(error)
    for code, reason in CODES.items():
        if code in text:
            return reason
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, exceptions.ResponseError):
        return text.partition(" ")[0]  # its code: the rest may name what it was asked
    return f"{type(error).__name__}: {text}" if cause(error) is error else type(error).__name__
