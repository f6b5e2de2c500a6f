"""URLs as people may see them: in logs, messages and ``repr``, without what opens a door.

Not only well-formed ones: a password with a raw ``/``, ``?`` or ``#`` splits a URL in the wrong
places, and that mistake is when a URL is shown. So all before the last ``@`` goes, and of a query
only the values of options that are known to be harmless stay.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from response_cache.errors import ResponseCacheError

__all__ = ("explained", "redacted")

HIDDEN: Final = "***"

HARMLESS: Final = frozenset(
    (
        *("api-version", "background", "stream", "starting_after", "include_obfuscation"),
        *("include", "include[]", "limit", "after", "before", "order"),
        *("key_prefix", "max_bytes", "max_connections", "max_responses", "socket_timeout"),
        *("busy_timeout", "poll_interval", "sweep_interval", "synchronous", "tombstone_ttl"),
        *("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
    )
)
"""Names of queries, of stores and of the API, whose values are shown."""

HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(?::[0-9]{0,5})?")

URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")  # to the end: passwords may hold spaces


def explained(error: BaseException) -> str:
    """What *error* says, in one line and without secrets of URLs.

    The kind goes before the words of an exception that is not of our tree: drivers and stores of
    others may say nothing else.
    """
    words = URL.sub(lambda match: redacted(match[0]), " ".join(str(error).split()))
    if isinstance(error, (ResponseCacheError, ValueError, ImportError)):
        return words or type(error).__name__
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def redacted(url: str) -> str:
    """*url*, or only its path and query, without user, password, fragment and secret values."""
    scheme, is_absolute, rest = url.partition("://") if "://" in url else ("", "", url)
    if not rest.startswith("/"):
        rest = rest.rpartition("@")[2]
    path, has_query, query = rest.partition("#")[0].partition("?")
    if is_absolute:
        path = _authority_checked(path)
    shown = "&".join(map(_parameter, query.split("&"))) if has_query else ""
    return f"{scheme}{is_absolute}{path}{has_query}{shown}"


def _authority_checked(text: str) -> str:
    """*text* where it begins with hosts; the place of a port may hold half of a password."""
    authority, slash, path = text.partition("/")
    is_plain = all(HOST.fullmatch(host) for host in authority.split(","))
    return (authority if is_plain else HIDDEN) + slash + path


def _parameter(text: str) -> str:
    name, has_value, _ = text.partition("=")
    if not has_value:
        return HIDDEN if text else ""
    return text if unquote(name).lower() in HARMLESS else f"{name}={HIDDEN}"
