"""The HTTP API of a cache, without I/O: a request in, a reply out, for adapters to carry.

Adapters ask ``match_route`` first. A request without a route goes to the wrapped app; one with a
route is answered by ``ResponsesAPI.create`` or ``ResponsesAPI.answer``.
"""

from __future__ import annotations

from typing import Final, overload

import anyio

from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.headers import Headers
from response_cache._protocol.ids import Owner
from response_cache._protocol.input_items import parse_paging
from response_cache._protocol.jsontext import dump
from response_cache._recording.answer import Upstream
from response_cache._recording.attempt import Refusal
from response_cache.cache import Created, ResponseCache
from response_cache.errors import APIError, MethodNotAllowed, NotRecorded, Unavailable
from response_cache.http import _queries as queries
from response_cache.http._creates import BackgroundCreate, read_create
from response_cache.http._credentials import owner_by_credential
from response_cache.http._messages import (
    Body,
    OwnerOf,
    PassThrough,
    Reply,
    Request,
    Stream,
    WhileConnected,
)
from response_cache.http._replies import (
    closed_reply,
    entity_tags,
    error_reply,
    is_known,
    json_reply,
    not_modified_reply,
    poll_headers,
    preference_applied,
    refusal_reply,
    stream_reply,
    without_retry,
)
from response_cache.http._routes import Route, Verb
from response_cache.store import NO_EVENTS, RecordView

__all__ = ("ResponsesAPI",)

_PADDING: Final = "include_obfuscation"
_CONDITIONS: Final = frozenset((b"if-none-match", b"prefer"))


