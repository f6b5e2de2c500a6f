"""The web face of a cache, without I/O: a request in, a reply out, for adapters to carry.

Routes, queries, headers and error bodies are here, and nowhere else (protocol 1, 2, 4, 7, 8).
Adapters ask ``match_route`` whether a request is ours at all; what is not goes to the wrapped app.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import count
from typing import Any, Final, overload

import anyio

from response_cache.cache import Created, ResponseCache, body_of
from response_cache.errors import (
    APIError,
    BadUpstream,
    InvalidRequest,
    MethodNotAllowed,
    NotRecorded,
    RequestTooLarge,
    Unavailable,
)
from response_cache.http import queries
from response_cache.http.bodies import (
    is_background,
    may_be_ours,
    read_body,
    require_no_background,
    size_unpacked,
)
from response_cache.options import Options
from response_cache.protocol.dialects import Dialect
from response_cache.protocol.ids import ANYBODY, IDS, Ids, Owner, digest
from response_cache.protocol.input_items import parse_paging
from response_cache.protocol.jsontext import JsonObject, dump
from response_cache.protocol.requests import (
    CreateRequest,
    create_request,
    with_previous_response_id,
)
from response_cache.protocol.sse import DONE, KEEP_ALIVE
from response_cache.recording.answer import Headers, Refusal, Upstream
from response_cache.store import NO_EVENTS, RecordView

__all__ = (
    "ABOUT_THE_BODY",
    "ABOUT_THE_CLIENT",
    "Body",
    "OwnerOf",
    "PassThrough",
    "Reply",
    "Request",
    "ResponsesAPI",
    "Route",
    "Stream",
    "Verb",
    "answer_early",
    "error_reply",
    "is_background",
    "match_route",
)

logger = logging.getLogger("response_cache.http")


@dataclass(slots=True)
class Request:
    """What an adapter read of a request; not to be changed. Header names are in lower case.

    *scope* or *environ* is what the server and the middleware outside of ours say of it, sessions
    and users among it: the one of ASGI, the other of WSGI, None for the other kind. Of the body
    only *body* is for reading. Nothing in here looks at them: they are for ``owner`` functions.
    """

    method: str
    path: str  # below the root path
    query: bytes
    headers: Headers
    body: bytes = b""
    scope: Mapping[str, Any] | None = field(default=None, repr=False)
    environ: Mapping[str, Any] | None = field(default=None, repr=False)
    _values: dict[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._values = dict(self.headers)
        if len(self._values) < len(self.headers):  # some come in several lines
            for name in self._values:
                lines = (value for key, value in self.headers if key == name)
                self._values[name] = b", ".join(lines)

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of these headers is there, told at once."""
        return not names.isdisjoint(self._values)

    def header(self, name: bytes) -> str:
        """The header's value, several joined by commas (RFC 9110 5.3); "" when absent."""
        value = self._values.get(name)
        return value.decode("latin-1") if value else ""


@dataclass(slots=True)
class Body:
    """A whole reply; not to be changed."""

    status: int
    headers: Headers
    content: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply that goes on. Close *chunks* when the client has gone.

    When they raise ``StreamBroken``, or anything else, or are given up, break the connection: only
    where they end by themselves may the body end in order (chunked: RFC 9112 section 8).
    """

    status: int
    headers: Headers
    chunks: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Not ours after all: the wrapped app answers, with *body* or, if None, as it was received."""

    body: bytes | None = None


Reply = Body | Stream
OwnerOf = Callable[[Request], Awaitable[Owner | Body | PassThrough]]
"""Who asks, or the refusal to be sent. Called on every route before anything else is done.

A create may also be left to the wrapped app by a ``PassThrough``, so that the app's own answer or
refusal reaches the client; on other routes that is a mistake (``TypeError``).
"""


