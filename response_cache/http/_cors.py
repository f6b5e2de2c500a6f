"""CORS headers for our replies, by which browsers let pages of other origins read them.

Polls, cancels and most creates never reach the wrapped app, so its CORS middleware adds no headers
to our replies (https://fetch.spec.whatwg.org/#http-cors-protocol). They get the headers that the
app allows: it is asked by a preflight of ours. Where ``Options.cors_origins`` lists the origins,
the app is not asked.

A browser's own preflights are ``OPTIONS`` requests. The app answers them, unless the option is set.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Final

from response_cache._protocol.headers import Headers
from response_cache.http._messages import Body, Request
from response_cache.http._preflights import ALLOW_ORIGIN, Ask, Preflight, Preflights
from response_cache.http._routes import match_route
from response_cache.options import DialectName

__all__ = ("Cors", "dressed")

MAX_AGE: Final = 600  # seconds for which a browser may keep our answer to its preflight

_ORIGIN: Final = frozenset((b"origin",))
_FOR_ALL: Final = (ALLOW_ORIGIN, b"*")
_EXPOSED: Final[Headers] = (
    (
        b"access-control-expose-headers",
        b"x-request-id, x-should-retry, retry-after, etag, openai-poll-after-ms, "
        b"preference-applied",
    ),
)
"""Names the headers of our replies that a page may read; by default it sees few (Fetch,
"CORS-safelisted response-header name")."""
_PREFLIGHT: Final[Headers] = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
)
_FIELD_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~, -]{1,4096}", re.ASCII)  # RFC 9110 5.6.2


class Cors:
    """The origins that may read our replies. For several threads and event loops at once."""

    def __init__(
        self, origins: tuple[str, ...] | None, *, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """*origins* are the allowed ones; None: the wrapped app decides.

        *timer* gives seconds. It times how long the app's answers are remembered.
        """
        self._origins = None if origins is None else frozenset(origins)
        self._preflights = Preflights(timer=timer)

    @property
    def is_set(self) -> bool:
        """Whether an option lists origins. Then the app's replies to creates get headers, too."""
        return bool(self._origins)

    def concerns(self, request: Request) -> bool:
        """Whether *request* comes from a page in a browser, and any origin may be allowed."""
        return request.has_any(_ORIGIN) and (self._origins is None or self.is_set)

    def known(self, request: Request, id: str) -> Headers | None:
        """What ``allowed`` gives where the app need not be asked; None where it must be."""
        if self._origins is not None:
            return self._listed(request.header(b"origin"))
        return self._preflights.known(_asked_by(request), id)

    async def allowed(self, request: Request, id: str, ask: Ask) -> Headers:
        """The CORS headers for the reply to *request*, about our *id* ("" for a create).

        Empty where the origin may not read. Takes at most three seconds and raises nothing.
        """
        known = self.known(request, id)
        if known is not None:
            return known
        return await self._preflights.told(_asked_by(request), id, ask)

    def preflight(
        self, request: Request, paths: tuple[str, ...], dialect: DialectName = "openai"
    ) -> Body | None:
        """Our answer to a browser's preflight for a route of ours, None where the app answers.

        *paths* and *dialect* are those of ``match_route``.
        """
        method = request.header(b"access-control-request-method")
        if not (method and self.is_set and request.has_any(_ORIGIN)):
            return None
        route = match_route(method, request.path, paths, dialect)
        if route is None:
            return None
        allowed = self._listed(request.header(b"origin"))
        if not allowed:
            return Body(204, _PREFLIGHT, b"")
        methods = route.allow if route.id else "POST"
        headers = [
            *_PREFLIGHT,
            *allowed,
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        ]
        names = request.header(b"access-control-request-headers")
        if _FIELD_NAMES.fullmatch(names):
            # Each by its name: "*" does not cover Authorization. The app judges the request itself.
            headers.append((b"access-control-allow-headers", names.encode()))
        return Body(204, tuple(headers), b"")

    def _listed(self, origin: str) -> Headers:
        listed = self._origins or frozenset()
        if "*" in listed:
            return (_FOR_ALL,)
        return ((ALLOW_ORIGIN, origin.encode()),) if origin in listed else ()


def dressed(headers: Iterable[tuple[bytes, bytes]], allowed: Headers) -> Headers:
    """*headers* of a reply with the CORS headers that are *allowed* for the page's origin.

    A reply that has CORS headers already, such as a relayed refusal of the app, stays as it is. The
    list of exposed headers goes to every origin: middleware outside may allow more than the app.
    """
    headers = tuple(headers)
    names = [name.lower() for name, _ in headers]
    if ALLOW_ORIGIN in names:
        return headers
    if _FOR_ALL not in allowed:  # the reply differs by origin, also where the answer is no
        vary = tuple(
            value for name, (_, value) in zip(names, headers, strict=True) if name == b"vary"
        )
        others = (pair for name, pair in zip(names, headers, strict=True) if name != b"vary")
        headers = (*others, (b"vary", _with_origin(vary)))
    return (*headers, *allowed, *_EXPOSED)


def _with_origin(fields: tuple[bytes, ...]) -> bytes:
    """One ``Vary`` of several, with ``Origin`` in it (RFC 9110 12.5.5)."""
    value = b", ".join(fields)
    names = {name.strip().lower() for name in value.split(b",")}
    return value if names & {b"origin", b"*"} else b", ".join((*fields, b"origin"))


def _asked_by(request: Request) -> Preflight:
    method = "GET" if request.method == "HEAD" else request.method
    return Preflight(request.header(b"origin"), method, request.path)
