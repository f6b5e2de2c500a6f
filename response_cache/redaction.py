"""URLs as people may see them: in logs, messages and ``repr``, without what opens a door.

Not only well-formed ones: a password with a raw ``/``, ``?`` or ``#`` splits a URL in the wrong
places, and that mistake is when a URL is shown. So all before the last ``@`` goes, and of a query
only the values of options that are known to be harmless stay.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ("redacted",)

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
