"""Where a request goes: the base URL, and the address below it that a path stands for."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

import httpx

from response_cache_server.asgi import Scope

__all__ = ("BadPath", "parse_base_url", "resource_path", "target_url")

PREFIXES: Final = (b"/openai/v1", b"/v1")
"""What clients write before the resource; the base URL has its own."""

# Sent as they came. What else careless clients send raw (UTF-8, #) cannot stand in a request line.
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")


class BadPath(ValueError):
    """The path could lead out of the base URL, or is none."""


def parse_base_url(text: str) -> httpx.URL:
    """The base URL: the one that has ``/responses`` below it.

    Raises:
        ValueError: it is not an absolute http(s) URL. The message repeats no credentials.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"the base URL is not valid: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the base URL must look like https://api.example.com/v1")
    if url.fragment:
        raise ValueError("the base URL must not have a fragment (#...)")
    return url


def target_url(base: httpx.URL, scope: Scope) -> httpx.URL:
    """The address below *base* that the request is for, its query kept as it came.

    ``/v1/x``, ``/openai/v1/x`` and ``/x`` all stand for ``{base}/x``.

    Raises:
        BadPath: the path has a segment ``.`` or ``..``, or is too long for a URL.
    """
    path = resource_path(scope)
    if any(unquote(segment) in (".", "..") for segment in path.decode("latin-1").split("/")):
        raise BadPath("The path must not contain '.' or '..' segments.")
    queries = [part for part in (base.query, scope.get("query_string", b"")) if part]
    query = b"?" + b"&".join(queries) if queries else b""
    raw = base.raw_path.partition(b"?")[0].rstrip(b"/") + path + query
    try:
        return base.copy_with(raw_path=quote(raw, safe=VISIBLE).encode("ascii"))
    except httpx.InvalidURL as error:
        raise BadPath(f"The address is not valid: {error}") from None


def resource_path(scope: Scope) -> bytes:
    """The path without the mount point and without the prefix that clients write, still encoded."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    path = raw.removeprefix(quote(scope.get("root_path", "")).encode("ascii"))
    for prefix in PREFIXES:
        if path == prefix or path.startswith(prefix + b"/"):
            return path.removeprefix(prefix)
    return path
