"""Ids that tell whose they are, and owners that tell nothing about themselves.

An id of ours is ``resp_`` + a marker + the store's tag + random hex; the marker holds a letter
that no hex id has, so ours are told from the upstream's without a look-up.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

__all__ = (
    "ANYBODY",
    "OUR_ID",
    "Owner",
    "digest",
    "is_elsewhere",
    "is_ours",
    "keyed_id",
    "may_name_ours",
    "new_id",
)

_PREFIX: Final = "resp_rc"
_HEX_DIGITS: Final = 48  # with the marker as long as the upstream's own ids

# With all its digits: some upstreams draw ids from all letters, and what clients put in a path
# shall not become a store's key.
OUR_ID: Final = f"{_PREFIX}[0-9a-f]{{{_HEX_DIGITS},80}}"
"""The form of our ids, as a regular expression."""
_OURS: Final = re.compile(OUR_ID)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who asks. What one owner created, no other sees; an admin sees all."""

    id: str | None  # None: nobody in particular, so the response's id is the capability
    is_admin: bool = False

    def may_see(self, owner_id: str | None) -> bool:
        """Whether a response of *owner_id* exists for this owner."""
        return owner_id is None or self.is_admin or self.id == owner_id


ANYBODY: Final = Owner(None)


def digest(secret: str, *parts: str) -> str:
    """A keyed digest of *parts* (48 hex digits), so that they need not be stored themselves."""
    message = b"".join(
        len(part).to_bytes(4) + part.encode("utf-8", "surrogatepass") for part in parts
    )
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:_HEX_DIGITS]


def is_ours(id: str) -> bool:
    """Whether *id* has the form of the ids made here."""
    return _OURS.fullmatch(id) is not None


def may_name_ours(data: bytes) -> bool:
    """Whether JSON text may hold an id of ours, told without parsing it."""
    return b'"' + _PREFIX.encode() in data


def new_id(tag: str) -> str:
    """A fresh id with 192 random bits after the store's *tag*."""
    return f"{_PREFIX}{tag}{secrets.token_hex(_HEX_DIGITS // 2)}"


def keyed_id(tag: str, secret: str, owner_id: str, key: str) -> str:
    """The id that one owner's idempotency key always leads to."""
    return f"{_PREFIX}{tag}{digest(secret, 'idempotency', owner_id, key)}"


def is_elsewhere(id: str, tag: str) -> bool:
    """Whether *id* was made by another process whose store is not shared with this one."""
    return bool(tag) and is_ours(id) and not id.startswith(_PREFIX + tag)
