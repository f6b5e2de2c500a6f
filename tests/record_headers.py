"""Headers of records that tests make by themselves."""

from __future__ import annotations

from response_cache._record import Header

__all__ = ("header",)


def header(*, owner: str | None = None, store: bool = True) -> bytes:
    """The header of a background response, as a store keeps it."""
    made = Header(owner=owner, store=store, stream=False, created_at=0, fingerprint=None)
    return bytes(made)
