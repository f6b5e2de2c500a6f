"""The default owner of a request: a digest of its credential.

Credentials themselves are neither stored nor logged.
"""

from __future__ import annotations

import logging
from typing import Final

from response_cache._protocol.ids import ANYBODY, Owner, digest
from response_cache.http._messages import OwnerOf, Request

__all__ = ("CREDENTIAL_HEADERS", "owner_by_credential")

logger = logging.getLogger("response_cache.http")

CREDENTIAL_HEADERS: Final = (b"authorization", b"api-key", b"x-api-key")
"""Headers that hold a credential; of several the first one here counts."""
_ANY_CREDENTIAL: Final = frozenset(CREDENTIAL_HEADERS)


def owner_by_credential(secret: str) -> OwnerOf:
    """An owner function: owners are digests of credentials, keyed by *secret*.

    A request without a credential has the owner ``ANYBODY``: each client that knows the id of such
    a response can read, cancel and delete it. That is logged once, as a warning.
    """
    is_warned = False

    async def owner_of(request: Request) -> Owner:
        nonlocal is_warned
        if request.has_any(_ANY_CREDENTIAL):
            for name in CREDENTIAL_HEADERS:
                credential = request.header(name)
                if credential:
                    return Owner(digest(secret, "owner", credential))
        if not is_warned:
            is_warned = True
            logger.warning(
                "a request without a credential: each client that knows the id of such a response "
                "can read, cancel and delete it"
            )
        return ANYBODY

    return owner_of
