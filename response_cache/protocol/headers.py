"""Header fields as pairs of bytes, and the sets of fields that have a rule in common.

Names are in lower case in every set. A rule that concerns one field alone stands where it is used.
"""

from __future__ import annotations

from typing import Final, TypeAlias

__all__ = ("ABOUT_THE_BODY", "ABOUT_THE_CLIENT", "Headers")

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values in their order; a name may come several times."""

ABOUT_THE_BODY: Final = frozenset((b"content-length", b"transfer-encoding", b"content-encoding"))
"""Headers of a request that describe its body: a request with another body has its own."""
ABOUT_THE_CLIENT: Final = ABOUT_THE_BODY | {b"accept-encoding", b"expect"}
"""Headers of a create that describe the client's body and abilities, not those of an upstream's
caller: a background call of the upstream goes without them."""
