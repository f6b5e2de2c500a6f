"""Ids that tell whose they are, and owners that tell nothing about themselves.

An id of ours is ``resp_`` + a marker + the store's tag + random hex; the marker holds a letter
that no hex id has, so ours are told from the upstream's without a look-up. In LiteLLM's older
dialect it is ``litellm_poll_`` + a UUID, which LiteLLM's own workers also make: only the store
knows whose that is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

__all__ = (
    "ANYBODY",
    "IDS",
    "POLLING_IDS",
    "Ids",
    "Owner",
    "digest",
    "may_name_ours",
)

_PREFIX: Final = "resp_rc"
_POLLING_PREFIX: Final = "litellm_poll_"
_HEX_DIGITS: Final = 48  # with the marker as long as the upstream's own ids


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


def may_name_ours(data: bytes) -> bool:
    """Whether JSON text may hold an id of ours, told without parsing it."""
    return any(b'"' + prefix.encode() in data for prefix in (_PREFIX, _POLLING_PREFIX))


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one dialect: which are ours, and how new ones are made."""

    pattern: str  # of all that are ours, as a regular expression
    prefix: str
    shape: Callable[[str, str], str]  # what follows it, from the store's tag and 48 hex digits
    shared: str | None = None  # what those begin with that may be the wrapped app's own

    def new(self, tag: str) -> str:
        """A fresh id, with the store's *tag* where there is a place for it."""
        return self.prefix + self.shape(tag, secrets.token_hex(_HEX_DIGITS // 2))

    def keyed(self, tag: str, secret: str, owner_id: str, key: str) -> str:
        """The id that one owner's idempotency key always leads to."""
        return self.prefix + self.shape(tag, digest(secret, "idempotency", owner_id, key))

    def are_ours(self, id: str) -> bool:
        """Whether *id* has the form of the ids made here."""
        return re.fullmatch(self.pattern, id) is not None

    def may_be_the_apps(self, id: str) -> bool:
        """Whether the wrapped app makes ids of this form, too."""
        return self.shared is not None and id.startswith(self.shared)

    def is_elsewhere(self, id: str, tag: str) -> bool:
        """Whether *id* was made by another process whose store is not shared with this one."""
        return bool(tag) and id.startswith(_PREFIX) and not id.startswith(_PREFIX + tag)


def _uuid(_tag: str, digits: str) -> str:
    return str(UUID(hex=digits[:32], version=4))


# With all its digits: some upstreams draw ids from all letters, and what clients put in a path
# shall not become a store's key.
_PATTERN: Final = f"{_PREFIX}[0-9a-f]{{{_HEX_DIGITS},80}}"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

IDS: Final = Ids(_PATTERN, _PREFIX, str.__add__)
"""The ids of the official dialect."""
POLLING_IDS: Final = Ids(
    f"(?:{_POLLING_PREFIX}{_UUID}|{_PATTERN})", _POLLING_PREFIX, _uuid, shared=_POLLING_PREFIX
)
"""Those of LiteLLM's older one; what was made before the dialect was chosen stays ours."""
