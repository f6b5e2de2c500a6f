"""Where a request goes: the base URL, and the address below it that a path stands for.

What is sent up is what came: an escape in a model's name stays an escape. Only the check reads
further than that, since nobody knows how often, and by which rules, the servers behind decode.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import httpx

from response_cache_server.asgi import Scope

__all__ = ("BadPath", "parse_base_url", "resource_path", "target_url")

# What clients write before the resource; the base URL has its own.
DEPLOYMENT: Final = re.compile(rb"/openai/deployments/[^/]+(?=/|\Z)")
PREFIX: Final = re.compile(rb"/openai/v1(?=/|\Z)|/v1(?=/|\Z)|/openai(?=/|\Z)")

# Sent as they came. What else careless clients send raw (UTF-8, #) cannot stand in a request line.
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")

HARMLESS: Final = re.compile(rb"[A-Za-z0-9/_-]*")  # most paths: nothing to decode, and no dots
DECODINGS: Final = 8
"""How often a path may be encoded. A server decodes once, a careless chain of them a few times."""

OVERLONG: Final = re.compile(rb"(?:[\xc0\xc1]|\xe0[\x80\x81]|\xf0\x80[\x80\x81])[\x80-\xbf]")
"""ASCII in more bytes than it needs, which lenient decoders take (RFC 3629, section 10)."""
WIDE: Final = re.compile(rb"%u([0-9A-Fa-f]{4})")  # the escapes of IIS and JavaScript
SLASHES: Final = re.compile(r"[/\\\u2044\u2215\u2216\u29f5\u29f8]")  # and what resembles them
UNREAL: Final = re.compile(r"[\x00-\x1f\x7f]")  # what decoders cut at, or leave out


class BadPath(ValueError):
    """The path could lead out of the base URL, or is none."""


def parse_base_url(text: str) -> httpx.URL:
    """The base URL: the one that has ``/responses`` below it.

    Raises:
        ValueError: it is not an absolute http(s) URL. The message repeats no part of it.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        # Its own message has what stands in the place of the port: perhaps half of a password.
        raise ValueError("the base URL is not valid; escape what is special in it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the base URL must look like https://api.example.com/v1")
    if url.fragment:
        raise ValueError("the base URL must not have a fragment (#...)")
    return url


def target_url(base: httpx.URL, scope: Scope) -> httpx.URL:
    """The address below *base* that the request is for, its query kept as it came.

    ``/v1/x``, ``/openai/v1/x``, ``/openai/x`` and ``/x`` all stand for ``{base}/x``. So does
    ``/openai/deployments/{name}/x``, but where *base* ends with ``/openai`` it is Azure's own and
    stands for ``{base}/deployments/{name}/x``.

    Raises:
        BadPath: it is no absolute path, could be read as one with a segment ``.`` or ``..``, or is
            too long for a URL.
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
    """The path without the mount point and without the prefix that clients write, still encoded.

    *with_deployment* keeps ``/deployments/{name}``, which otherwise is a part of the prefix.

    Raises:
        BadPath: as ``target_url`` does.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    _require_below(raw)
    path = raw.removeprefix(quote(scope.get("root_path", "")).encode("ascii"))
    prefix = (None if with_deployment else DEPLOYMENT.match(path)) or PREFIX.match(path)
    path = path[prefix.end() :] if prefix else path
    if path and not path.startswith(b"/"):
        raise BadPath("The path must begin with '/'.")
    return path


def _require_below(raw: bytes) -> None:
    """Refuse a path that any server might read as one that leads upwards.

    Servers split at ``/`` or ``\\``, before or after they decode, and cut parameters off (``;``,
    RFC 3986, section 3.3) before they look at the dots.
    """
    if not raw.startswith(b"/"):
        raise BadPath("The path must begin with '/'.")
    if HARMLESS.fullmatch(raw):
        return
    text = _decoded(raw)
    if UNREAL.search(text):
        raise BadPath("The path must not contain control characters.")
    for segment in SLASHES.split(text):
        if re.split("[;?#]", segment, maxsplit=1)[0].rstrip(" ") in (".", ".."):
            raise BadPath("The path must not contain '.' or '..' segments.")


def _decoded(raw: bytes) -> str:
    """*raw* as the most lenient server would read it; the cost grows with its length alone."""
    for _ in range(DECODINGS):
        once = OVERLONG.sub(_short, WIDE.sub(_wide, unquote_to_bytes(raw)))
        if once == raw:
            # Compatible forms of the dot and the slashes, which "best fit" mappings turn into them.
            return unicodedata.normalize("NFKC", raw.decode("utf-8", "replace"))
        raw = once
    raise BadPath("The path is encoded too often.")


def _wide(escape: re.Match[bytes]) -> bytes:
    return chr(int(escape[1], 16)).encode("utf-8", "surrogatepass")


def _short(overlong: re.Match[bytes]) -> bytes:
    *_, high, low = overlong[0]
    return bytes(((high & 0b1) << 6 | low & 0b111111,))
