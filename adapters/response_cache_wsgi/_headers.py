"""Header fields in two shapes: strings and variables for WSGI, bytes for the core."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from wsgiref.types import WSGIEnvironment

from response_cache import Headers

__all__ = ("as_bytes", "as_native", "request_headers", "variable")

_NOT_IN_NAMES: Final = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")  # RFC 9110, section 5.6.2
_NOT_IN_VALUES: Final = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]"
)  # RFC 9110, section 5.5
_WITHOUT_PREFIX: Final = frozenset(
    ("content-type", "content-length")
)  # their variables begin without HTTP_


def as_native(headers: Headers) -> list[tuple[str, str]]:
    """*headers* as ``start_response`` takes them.

    Raises:
        ValueError: a name or value would split the header section.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    _check(pairs)
    return pairs


def as_bytes(headers: Iterable[tuple[str, str]]) -> Headers:
    """*headers* that an app gave to ``start_response``, for the core.

    Raises:
        ValueError: a name or value would split the header section.
    """
    pairs = list(headers)
    _check(pairs)
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


def request_headers(environ: WSGIEnvironment) -> Headers:
    """The header fields of a request, names in lower case."""
    return tuple(
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in _request_headers(environ)
    )


def variable(header: bytes) -> str:
    """The name of the variable in which WSGI has *header* of a request."""
    name = header.decode("latin-1")
    prefix = "" if name in _WITHOUT_PREFIX else "HTTP_"
    return prefix + name.upper().replace("-", "_")


def _request_headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    for name in _WITHOUT_PREFIX:
        value = environ.get(name.upper().replace("-", "_"))
        if value:  # some servers set an empty one when the request has none
            yield name, value
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").lower(), value


def _check(headers: list[tuple[str, str]]) -> None:
    names = [name for name, _ in headers]
    values = "".join([value for _, value in headers])
    are_names = all(names) and not _NOT_IN_NAMES.search("".join(names))
    if not are_names or _NOT_IN_VALUES.search(values):
        raise ValueError(f"one of the headers {names} cannot be sent: it would split the section")