class ResponsesAPI:
    """The routes of background mode over one cache."""

    def __init__(self, cache: ResponseCache, owner_of: OwnerOf | None = None) -> None:
        """*owner_of* names the owner of a request; by default a digest of its credential."""
        self.cache = cache
        self._options = cache.options
        self._dialect = cache.options.dialect
        self._partial_output = cache.options.partial_output
        self._owner_of = owner_of or owner_by_credential(cache.options.secret.get_secret_value())

    async def answer(self, route: Route, request: Request) -> Reply | PassThrough:
        """The reply to a request about a response of ours: every verb but those of ``create``.

        A ``PassThrough`` where nothing is recorded under an id that may be the wrapped app's own.
        So is what asks the app: an adapter that does not give it to ``create`` passes it as it is.
        """
        if route.verb is Verb.ASK_APP:
            return PassThrough()
        try:
            reply = await self._answer(route, request)
        except NotRecorded as error:
            if DIALECTS[self._dialect].ids.may_be_the_apps(route.id):
                return PassThrough()
            reply = error_reply(error)
        except APIError as error:
            reply = error_reply(error)
        if request.method != "HEAD":
            return reply
        if isinstance(reply, Stream):
            await reply.chunks.aclose()
        return Body(reply.status, reply.headers, b"")

    @overload
    async def create(self, request: Request, upstream: Upstream) -> Reply | PassThrough: ...

    @overload
    async def create(
        self, request: Request, upstream: Upstream, *, while_connected: WhileConnected
    ) -> Reply | PassThrough | None: ...

    async def create(
        self,
        request: Request,
        upstream: Upstream,
        *,
        while_connected: WhileConnected | None = None,
    ) -> Reply | PassThrough | None:
        """The reply to a create; a ``PassThrough`` for foreground work, and for ``Verb.ASK_APP``.

        A reply that may take long is made inside of *while_connected*: None when the client
        disconnected meanwhile. The job goes on.
        """
        try:
            create = await read_create(self.cache, self._owner_of, request)
        except APIError as error:
            return error_reply(error)
        if not isinstance(create, BackgroundCreate):
            return create
        if while_connected is None or not create.may_take_long:
            return await self._background(create, upstream)
        async with while_connected():
            return await self._background(create, upstream)
        return None

    async def _answer(self, route: Route, request: Request) -> Reply:
        if route.verb is None:
            raise MethodNotAllowed(
                f"{request.method} is not allowed here.",
                allow=f"{route.allow}, OPTIONS",
            )
        owner = await self._owner_of(request)
        if isinstance(owner, Body):
            return owner
        if isinstance(owner, PassThrough):
            raise TypeError("only a create can be passed on: the app knows nothing of this id")
        id, cache = route.id, self.cache
        match route.verb:
            case Verb.RETRIEVE:
                return await self._retrieve(id, owner, request)
            case Verb.CANCEL:
                return json_reply(200, await cache.cancel(id, owner))
            case Verb.DELETE:
                await cache.delete(id, owner)
                return json_reply(200, dump({"id": id, "object": "response", "deleted": True}))
            case Verb.INPUT_ITEMS:
                paging = parse_paging(queries.parse(request.query))
                return json_reply(200, await cache.input_items(id, owner, paging))
            case Verb.CREATE | Verb.ASK_APP:
                raise TypeError("a create is answered by ResponsesAPI.create")

    # Creating.

    async def _background(self, create: BackgroundCreate, upstream: Upstream) -> Reply:
        """The reply to a create: once it is admitted, or at its end where the client waits."""
        until = 0.0 if create.wait is None else anyio.current_time() + create.wait
        try:
            outcome = await self.cache.create(
                create.request,
                create.data,
                upstream,
                owner=create.owner,
                key=create.key,
                wait=create.wait or 0,
            )
        except APIError as error:
            return error_reply(error)
        if isinstance(outcome, Refusal):
            return refusal_reply(outcome)
        if create.request.stream:
            return await self._created_stream(outcome.id, create)
        if create.wait is None:
            return json_reply(200, outcome.body)
        return await self._created_in_time(outcome, create.owner, create.wait, until)

    async def _created_stream(self, id: str, create: BackgroundCreate) -> Reply:
        try:
            chunks = await self.cache.stream(id, create.owner)
        except Unavailable as error:  # the job exists: a retry would make a second one
            return without_retry(error_reply(error))
        except APIError as error:
            return error_reply(error)
        is_padded = create.request.include_obfuscation
        return stream_reply(chunks, done_marker=self._options.done_marker, is_padded=is_padded)

    async def _created_in_time(
        self, created: Created, owner: Owner, wait: int, until: float
    ) -> Body:
        """The object as a poll shows it, at the end of the response or of the *wait*."""
        applied = preference_applied(wait)
        try:
            await self._long_poll(created.id, owner, frozenset(), until)
            return await self._whole(await self.cache.retrieve(created.id, owner), applied)
        except Unavailable:  # the job exists: after an error, clients would ask for a second one
            return json_reply(200, created.body, applied)
        except APIError as error:
            return error_reply(error)

    # Reading.

    async def _retrieve(self, id: str, owner: Owner, request: Request) -> Reply:
        if request.query:
            query = queries.parse(request.query)
            after = queries.cursor(query)
            if queries.flag(query, "stream"):
                is_padded = _PADDING in query and queries.flag(query, _PADDING)
                chunks = await self.cache.stream(id, owner, after=after)
                marker = self._options.done_marker
                return stream_reply(chunks, done_marker=marker, is_padded=is_padded)
        if request.has_any(_CONDITIONS):
            return await self._retrieve_if(id, owner, request)
        view = await self.cache.retrieve(id, owner)
        return closed_reply(view, self._dialect) if view.closed else await self._whole(view)

    async def _retrieve_if(self, id: str, owner: Owner, request: Request) -> Reply:
        """The reply to a poll with ``Prefer: wait``, ``If-None-Match`` or both."""
        known = entity_tags(request.header(b"if-none-match"))
        wait = queries.wait_seconds(request.header(b"prefer"), self._options.max_wait)
        if wait is not None:
            await self._long_poll(id, owner, known, anyio.current_time() + wait)
        applied = preference_applied(wait)
        if known:
            view = await self.cache.retrieve(id, owner, after=NO_EVENTS)
            if is_known(view, known, self._partial_output):
                headers = poll_headers(view, self._options.poll_after, self._partial_output)
                return not_modified_reply((*headers, *applied))
        return await self._whole(await self.cache.retrieve(id, owner), applied)

    async def _whole(self, view: RecordView, applied: Headers = ()) -> Body:
        """The Response object with the headers of a poll, and the *applied* ones."""
        if view.closed and not applied:
            return closed_reply(view, self._dialect)
        content = await self.cache.body(view)
        headers = poll_headers(view, self._options.poll_after, self._partial_output)
        return json_reply(200, content, (*headers, *applied))

    async def _long_poll(self, id: str, owner: Owner, known: frozenset[str], until: float) -> None:
        """Return when the response is closed, is no longer as *known*, or *until* has come.

        *until* is a time of the event loop's clock. A draining process returns at once.
        """
        while True:
            view = await self.cache.retrieve(id, owner, after=NO_EVENTS)
            left = until - anyio.current_time()
            is_news = bool(known) and not is_known(view, known, self._partial_output)
            if view.closed or is_news or left <= 0 or self.cache.is_draining:
                return
            await self.cache.change(view, left)
