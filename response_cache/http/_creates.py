"""What a create asks for: background work for us, or foreground work for the wrapped app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.ids import Owner
from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.requests import (
    CreateRequest,
    create_request,
    references,
    with_upstream_ids,
)
from response_cache.cache import ResponseCache
from response_cache.errors import InvalidRequest, RequestTooLarge
from response_cache.http import _queries as queries
from response_cache.http._bodies import may_be_ours, read_body, require_no_background, size_unpacked
from response_cache.http._messages import Body, OwnerOf, PassThrough, Request
from response_cache.http._replies import error_reply
from response_cache.http._routes import makes_response

__all__ = ("BackgroundCreate", "read_create", "reply_without_cache")

_MAX_KEY_LENGTH: Final = 255  # characters of an idempotency key


@dataclass(frozen=True, slots=True)
class BackgroundCreate:
    """A create that asks for background work."""

    request: CreateRequest
    data: bytes = field(repr=False)  # the body without its content encoding
    owner: Owner
    key: str | None = field(repr=False)  # the idempotency key
    wait: int | None  # seconds of ``Prefer: wait``; None: answered as soon as it is admitted

    @property
    def may_take_long(self) -> bool:
        """Whether the reply may have to wait for more than admission."""
        return self.key is not None or self.wait is not None


def reply_without_cache(
    request: Request, *, cut_at: int | None = None
) -> Body | PassThrough | None:
    """The reply to a create that needs no cache; None when it needs one.

    Foreground work passes through even where no cache can be opened. With *cut_at* the body of
    *request* is only the first *cut_at* bytes of a longer body: more than a request may have.
    """
    if cut_at is not None:
        try:
            require_no_background(request.body, f"The request is longer than {cut_at} bytes.")
        except RequestTooLarge as error:
            return error_reply(error)
        return PassThrough()
    needs_cache = may_be_ours(request.body) or request.header(b"content-encoding")
    return None if needs_cache else PassThrough()


async def read_create(
    cache: ResponseCache, owner_of: OwnerOf, request: Request
) -> BackgroundCreate | Body | PassThrough:
    """The background work that a create asks for; or its reply, or its pass to the wrapped app.

    Raises:
        APIError: it is refused.
    """
    options = cache.options
    data, encoding = request.body, request.header(b"content-encoding")
    size = size_unpacked(data, encoding, options)
    read = await cache._offload.run(size, lambda: read_body(data, encoding, options))
    if read is None:
        return PassThrough()
    body, data = read
    background = body.get("background")
    if background is None or background is False or not makes_response(request.path):
        return await _foreground(cache, owner_of, request, body, len(data))
    owner = await owner_of(request)
    if isinstance(owner, Body | PassThrough):
        return owner
    parsed = create_request(
        body, is_checked=options.check_requests, max_input_items=options.max_input_items
    )
    if parsed.stream:
        cache.require_stream_room()  # before the job is made
    key = _idempotency_key(request)
    wait = None
    if not parsed.stream:
        wait = queries.wait_seconds(request.header(b"prefer"), options.max_wait)
    return BackgroundCreate(parsed, data, owner, key, wait)


async def _foreground(
    cache: ResponseCache, owner_of: OwnerOf, request: Request, body: JsonObject, size: int
) -> Body | PassThrough:
    """The pass of foreground work to the wrapped app; *size* is the length of *body* as JSON.

    Where it names responses of ours, the upstream's own ids replace theirs.
    """
    ids = DIALECTS[cache.options.dialect].ids
    if not any(map(ids.are_ours, references(body).values())):
        return PassThrough()
    owner = await owner_of(request)
    if isinstance(owner, Body | PassThrough):
        return owner
    named = await cache._translation(body, owner)
    told = await cache._offload.run(size, lambda: dump(with_upstream_ids(body, named.theirs)))
    return PassThrough(told, named)


def _idempotency_key(request: Request) -> str | None:
    key = request.header(b"idempotency-key")
    if len(key) > _MAX_KEY_LENGTH:
        raise InvalidRequest(f"Idempotency-Key is longer than {_MAX_KEY_LENGTH} characters.")
    return key or None
