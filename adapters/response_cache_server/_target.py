"""The target of a request: the base URL, and the resource below it that the path names.

The path is sent as it came: an escape in a model's name stays an escape. The check against paths
that lead out of the base URL decodes more than once, because servers behind may decode again, by
other rules.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

import httpx

from response_cache_server._asgi import Scope

__all__ = ("BadPath", "parse_base_url", "resource_path", "target_url", "with_whole_names")

# Prefixes that clients write before the resource. The base URL has its own prefix.
DEPLOYMENT: Final = re.compile(rb"/openai/deployments/[^/]+(?=/|\Z)")
PREFIX: Final = re.compile(rb"/openai/v1(?=/|\Z)|/v1(?=/|\Z)|/openai(?=/|\Z)")

# Characters that are sent as they came. Any other (raw UTF-8, #) cannot stand in a request line.
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")

PLAIN: Final = re.compile(rb"[A-Za-z0-9/_-]*")  # most paths: nothing to decode, no dots
MAX_DECODINGS: Final = 8
"""How often a path may be encoded. One server decodes once; a chain of servers a few times."""

OVERLONG: Final = re.compile(rb"(?:[\xc0\xc1]|\xe0[\x80\x81]|\xf0\x80[\x80\x81])[\x80-\xbf]")
"""ASCII in more bytes than needed, which lenient decoders accept (RFC 3629, section 10)."""
WIDE: Final = re.compile(rb"%u([0-9A-Fa-f]{4})")  # the escapes of IIS and JavaScript
SLASHES: Final = re.compile(r"[/\\\u2044\u2215\u2216\u29f5\u29f8]")  # and look-alikes
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")  # decoders cut at them or drop them


class BadPath(ValueError):
    """The path could lead out of the base URL, or is not an absolute path."""


def parse_base_url(text: str) -> httpx.URL:
    """The base URL: the one that has ``/responses`` below it.

    Raises:
        ValueError: it is not an absolute http(s) URL. The message repeats no part of it.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        # Its own message repeats the text in the place of the port: perhaps half of a password.
        raise ValueError("the base URL is not valid; escape what is special in it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the base URL must look like https://api.example.com/v1")
    if url.fragment:
        raise ValueError("the base URL must not have a fragment (#...)")
    return url


def target_url(base: httpx.URL, scope: Scope) -> httpx.URL:
    """The URL below *base* that the request is for. The query stays as it came.

    ``/v1/x``, ``/openai/v1/x``, ``/openai/x`` and ``/x`` all mean ``{base}/x``. So does
    ``/openai/deployments/{name}/x``; but where *base* ends with ``/openai``, it is Azure's own path
    and means ``{base}/deployments/{name}/x``.

    Raises:
        BadPath: the path is not absolute, some server could read a segment ``.`` or ``..`` in it,
            or it is too long for a URL.
    """
    above = base.raw_path.partition(b"?")[0].rstrip(b"/")
    path = resource_path(scope, with_deployment=above.endswith(b"/openai"))
    queries = [part for part in (base.query, scope.get("query_string", b"")) if part]
    query = b"?" + b"&".join(queries) if queries else b""
    try:
        return base.copy_with(raw_path=quote(above + path + query, safe=VISIBLE).encode("ascii"))
    except httpx.InvalidURL:
        raise BadPath("The address is not valid.") from None


def resource_path(scope: Scope, *, with_deployment: bool = False) -> bytes:
    """The path without the mount point and without the prefix of clients, still encoded.

    *with_deployment* keeps ``/deployments/{name}``, which is part of the prefix otherwise.

    Raises:
        BadPath: see ``target_url``.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    _require_below(raw)
    path = raw.removeprefix(quote(scope.get("root_path", "")).encode("ascii"))
    prefix = (None if with_deployment else DEPLOYMENT.match(path)) or PREFIX.match(path)
    path = path[prefix.end() :] if prefix else path
    if path and not path.startswith(b"/"):
        raise BadPath("The path must begin with '/'.")
    return path


def with_whole_names(scope: Scope) -> Scope:
    """*scope* with a path in which a slash stays escaped in a name that stands before the resource.

    In ``/openai/deployments/meta%2Fllama/responses`` the name is one segment, but servers decode
    ``%2F`` (ASGI specification, "path"), and no route has a segment more.
    """
    raw: bytes = scope.get("raw_path") or b""
    names, resource, rest = raw.rpartition(b"/responses")
    kept = names.replace(b"%2F", b"%252F").replace(b"%2f", b"%252f")
    path, decoded = scope["path"], _once_decoded(raw)
    if kept == names or not path.endswith(decoded):
        return scope
    mount = path.removesuffix(decoded)
    return {**scope, "path": mount + _once_decoded(kept + resource + rest)}


def _once_decoded(raw: bytes) -> str:
    return unquote(raw.decode("latin-1"))


def _require_below(raw: bytes) -> None:
    """Refuse a path that any server might read as one that leads upwards.

    Servers split at ``/`` or ``\\``, before or after decoding, and some remove parameters (``;``,
    RFC 3986, section 3.3) before they look for dot segments.
    """
    if not raw.startswith(b"/"):
        raise BadPath("The path must begin with '/'.")
    if PLAIN.fullmatch(raw):
        return
    text = _decoded(raw)
    if CONTROLS.search(text):
        raise BadPath("The path must not contain control characters.")
    for segment in SLASHES.split(text):
        if re.split("[;?#]", segment, maxsplit=1)[0].rstrip(" ") in (".", ".."):
            raise BadPath("The path must not contain '.' or '..' segments.")


def _decoded(raw: bytes) -> str:
    """*raw* as the most lenient server would read it. The cost is linear in its length."""
    for _ in range(MAX_DECODINGS):
        once = OVERLONG.sub(_short, WIDE.sub(_wide, unquote_to_bytes(raw)))
        if once == raw:
            # Compatibility forms of dot and slash, which "best fit" mappings turn into ASCII.
            return unicodedata.normalize("NFKC", raw.decode("utf-8", "replace"))
        raw = once
    raise BadPath("The path is encoded too often.")


def _wide(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1], 16)).encode("utf-8", "surrogatepass")


def _short(overlong: re.Match[bytes]) -> bytes:
    *_, high, low = overlong[0]
    return bytes(((high & 0b1) << 6 | low & 0b111111,))
