"""What the wrapped app allows the pages of an origin, by its answers to preflights of ours.

A preflight is an ``OPTIONS`` request that asks whether a page may send another one
(https://fetch.spec.whatwg.org/#cors-preflight-request). Ours are sent in the name of no client, and
the answer is remembered for a while. However many origins a client makes up, few are asked about at
a time and few are remembered.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio
from anyio.lowlevel import RunVar
from cachetools import TTLCache

from response_cache.protocol.headers import Headers

__all__ = ("ALLOW_CREDENTIALS", "ALLOW_ORIGIN", "Ask", "Preflight", "Preflights")

logger = logging.getLogger("response_cache.cors")

REMEMBERED: Final = 60.0  # seconds for which an app's *yes* holds
REFUSED: Final = 10.0  # seconds for which its *no*, its failure or its silence holds
ANSWER: Final = 2.0  # seconds that it gets to answer a preflight
PATIENCE: Final = 3.0  # seconds that a reply waits for the answer, also where many are asked for
AT_ONCE: Final = 8  # preflights in one event loop; more wait for their turn
MOST: Final = 1024  # answers of each kind, *yes* and *no*, that are remembered
LONGEST: Final = 1024  # characters of an origin, a method and a path together

ALLOW_ORIGIN: Final = b"access-control-allow-origin"
ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"

_ORIGIN: Final = re.compile(r"null|[a-z][a-z0-9+.-]*://[!-~]+")  # one, and never "*"
_ANY: Final = "*"
_UNKNOWN_ROUTE: Final = frozenset((404, 405))


class Preflight(NamedTuple):
    """A question to the wrapped app: may a page of *origin* send *method* to *path*?"""

    origin: str
    method: str
    path: str  # below the root path

    def about(self, id: str) -> Preflight:
        """What it has in common with those about other responses than *id*; "" for none."""
        return self._replace(path=self.path.replace(id, "")) if id else self


Ask = Callable[[Preflight], Awaitable[tuple[int, Headers] | None]]
"""How an adapter asks the app: status and headers of its answer, None for no answer at all."""


@dataclass(slots=True)
class _Asking:
    """The preflights that are being asked in one event loop."""

    turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(AT_ONCE))
    ends: dict[Preflight, anyio.Event] = field(default_factory=dict)


class Preflights:
    """The app's answers. For several threads and event loops at once."""

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        """*timer* gives seconds, for how long an answer is remembered."""
        self._lock = threading.Lock()
        # Apart, so that no flood of origins that may not read displaces one that may.
        self._yes: TTLCache[Preflight, Headers] = TTLCache(MOST, REMEMBERED, timer)
        self._no: TTLCache[Preflight, Headers] = TTLCache(MOST, REFUSED, timer)
        self._asking: RunVar[_Asking] = RunVar("response_cache preflights")

    def known(self, asked: Preflight, id: str) -> Headers | None:
        """The headers of permission to *asked*, about *id* or ""; None where nobody knows yet.

        They are empty for a *no*, and for a question that no browser asks.
        """
        if not _ORIGIN.fullmatch(asked.origin) or sum(map(len, asked)) > LONGEST:
            return ()
        kind = asked.about(id)
        with self._lock:
            for_all = self._yes.get(kind._replace(origin=_ANY))
            return for_all or self._yes.get(kind) or self._no.get(kind)

    async def told(self, asked: Preflight, id: str, ask: Ask) -> Headers:
        """The same, from memory or by one preflight, however many replies need it.

        Takes ``PATIENCE`` at most and raises nothing.
        """
        kind, ends = asked.about(id), self._asking_here().ends
        with anyio.move_on_after(PATIENCE):
            while (known := self.known(asked, id)) is None:
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

    def _remember(self, kind: Preflight, allowed: Headers) -> None:
        if (ALLOW_ORIGIN, b"*") in allowed:  # said of all, so a million origins are one question
            kind = kind._replace(origin=_ANY)
        with self._lock:
            (self._yes if allowed else self._no)[kind] = allowed


async def _answer(asked: Preflight, id: str, ask: Ask) -> Headers:
    """What the app allows, asked for the route itself, else for the creates that it knows."""
    try:
        head = await ask(asked)
        if head is not None and head[0] in _UNKNOWN_ROUTE and id:
            path = asked.path[: asked.path.rindex("/" + id)]
            head = await ask(asked._replace(method="POST", path=path))
    except Exception as error:  # noqa: BLE001 - whatever an app raises, it says no
        logger.info("the app answered no preflight: %s", type(error).__name__)
        return ()
    return () if head is None else _allowed_by(*head, asked.origin.encode())


def _allowed_by(status: int, headers: Headers, origin: bytes) -> Headers:
    """What of a preflight's answer goes for our replies, too (Fetch, "CORS check")."""
    origins = [value for name, value in headers if name.lower() == ALLOW_ORIGIN]
    if not 200 <= status < 300 or origins not in ([b"*"], [origin]):
        return ()
    kept = [(ALLOW_ORIGIN, origins[0])]
    if b"true" in [value for name, value in headers if name.lower() == ALLOW_CREDENTIALS]:
        kept.append((ALLOW_CREDENTIALS, b"true"))
    return tuple(kept)
