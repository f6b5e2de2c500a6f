"""Where responses are kept, and how a URL names the place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from response_cache.options import DialectName
from response_cache.store import Store

__all__ = ("store_from_url", "store_of")

KEY_PREFIXES: Final[Mapping[DialectName, str]] = {"litellm": "litellm:polling:response:"}


def store_from_url(url: str, *, dialect: DialectName = "openai") -> Store:
    """The store that *url* names, not opened yet, with the options in its query.

    ``memory://?max_bytes=…&max_responses=…&tombstone_ttl=…`` is the memory of this process.
    ``redis://…``, ``redis+sentinel://…``, ``redis+cluster://…`` are in ``redis_urls``.
    ``sqlite:///relative.db`` and ``sqlite:////absolute.db`` are files for the processes of one
    machine, with the options that ``docs/sqlite.md`` lists.
    In LiteLLM's *dialect* the keys of Redis begin as LiteLLM's own unless the URL says how.
    No message repeats the URL or a value from it: there may be a password in it.

    Raises:
        ValueError: the scheme or an option is unknown, or a value is not of its type.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("the store URL cannot be parsed") from None
    if parts.scheme not in LOADERS:
        raise ValueError(f"unknown scheme of a store URL; known are {_listed(LOADERS)}")
    return LOADERS[parts.scheme](parts, dialect)


def store_of(store: Store | str, *, dialect: DialectName = "openai") -> Store:
    """*store* itself, or the one that a URL names.

    Raises:
        ValueError: it is neither, or as ``store_from_url`` does; one kind for all mistakes.
    """
    if isinstance(store, str):
        return store_from_url(store, dialect=dialect)
    if not callable(getattr(store, "open", None)):  # such as None: a variable that is not set
        kind = type(store).__name__
        raise ValueError(f"store must be a store or its URL, not {kind}")  # noqa: TRY004 - see above
    return store


def _memory(url: SplitResult, _dialect: DialectName) -> Store:
    from response_cache.stores.memory import MemoryStore

    if url.netloc or url.path or url.fragment:
        raise ValueError("a memory:// URL has neither host nor path, only options")
    options = {"max_bytes": _whole, "max_responses": _whole, "tombstone_ttl": _seconds}
    return MemoryStore(**_read_options(url, options))


def _sqlite(url: SplitResult, _dialect: DialectName) -> Store:
    from response_cache.stores.sqlite._store import SQLiteStore

    path = unquote(url.path.removeprefix("/"))
    if url.netloc or url.fragment or not path:
        raise ValueError("a sqlite URL is sqlite:///relative.db or sqlite:////absolute.db")
    options = {
        "synchronous": _synchronous,
        "tombstone_ttl": _seconds,
        "poll_interval": _seconds,
        "busy_timeout": _seconds,
        "sweep_interval": _seconds,
        "max_bytes": _whole,
    }
    return SQLiteStore(path, **_read_options(url, options))


def _redis(url: SplitResult, dialect: DialectName) -> Store:
    from response_cache.stores.redis._store import RedisStore
    from response_cache.stores.redis._urls import servers_at

    of_connections: dict[str, Callable[[str], Any]] = {
        "max_connections": _whole,
        "socket_timeout": _seconds,
        "ssl_ca_certs": str,
        "ssl_certfile": str,
        "ssl_keyfile": str,
    }
    given = _read_options(url, {"key_prefix": str, "tombstone_ttl": _seconds, **of_connections})
    connecting = {name: given[name] for name in of_connections if name in given}
    of_store = {name: given[name] for name in given if not name.startswith("ssl_")}
    if dialect in KEY_PREFIXES:
        of_store.setdefault("key_prefix", KEY_PREFIXES[dialect])
    return RedisStore(servers_at(url, **connecting), **of_store)


# Each loader imports its own store: a driver is needed only by those who name it.
LOADERS: Final[Mapping[str, Callable[[SplitResult, DialectName], Store]]] = {
    "memory": _memory,
    "redis": _redis,
    "redis+cluster": _redis,
    "redis+sentinel": _redis,
    "rediss": _redis,
    "rediss+cluster": _redis,
    "rediss+sentinel": _redis,
    "sqlite": _sqlite,
}


def _read_options(url: SplitResult, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The options in the query, each read by its own function of *known*."""
    options: dict[str, Any] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"unknown option in a {url.scheme}:// URL; known are {_listed(known)}")
        if name in options:
            raise ValueError(f"{name} stands twice in the {url.scheme}:// URL")
        try:
            options[name] = known[name](value)
        except ValueError as error:
            raise ValueError(f"{name} in the {url.scheme}:// URL must be {error}") from None
    return options


def _whole(value: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,17}", value):
        raise ValueError("a whole number above 0")
    return int(value)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError("a number of seconds above 0")
    return seconds


def _synchronous(value: str) -> str:
    if value.upper() not in ("NORMAL", "FULL"):
        raise ValueError("NORMAL or FULL")
    return value.upper()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