WhileThere = Callable[[], AbstractAsyncContextManager[None]]
"""Makes a context that is cancelled, and left without an error, when the client has gone."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Background work that somebody asks for."""

    request: CreateRequest
    data: bytes = field(repr=False)  # its text, as received but for its encoding
    owner: Owner
    key: str | None = field(repr=False)
    wait: int | None  # seconds; None: it is answered as soon as it is accepted

    @property
    def may_last(self) -> bool:
        """Whether the answer may be waited for longer than for admission."""
        return self.key is not None or self.wait is not None


class Verb(StrEnum):
    """What a route asks for."""

    CREATE = "create"
    RETRIEVE = "retrieve"
    DELETE = "delete"
    CANCEL = "cancel"
    INPUT_ITEMS = "input_items"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request leads: a verb, or the methods that would be allowed there."""

    verb: Verb | None
    id: str = ""
    allow: str = ""


ROUTES: Final[Mapping[str, Mapping[str, Verb]]] = {
    "": {"GET": Verb.RETRIEVE, "HEAD": Verb.RETRIEVE, "DELETE": Verb.DELETE},
    "/cancel": {"POST": Verb.CANCEL},
    "/input_items": {"GET": Verb.INPUT_ITEMS, "HEAD": Verb.INPUT_ITEMS},
}
"""By what follows the id, and by method."""
_ALLOW: Final = {rest: ", ".join(verbs) for rest, verbs in ROUTES.items()}
_METHODS: Final = frozenset(method for verbs in ROUTES.values() for method in verbs)

_LONGEST_END: Final = 128  # characters of a path that the pattern may look at
_CREDENTIALS: Final = (b"authorization", b"api-key", b"x-api-key")
_ANY_CREDENTIAL: Final = frozenset(_CREDENTIALS)
_CONDITIONS: Final = frozenset((b"if-none-match", b"prefer"))
_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer", b"te")
)
_KEY_LENGTH: Final = 255

ABOUT_THE_BODY: Final = frozenset((b"content-length", b"transfer-encoding", b"content-encoding"))
"""Headers of a request that describe its body: a ``PassThrough`` with another body has its own."""
ABOUT_THE_CLIENT: Final = ABOUT_THE_BODY | {b"accept-encoding", b"expect"}
"""Headers of a create that speak of the client's body and connection, not of an upstream's."""

_COMMON: Final[Headers] = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b", ".join(_CREDENTIALS)),
    (b"openai-version", b"2020-10-01"),
)
_JSON: Final[Headers] = ((b"content-type", b"application/json"), *_COMMON)
_EVENT_STREAM: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    *_COMMON,
    (b"x-accel-buffering", b"no"),
)


def match_route(method: str, path: str, paths: tuple[str, ...], ids: Ids = IDS) -> Route | None:
    """The route of a request, or None when it is the wrapped app's.

    *paths* are those on which a POST creates, ``{name}`` in them any segment; *ids* are those of
    the dialect. Ids that are not ours, and ``OPTIONS``, are not ours.
    """
    if "/responses" not in path or method == "OPTIONS":
        return None
    bare = path.rstrip("/")
    if bare.endswith("/responses"):  # so do all of *paths*, and no path with an id
        is_create = method == "POST" and (bare in paths or _named(paths).fullmatch(bare))
        return Route(Verb.CREATE) if is_create else None
    return _by_id(method if method in _METHODS else "", path[-_LONGEST_END:], ids)


@lru_cache(maxsize=16)
def _named(paths: tuple[str, ...]) -> re.Pattern[str]:
    """What matches those of *paths* in which names stand for segments."""
    named = (path for path in paths if "{" in path)
    patterns = (re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) for path in named)
    return re.compile("|".join(patterns) or "(?!)")


@lru_cache(maxsize=1024)  # who polls asks for the same again; no argument is long
def _by_id(method: str, end: str, ids: Ids) -> Route | None:
    match = re.search(rf"/responses/({ids.pattern})(/cancel|/input_items)?/?\Z", end)
    if match is None:
        return None
    rest = match[2] or ""
    return Route(ROUTES[rest].get(method), match[1], _ALLOW[rest])


def answer_early(request: Request, *, cut_at: int | None = None) -> Body | PassThrough | None:
    """What is answered to a create without a cache; None when it needs one.

    Foreground work passes even where no cache can be opened. With *cut_at*, the request's body is
    only the beginning, of that many bytes, of one that is longer than it may be.
    """
    if cut_at is not None:
        try:
            require_no_background(request.body, f"The request is longer than {cut_at} bytes.")
        except RequestTooLarge as error:
            return error_reply(error)
        return PassThrough()
    needs_a_look = may_be_ours(request.body) or request.header(b"content-encoding")
    return None if needs_a_look else PassThrough()


def error_reply(error: APIError) -> Body:
    """The reply that tells a client of *error* (protocol 2)."""
    body = {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }
    headers: Headers = ()
    if error.retry_after is not None:
        headers += ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))),)
    if isinstance(error, MethodNotAllowed):
        headers += ((b"allow", error.allow.encode("latin-1")),)
    return _json(error.status_code, dump(body), headers)


_PROCESS: Final = b"req_" + secrets.token_hex(8).encode()
_numbers: Final = count(1)


def _request_id() -> bytes:
    """A name for one reply, for support and logs; no secret."""
    return b"%b%016x" % (_PROCESS, next(_numbers))


def _json(status: int, content: bytes, headers: Headers = ()) -> Body:
    return Body(
        status,
        (
            *_JSON,
            (b"x-request-id", _request_id()),
            (b"content-length", b"%d" % len(content)),
            *headers,
        ),
        content,
    )


def _closed(view: RecordView, dialect: Dialect) -> Body:
    """The reply to most polls of all: the whole object, which will not change any more."""
    content = body_of(view, dialect)
    headers = _closed_headers(queries.entity_tag(view), len(content))
    return Body(200, (*headers, (b"x-request-id", _request_id())), content)


@lru_cache(maxsize=1024)
def _closed_headers(tag: str, length: int) -> Headers:
    return (*_JSON, (b"content-length", b"%d" % length), (b"etag", tag.encode()))


class ResponsesAPI:
    """Speaks HTTP for one cache."""

    def __init__(self, cache: ResponseCache, owner_of: OwnerOf | None = None) -> None:
        """*owner_of* tells who asks; by default a digest of the request's credential."""
        self.cache = cache
        self._options = cache.options
        self._dialect = cache.dialect
        self._owner_of = owner_of or _by_credential(cache.options)

    async def answer(self, route: Route, request: Request) -> Reply | PassThrough:
        """The reply to a request about a response of ours (every verb but create).

        What is not recorded may be the wrapped app's own where its ids have the form of ours.
        """
        try:
            reply = await self._answer(route, request)
        except NotRecorded as error:
            if self._dialect.ids.may_be_the_apps(route.id):
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
        self, request: Request, upstream: Upstream, *, while_there: WhileThere
    ) -> Reply | PassThrough | None: ...

    async def create(
        self, request: Request, upstream: Upstream, *, while_there: WhileThere | None = None
    ) -> Reply | PassThrough | None:
        """The reply to a create, or its way to the wrapped app when it is foreground work.

        What may last is done *while_there*: None when the client has gone meanwhile. The job goes
        on.
        """
        try:
            asked = await self._asked(request)
        except APIError as error:
            return error_reply(error)
        if not isinstance(asked, _Asked):
            return asked
        if while_there is None or not asked.may_last:
            return await self._background(asked, upstream)
        async with while_there():
            return await self._background(asked, upstream)
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
                return _json(200, await cache.cancel(id, owner))
            case Verb.DELETE:
                await cache.delete(id, owner)
                return _json(200, dump({"id": id, "object": "response", "deleted": True}))
            case Verb.INPUT_ITEMS:
                paging = parse_paging(queries.parse(request.query))
                return _json(200, await cache.input_items(id, owner, paging))
            case Verb.CREATE:
                raise TypeError("a create is answered by Face.create")

    # Creating.

    async def _asked(self, request: Request) -> _Asked | Body | PassThrough:
        """What background work is asked for; else the answer, or the way to the app.

        Raises:
            APIError: it is refused.
        """
        data, encoding = request.body, request.header(b"content-encoding")
        size = size_unpacked(data, encoding, self._options)
        read = await self.cache.offload.run(size, lambda: read_body(data, encoding, self._options))
        if read is None:
            return PassThrough()
        body, data = read
        if body.get("background") is None or body["background"] is False:
            return await self._foreground(body, len(data), request)
        owner = await self._owner_of(request)
        if isinstance(owner, Body | PassThrough):
            return owner
        parsed = create_request(
            body,
            is_checked=self._options.check_requests,
            max_input_items=self._options.max_input_items,
        )
        if parsed.stream:
            self.cache.require_stream_room()  # before the job is made
        key = _idempotency_key(request)
        wait = None if parsed.stream else self._wait(request)
        return _Asked(parsed, data, owner, key, wait)

    async def _background(self, asked: _Asked, upstream: Upstream) -> Reply:
        """The reply to a create once it is accepted, or over if it is to be waited for."""
        until = 0.0 if asked.wait is None else anyio.current_time() + asked.wait
        try:
            outcome = await self.cache.create(
                asked.request,
                asked.data,
                upstream,
                owner=asked.owner,
                key=asked.key,
                wait=asked.wait or 0,
            )
        except APIError as error:
            return error_reply(error)
        if isinstance(outcome, Refusal):
            return _relayed(outcome)
        if asked.request.stream:
            return await self._created_stream(outcome.id, asked.owner)
        if asked.wait is None:
            return _json(200, outcome.body)
        return await self._created_in_time(outcome, asked.owner, asked.wait, until)

    async def _created_stream(self, id: str, owner: Owner) -> Reply:
        try:
            return self._stream(await self.cache.stream(id, owner))
        except Unavailable as error:  # the job exists: a retry would make a second one
            reply = error_reply(error)
            return Body(
                reply.status, (*reply.headers, (b"x-should-retry", b"false")), reply.content
            )
        except APIError as error:
            return error_reply(error)

    async def _created_in_time(
        self, created: Created, owner: Owner, wait: int, until: float
    ) -> Body:
        """The object as a poll shows it, when the response is over or the time is."""
        applied = _applied(wait)
        try:
            await self._long_poll(created.id, owner, frozenset(), until)
            return await self._whole(await self.cache.retrieve(created.id, owner), applied)
        except Unavailable:  # the job exists: after an error clients would ask for a second one
            return _json(200, created.body, applied)
        except APIError as error:
            return error_reply(error)

    async def _foreground(
        self, body: JsonObject, size: int, request: Request
    ) -> Body | PassThrough:
        """Foreground work is the app's; only a reference to one of our ids is put in its words."""
        previous = body.get("previous_response_id")
        if not isinstance(previous, str) or not self._dialect.ids.are_ours(previous):
            return PassThrough()
        owner = await self._owner_of(request)
        if isinstance(owner, Body | PassThrough):
            return owner
        known = await self.cache.upstream_id(previous, owner) or previous
        return PassThrough(
            await self.cache.offload.run(size, lambda: with_previous_response_id(body, known))
        )

    def _wait(self, request: Request) -> int | None:
        """Seconds that the client wants to wait for the end of the response."""
        return queries.wait(request.header(b"prefer"), self._options.max_wait)

    # Reader.

    async def _retrieve(self, id: str, owner: Owner, request: Request) -> Reply:
        if request.query:
            query = queries.parse(request.query)
            after = queries.cursor(query)
            if queries.flag(query, "stream"):
                return self._stream(await self.cache.stream(id, owner, after=after))
        if request.has_any(_CONDITIONS):
            return await self._retrieve_if(id, owner, request)
        view = await self.cache.retrieve(id, owner)
        return _closed(view, self._dialect) if view.closed else await self._whole(view)

    async def _retrieve_if(self, id: str, owner: Owner, request: Request) -> Reply:
        """A poll that may wait, or know the object already."""
        known = queries.entity_tags(request.header(b"if-none-match"))
        seconds = self._wait(request)
        if seconds is not None:
            await self._long_poll(id, owner, known, anyio.current_time() + seconds)
        applied = _applied(seconds)
        if known:
            view = await self.cache.retrieve(id, owner, after=NO_EVENTS)
            if queries.is_known(view, known):
                return Body(304, (*_COMMON, *self._hints(view), *applied), b"")
        return await self._whole(await self.cache.retrieve(id, owner), applied)

    async def _whole(self, view: RecordView, applied: Headers = ()) -> Body:
        """The object, and in the headers what else there is to say of it."""
        if view.closed and not applied:
            return _closed(view, self._dialect)
        content = await self.cache.body(view)
        return _json(200, content, (*self._hints(view), *applied))

    async def _long_poll(self, id: str, owner: Owner, known: frozenset[str], until: float) -> None:
        """Return at the end of the response, at any change from what is *known*, or in time."""
        while True:
            view = await self.cache.retrieve(id, owner, after=NO_EVENTS)
            left = until - anyio.current_time()
            is_news = bool(known) and not queries.is_known(view, known)
            if view.closed or is_news or left <= 0 or self.cache.is_draining:
                return
            await self.cache.change(view, left)

    def _hints(self, view: RecordView) -> Headers:
        """The entity tag, and when to ask again while the response is pending."""
        tag = (b"etag", queries.entity_tag(view).encode())
        if view.closed:
            return (tag,)
        pause = self._options.poll_after
        return (
            tag,
            (b"openai-poll-after-ms", b"%d" % round(pause * 1000)),
            (b"retry-after", b"%d" % max(1, math.ceil(pause))),
        )

    def _stream(self, chunks: AsyncGenerator[bytes]) -> Stream:
        done = b"data: " + DONE + b"\n\n" if self._options.done_marker else b""
        headers = (*_EVENT_STREAM, (b"x-request-id", _request_id()))
        return Stream(200, headers, _spoken(chunks, done))


