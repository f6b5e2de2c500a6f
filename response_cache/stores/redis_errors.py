"""What the driver and the server complain of, in the words of the store contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redis import exceptions

from response_cache.errors import StoreFull, StoreUnavailable

__all__ = ("TROUBLE", "translated")

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

_UNAUTHENTICATED: Final = "NOAUTH"
_FULL: Final = "OOM command not allowed"  # servers before 7 wrap it into the error of the script


def translated(error: BaseException, doing: str) -> StoreUnavailable:
    """The error of the contract for *error*, which came up while *doing* something."""
    if isinstance(error, exceptions.OutOfMemoryError) or _FULL in str(error):
        return StoreFull(f"cannot {doing}: the Redis server has reached maxmemory")
    return StoreUnavailable(f"cannot {doing}: Redis does not serve us: {_reason(error)}")


def _reason(error: BaseException) -> str:
    if _UNAUTHENTICATED in str(error):
        return REASONS[exceptions.AuthenticationError]
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, exceptions.ResponseError):
        return str(error).partition(" ")[0] or type(error).__name__
    return f"{type(error).__name__}: {error}"
