"""Header fields as pairs of bytes, and the sets of fields that have a rule in common.

Names are in lower case in every set. A rule that concerns one field alone stands where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

__all__ = ("BODY_HEADERS", "CLIENT_HEADERS", "HOP_BY_HOP", "Headers", "end_to_end")

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values in their order; a name may come several times."""

BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding", b"content-encoding"))
"""Headers of a request that describe its body: a request with another body has its own."""
CLIENT_HEADERS: Final = BODY_HEADERS | {b"accept-encoding", b"expect"}
"""Headers of a create that describe the client's body and abilities, not those of an upstream's
caller: a background call of the upstream goes without them."""

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
"""Fields about one connection: nobody passes them on (RFC 9110 7.6.1, 11.7)."""


def end_to_end(
    fields: Iterable[tuple[bytes, bytes]], *, without: Iterable[bytes] = ()
) -> list[tuple[bytes, bytes]]:
    """*fields* with their names in lower case, less all hop-by-hop fields and less *without*.

    Fields that ``Connection`` names are hop-by-hop, too.
    """
    lowered = [(name.lower(), value) for name, value in fields]
    dropped = HOP_BY_HOP | _named_in_connection(lowered) | frozenset(without)
    return [field for field in lowered if field[0] not in dropped]


def _named_in_connection(fields: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    values = b",".join(value for name, value in fields if name == b"connection")
    return frozenset(name.strip().lower() for name in values.split(b","))
