"""Header fields as pairs of bytes, and the sets of fields that have a rule in common.

Names are in lower case in every set. A rule that concerns one field alone stands where it is used.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = ("BODY_HEADERS", "CLIENT_HEADERS", "Headers")

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values in their order; a name may come several times."""

BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding", b"content-encoding"))
"""Headers of a request that describe its body: a request with another body has its own."""
CLIENT_HEADERS: Final = BODY_HEADERS | {b"accept-encoding", b"expect"}
"""Headers of a create that describe the client's body and abilities, not those of an upstream's
caller: a background call of the upstream goes without them."""
