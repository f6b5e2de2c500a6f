"""What the core writes into a record beside its log: the header and the request.

Stores keep both as bytes and know nothing of their form. Both have a version. Headers also name a
kind: a process passes over a record whose kind or version it does not know, as if it were not
there, so that processes of two releases can share a store.

The request is kept as an *envelope* around the raw JSON of its ``input``, of which the input items
are listed. Nothing else of the body is ever read again, so nothing else is kept: tools may carry
credentials of their servers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject, dump, load, member

__all__ = ("Header", "header_of", "request_bytes", "request_of")

VERSION: Final = 1  # of headers, and of envelopes
KIND: Final = "response"
RECIPE: Final = 1  # version of the rules by which logs are made
_SHORT_HEADER: Final = 1024  # bytes of a header that is kept as values, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of a response when it is created, and never changes."""

    owner: str | None  # keyed digest; None: nobody in particular
    store: bool
    stream: bool
    background: bool = True
    created_at: int  # Unix seconds
    fingerprint: str | None  # of the body, where an idempotency key leads to the response
    recipe: int = RECIPE
    previous: str | None = None  # id of the response that this one continues
    depth: int = 0  # how many responses come before it in its chain

    def __bytes__(self) -> bytes:
        """The header as a store keeps it."""
        return dump(
            {
                "v": VERSION,
                "kind": KIND,
                "owner": self.owner,
                "store": self.store,
                "stream": self.stream,
                "background": self.background,
                "created_at": self.created_at,
                "fingerprint": self.fingerprint,
                "recipe": self.recipe,
                "previous": self.previous,
                "depth": self.depth,
            }
        )


def header_of(data: bytes) -> Header | None:
    """The header that was written as *data*; None for a kind or a version that is not known."""
    # Long ones are not remembered: owners are named by the app.
    return (_parsed if len(data) <= _SHORT_HEADER else _parsed.__wrapped__)(data)


@lru_cache(maxsize=1024)
def _parsed(data: bytes) -> Header | None:
    fields = _known(data)
    if fields is None or fields.get("kind") != KIND:
        return None
    return Header(
        owner=fields["owner"],
        store=fields["store"],
        stream=fields["stream"],
        background=fields["background"],
        created_at=fields["created_at"],
        fingerprint=fields["fingerprint"],
        recipe=fields["recipe"],
        previous=fields["previous"],
        depth=fields["depth"],
    )


def request_bytes(body: bytes) -> bytes:
    """The request as a store keeps it, from the body of a create that was read as a JSON object."""
    return b'{"v":%d,"input":%b,"links":[]}' % (VERSION, member(body, "input") or b"null")


def request_of(data: bytes) -> JsonObject | None:
    """The envelope that was written as *data*; None for a version that is not known."""
    return _known(data)


def _known(data: bytes) -> JsonObject | None:
    """A JSON object of our version."""
    try:
        value: Any = load(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.get("v") == VERSION else None
