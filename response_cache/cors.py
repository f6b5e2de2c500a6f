"""What lets a page of another origin read our replies: the CORS protocol of browsers.

Polls, cancels and most creates never reach the wrapped app, so what gives the app's replies their
CORS headers (https://fetch.spec.whatwg.org/#http-cors-protocol) gives none to ours. What the app
allows an origin is told by its answer to a preflight: one is asked for here, in the name of no
client, and its answer is remembered for a while. Where ``Options.cors_origins`` says who may read,
nobody is asked.

A browser's own preflights are ``OPTIONS`` requests, and the app's unless the option is set.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from anyio.lowlevel import RunVar
from cachetools import TTLCache

from response_cache.answer import Headers
from response_cache.http import Body, Request, Verb, find
from response_cache.identity import Ids

__all__ = ("Ask", "Cors", "Preflight", "dressed")

logger = logging.getLogger("response_cache.cors")

REMEMBERED: Final = 60.0  # seconds for which an app's *yes* holds
REFUSED: Final = 10.0  # seconds for which its *no*, its failure or its silence holds
ANSWER: Final = 2.0  # seconds that it gets to answer a preflight
PATIENCE: Final = 3.0  # seconds that a reply waits for the answer, also where many are asked for
AT_ONCE: Final = 8  # preflights of ours in one event loop; more wait for their turn
MOST: Final = 1024  # answers of each kind, *yes* and *no*, that are remembered
LONGEST: Final = 1024  # characters of an origin, a method and a path together
MAX_AGE: Final = 600  # seconds for which a browser may keep our answer to its preflight

_ORIGIN: Final = frozenset((b"origin",))
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
_EXPOSED: Final[Headers] = (
    (
        b"access-control-expose-headers",
        b"x-request-id, x-should-retry, retry-after, etag, openai-poll-after-ms, "
        b"preference-applied",
    ),
)
"""What our replies tell beside their bodies; a page sees no other header unless it is named."""
_PREFLIGHT: Final[Headers] = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
)
_VISIBLE: Final = re.compile(r"[!-~]+")  # an origin, and no list of several
_FIELD_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~, -]{1,4096}", re.ASCII)  # RFC 9110 5.6.2
_UNKNOWN_ROUTE: Final = frozenset((404, 405))


@dataclass(frozen=True, slots=True)
class Preflight:
    """A question to the wrapped app: may a page of *origin* send *method* to *path*?"""

    origin: str
    method: str
    path: str  # below the root path


Ask = Callable[[Preflight], Awaitable[tuple[int, Headers] | None]]
"""How an adapter asks the app: status and headers of its answer, None for no answer at all."""


@dataclass(slots=True)
class _Asking:
    """The preflights that are being asked in one event loop."""

    turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(AT_ONCE))
    ends: dict[Preflight, anyio.Event] = field(default_factory=dict)


class Cors:
    """Who may read our replies in a browser. For several threads and event loops at once."""

    def __init__(
        self, origins: tuple[str, ...] | None, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """*origins* are those that may, None for what the wrapped app says.

        *timer* gives seconds, for how long an answer is remembered.
        """
        self._origins = None if origins is None else frozenset(origins)
        self._lock = threading.Lock()
        # Apart, so that no flood of origins that may not read displaces one that may.
        self._yes: TTLCache[Preflight, Headers] = TTLCache(MOST, REMEMBERED, timer)
        self._no: TTLCache[Preflight, Headers] = TTLCache(MOST, REFUSED, timer)
        self._asking: RunVar[_Asking] = RunVar("response_cache preflights")

    @property
    def is_set(self) -> bool:
        """Whether an option says who may read. The app's replies to creates are dressed then."""
        return bool(self._origins)

    def concerns(self, request: Request) -> bool:
        """Whether *request* comes from a browser's page, and anybody says who may read."""
        return request.has_any(_ORIGIN) and (self._origins is None or self.is_set)

    def known(self, request: Request, id: str) -> Headers | None:
        """What ``allowed`` gives, where it need not ask; else None."""
        if self._origins is not None:
            return self._listed(request.header(b"origin"))
        asked = _asked_by(request)
        return () if asked is None else self._remembered(_kind(asked, id))

    async def allowed(self, request: Request, id: str, ask: Ask) -> Headers:
        """The headers that the reply to *request*, about our *id* or "", shall have.

        None of them where the origin may not read. Takes ``PATIENCE`` at most and raises nothing.
        """
        known, asked = self.known(request, id), _asked_by(request)
        if known is not None or asked is None:
            return known or ()
        return await self._told(asked, id, ask)

    def preflight(self, request: Request, paths: tuple[str, ...], ids: Ids) -> Body | None:
        """Our answer to a browser's preflight for a route of ours, None where it is the app's.

        *paths* and *ids* are those of ``find``.
        """
        method = request.header(b"access-control-request-method")
        route = find(method, request.path, paths, ids) if method and self.is_set else None
        if route is None or not request.has_any(_ORIGIN):
            return None
        allowed = self._listed(request.header(b"origin"))
        if not allowed:
            return Body(204, _PREFLIGHT, b"")
        methods = "POST" if route.verb is Verb.CREATE else route.allow
        headers = [
            *_PREFLIGHT,
            *allowed,
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        ]
        names = request.header(b"access-control-request-headers")
        if _FIELD_NAMES.fullmatch(names):
            # All: "*" would leave out Authorization, and the app judges the request itself.
            headers.append((b"access-control-allow-headers", names.encode()))
        return Body(204, tuple(headers), b"")

    def _listed(self, origin: str) -> Headers:
        listed = self._origins or frozenset()
        if "*" in listed:
            return ((_ALLOW_ORIGIN, b"*"),)
        return ((_ALLOW_ORIGIN, origin.encode()),) if origin in listed else ()

    async def _told(self, asked: Preflight, id: str, ask: Ask) -> Headers:
        """What the app says, from memory or by one preflight, however many replies need it."""
        kind = _kind(asked, id)
        ends = self._asking_here().ends
        with anyio.move_on_after(PATIENCE):
            while (known := self._remembered(kind)) is None:
                if kind in ends:
                    await ends[kind].wait()  # who asks may be cancelled: then somebody else does
                else:
                    return await self._ask(kind, asked, id, ask)
            return known
        return ()

    async def _ask(self, kind: Preflight, asked: Preflight, id: str, ask: Ask) -> Headers:
        asking = self._asking_here()
        allowed: Headers = ()
        asking.ends[kind] = end = anyio.Event()
        try:
            async with asking.turns:
                with anyio.move_on_after(ANSWER):
                    allowed = await _answer(asked, id, ask)
                self._remember(kind, allowed)
        finally:
            del asking.ends[kind]
            end.set()
        return allowed

    def _asking_here(self) -> _Asking:
        asking = self._asking.get(None)
        if asking is None:
            self._asking.set(asking := _Asking())
        return asking

    def _remembered(self, kind: Preflight) -> Headers | None:
        with self._lock:
            for_all = self._yes.get(_of_any_origin(kind))
            return for_all or self._yes.get(kind) or self._no.get(kind)

    def _remember(self, kind: Preflight, allowed: Headers) -> None:
        is_for_all = (_ALLOW_ORIGIN, b"*") in allowed
        with self._lock:
            answers = self._yes if allowed else self._no
            answers[_of_any_origin(kind) if is_for_all else kind] = allowed


