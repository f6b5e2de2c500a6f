"""Which header fields a proxy passes on, and which it adds (RFC 9110, 7.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from response_cache_server.asgi import Scope

__all__ = ("Fields", "end_to_end", "forwarded", "via", "without_claims")

Fields: TypeAlias = list[tuple[bytes, bytes]]

PSEUDONYM: Final = "response-cache"

HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields about one connection; those that ``Connection`` names are as well (7.6.1)."""


def end_to_end(fields: Iterable[tuple[bytes, bytes]], *, without: Iterable[bytes] = ()) -> Fields:
    """*fields* in lower case and in their order, less the hop-by-hop ones and those *without*."""
    lowered = [(name.lower(), value) for name, value in fields]
    dropped = HOP_BY_HOP | _named_in_connection(lowered) | frozenset(without)
    return [field for field in lowered if field[0] not in dropped]


def _named_in_connection(fields: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    values = b",".join(value for name, value in fields if name == b"connection")
    return frozenset(name.strip().lower() for name in values.split(b","))


def via(version: str) -> tuple[bytes, bytes]:
    """The field that says that this proxy stands on the way (7.6.3)."""
    return b"via", f"{version} {PSEUDONYM}".encode()


def without_claims(fields: Fields) -> Fields:
    """*fields* less those that say for whom somebody asks: ``X-Forwarded-*``, ``Forwarded``.

    Servers of CGI's kind cannot tell ``_`` from ``-`` (RFC 3875, 4.1.18), so both are looked for.
    """
    return [field for field in fields if not _is_claim(field[0].replace(b"_", b"-"))]


def _is_claim(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith(b"x-forwarded-")  # RFC 7239, section 4


def forwarded(scope: Scope, fields: Fields) -> Fields:
    """*fields* with the client's address added, and its scheme and host where nobody said them."""
    said = {name for name, _ in fields}
    added: Fields = []
    if client := scope.get("client"):
        fields, chain = _split(fields, b"x-forwarded-for")
        added.append((b"x-forwarded-for", b", ".join([*chain, str(client[0]).encode()])))
    if b"x-forwarded-proto" not in said:
        added.append((b"x-forwarded-proto", str(scope.get("scheme", "http")).encode()))
    host = next((value for name, value in scope["headers"] if name.lower() == b"host"), None)
    if host is not None and b"x-forwarded-host" not in said:
        added.append((b"x-forwarded-host", host))
    return fields + added


def _split(fields: Fields, name: bytes) -> tuple[Fields, list[bytes]]:
    rest = [field for field in fields if field[0] != name]
    return rest, [value for field, value in fields if field == name]