async def _spoken(chunks: AsyncGenerator[bytes], done: bytes) -> AsyncGenerator[bytes]:
    """*chunks* with a comment in each silence, and the marker of a whole one's end."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk or KEEP_ALIVE
    if done:
        yield done


def _applied(seconds: int | None) -> Headers:
    """What says that a preference was honoured (RFC 7240 3)."""
    return () if seconds is None else ((b"preference-applied", b"wait=%d" % seconds),)


def _relayed(refusal: Refusal) -> Body:
    """A refusal as it came, but for what belongs to its own connection."""
    headers = tuple(
        (name, value)
        for name, value in refusal.headers
        if name not in _HOP_BY_HOP and name != b"content-length"
    )
    if not 200 <= refusal.status <= 599:  # no server could send it
        return error_reply(BadUpstream(f"The upstream answered with status {refusal.status}."))
    if refusal.status == 304:  # it has no body, and needs no length (RFC 9110, 15.4.5)
        return Body(304, headers, b"")
    length = (b"content-length", b"%d" % len(refusal.body))
    return Body(refusal.status, (*headers, length), refusal.body)


def _by_credential(options: Options) -> OwnerOf:
    """Owners by a keyed digest of the request's credential; without one, anybody with the id."""
    secret = options.secret.get_secret_value()
    told = False

    async def owner_of(request: Request) -> Owner:
        nonlocal told
        if request.has_any(_ANY_CREDENTIAL):
            for name in _CREDENTIALS:
                credential = request.header(name)
                if credential:
                    return Owner(digest(secret, "owner", credential))
        if not told:
            told = True
            logger.warning(
                "a request without a credential: whoever knows the id of such a response can read, "
                "cancel and delete it"
            )
        return ANYBODY

    return owner_of


def _idempotency_key(request: Request) -> str | None:
    key = request.header(b"idempotency-key")
    if len(key) > _KEY_LENGTH:
        raise InvalidRequest(f"Idempotency-Key is longer than {_KEY_LENGTH} characters.")
    return key or None