def dressed(headers: Iterable[tuple[bytes, bytes]], allowed: Headers) -> Headers:
    """*headers* of a reply with those that are *allowed* for its page's origin.

    A reply that has them already, as a relayed refusal of the app, stays as it is. What a page may
    see beside the body is said to all: middleware outside may allow what the app does not.
    """
    headers = tuple(headers)
    if any(name.lower() == _ALLOW_ORIGIN for name, _ in headers):
        return headers
    is_for_all = (_ALLOW_ORIGIN, b"*") in allowed
    # Also a *no* is for one origin alone.
    return (*(headers if is_for_all else _varied(headers)), *allowed, *_EXPOSED)


def _varied(headers: Headers) -> Headers:
    """*headers* with one ``Vary`` that names ``Origin`` (RFC 9110 12.5.5)."""
    fields = [value for name, value in headers if name.lower() == b"vary"]
    names = b", ".join(fields)
    if {b"origin", b"*"} & {name.strip().lower() for name in names.split(b",")}:
        return headers
    others = (pair for pair in headers if pair[0].lower() != b"vary")
    return (*others, (b"vary", b", ".join((*fields, b"origin"))))


def _asked_by(request: Request) -> Preflight | None:
    """The preflight for *request*; None where that would be more than a browser asks."""
    method = "GET" if request.method == "HEAD" else request.method
    asked = Preflight(request.header(b"origin"), method, request.path)
    is_short = len(asked.origin) + len(method) + len(asked.path) <= LONGEST
    return asked if is_short and _VISIBLE.fullmatch(asked.origin) else None


def _kind(asked: Preflight, id: str) -> Preflight:
    """What *asked* has in common with those for other responses."""
    return replace(asked, path=asked.path.replace(id, "")) if id else asked


def _of_any_origin(kind: Preflight) -> Preflight:
    """Under this a ``*`` is kept: it was said of all, so a million origins are one question."""
    return replace(kind, origin="*")


async def _answer(asked: Preflight, id: str, ask: Ask) -> Headers:
    """What the app allows, asked for the route itself, else for the creates that it knows."""
    try:
        head = await ask(asked)
        if head is not None and head[0] in _UNKNOWN_ROUTE and id:
            path = asked.path[: asked.path.rindex("/" + id)]
            head = await ask(replace(asked, method="POST", path=path))
    except Exception as error:  # noqa: BLE001 - whatever an app raises, it says no
        logger.info("the app answered no preflight: %s", type(error).__name__)
        return ()
    return () if head is None else _allowed_by(*head, asked.origin.encode())


def _allowed_by(status: int, headers: Headers, origin: bytes) -> Headers:
    """What of a preflight's answer goes for our replies, too (Fetch, "CORS check")."""
    origins = [value for name, value in headers if name.lower() == _ALLOW_ORIGIN]
    if not 200 <= status < 300 or origins not in ([b"*"], [origin]):
        return ()
    kept = [(_ALLOW_ORIGIN, origins[0])]
    if b"true" in [value for name, value in headers if name.lower() == _ALLOW_CREDENTIALS]:
        kept.append((_ALLOW_CREDENTIALS, b"true"))
    return tuple(kept)
