"""URLs without their secrets, for logs, messages and ``repr``.

A URL may be malformed: a password with a raw ``/``, ``?`` or ``#`` splits it in the wrong places,
and such a URL is the one that an error message shows. So everything before the last ``@`` is left
out, and in a query only the values of harmless names are shown.
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
"""Names in queries of store URLs and of the API whose values are no secrets."""

HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(?::[0-9]{0,5})?")

URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*")  # to the end: passwords may hold spaces


def explained(error: BaseException) -> str:
    """The message of *error* in one line, with its URLs redacted.

    The class goes before the message of an exception that is not of our tree, because messages of
    drivers and of other people's stores may be empty.
    """
    words = URL.sub(lambda match: redacted(match[0]), " ".join(str(error).split()))
    if isinstance(error, (ResponseCacheError, ValueError, ImportError)):
        return words or type(error).__name__
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def redacted(url: str) -> str:
    """*url* (or a path with its query) without user, password, fragment and secret values."""
    scheme, is_absolute, rest = url.partition("://") if "://" in url else ("", "", url)
    if not rest.startswith("/"):
        rest = rest.rpartition("@")[2]
    path, has_query, query = rest.partition("#")[0].partition("?")
    if is_absolute:
        path = _authority_checked(path)
    shown = "&".join(map(_parameter, query.split("&"))) if has_query else ""
    return f"{scheme}{is_absolute}{path}{has_query}{shown}"


def _authority_checked(text: str) -> str:
    """*text*, whose authority is shown if it is hosts and ports; a port may be half a password."""
    authority, slash, path = text.partition("/")
    is_plain = all(HOST.fullmatch(host) for host in authority.split(","))
    return (authority if is_plain else HIDDEN) + slash + path


def _parameter(text: str) -> str:
    name, has_value, _ = text.partition("=")
    if not has_value:
        return HIDDEN if text else ""
    return text if unquote(name).lower() in HARMLESS else f"{name}={HIDDEN}"
