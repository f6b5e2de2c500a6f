"""Header fields that the proxy adds, and fields in which clients may lie about themselves."""

from __future__ import annotations

from typing import Final, TypeAlias

from response_cache_server._asgi import Scope

__all__ = ("Fields", "forwarded", "via", "without_claims")

Fields: TypeAlias = list[tuple[bytes, bytes]]

PSEUDONYM: Final = "response-cache"


def via(version: str) -> tuple[bytes, bytes]:
    """The field that names this proxy as a hop (RFC 9110, 7.6.3)."""
    return b"via", f"{version} {PSEUDONYM}".encode()


def without_claims(fields: Fields) -> Fields:
    """*fields* without ``X-Forwarded-*`` and ``Forwarded``, which claim to name the client.

    CGI and its successors do not tell ``_`` from ``-`` (RFC 3875, 4.1.18): both spellings go.
    """
    return [field for field in fields if not _is_claim(field[0].replace(b"_", b"-"))]


def _is_claim(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith(b"x-forwarded-")  # RFC 7239, section 4


def forwarded(scope: Scope, fields: Fields) -> Fields:
    """*fields* with the client's address added, and its scheme and host where they are missing."""
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
