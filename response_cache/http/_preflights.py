"""What the wrapped app allows pages of an origin, found out by preflights of ours.

A preflight is an ``OPTIONS`` request that asks whether a page may send another one
(https://fetch.spec.whatwg.org/#cors-preflight-request). Ours carry no credential of a client. The
app's answer is remembered for a while. A client may invent any number of origins, so the number of
open questions and of remembered answers is bounded.
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

from response_cache._protocol.headers import Headers

__all__ = ("ALLOW_CREDENTIALS", "ALLOW_ORIGIN", "Ask", "Preflight", "Preflights")

logger = logging.getLogger("response_cache.cors")

YES_LIFETIME: Final = 60.0  # seconds for which a permission of the app is remembered
NO_LIFETIME: Final = 10.0  # seconds for which a refusal, a failure or a silence is remembered
ANSWER_TIMEOUT: Final = 2.0  # seconds that the app gets to answer a preflight
REPLY_TIMEOUT: Final = 3.0  # seconds that a reply waits for the answer, its turn included
MAX_OPEN: Final = 8  # preflights in one event loop; more wait for their turn
MAX_REMEMBERED: Final = 1024  # answers of each kind, permissions and refusals
MAX_QUESTION_LENGTH: Final = 1024  # characters of an origin, a method and a path together

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
        """The question without *id*: it is the same for every response. "" for no id."""
        return self._replace(path=self.path.replace(id, "")) if id else self


Ask = Callable[[Preflight], Awaitable[tuple[int, Headers] | None]]
"""How an adapter asks the app: status and headers of its answer; None where it gave none."""


@dataclass(slots=True)
class _Asking:
    """The open preflights of one event loop."""

    turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MAX_OPEN))
    ends: dict[Preflight, anyio.Event] = field(default_factory=dict)


class Preflights:
    """The app's answers, remembered. For several threads and event loops at once."""

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        """*timer* gives seconds, for how long an answer is remembered."""
        self._lock = threading.Lock()
        # Apart: a flood of refused origins must not displace a permitted one.
        self._yes: TTLCache[Preflight, Headers] = TTLCache(MAX_REMEMBERED, YES_LIFETIME, timer)
        self._no: TTLCache[Preflight, Headers] = TTLCache(MAX_REMEMBERED, NO_LIFETIME, timer)
        self._asking: RunVar[_Asking] = RunVar("response_cache preflights")

    def known(self, asked: Preflight, id: str) -> Headers | None:
        """The headers that permit *asked*, about *id* or ""; None where the app must be asked.

        Empty for a refusal, and for a question that no browser asks.
        """
        if not _ORIGIN.fullmatch(asked.origin) or sum(map(len, asked)) > MAX_QUESTION_LENGTH:
            return ()
        kind = asked.about(id)
        with self._lock:
            for_all = self._yes.get(kind._replace(origin=_ANY))
            return for_all or self._yes.get(kind) or self._no.get(kind)

    async def told(self, asked: Preflight, id: str, ask: Ask) -> Headers:
        """What ``known`` gives once the app was asked: by one preflight for all replies that wait.

        Takes at most ``REPLY_TIMEOUT`` and raises nothing. Empty where that time is over.
        """
        kind, ends = asked.about(id), self._asking_here().ends
        with anyio.move_on_after(REPLY_TIMEOUT):
            while (known := self.known(asked, id)) is None:
                if kind in ends:
                    await ends[kind].wait()  # if the asking task is cancelled, the next one asks
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
                with anyio.move_on_after(ANSWER_TIMEOUT):
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
        if (ALLOW_ORIGIN, b"*") in allowed:  # one answer holds for every origin
            kind = kind._replace(origin=_ANY)
        with self._lock:
            (self._yes if allowed else self._no)[kind] = allowed


async def _answer(asked: Preflight, id: str, ask: Ask) -> Headers:
    """What the app allows: on the route itself, or where it has none, on the path of creates."""
    try:
        head = await ask(asked)
        if head is not None and head[0] in _UNKNOWN_ROUTE and id:
            path = asked.path[: asked.path.rindex("/" + id)]
            head = await ask(asked._replace(method="POST", path=path))
    except Exception as error:  # noqa: BLE001 - any failure of the app counts as a refusal
        logger.info("the app answered no preflight: %s", type(error).__name__)
        return ()
    return () if head is None else _allowed_by(*head, asked.origin.encode())


def _allowed_by(status: int, headers: Headers, origin: bytes) -> Headers:
    """The headers of a preflight's answer that our replies repeat (Fetch, "CORS check")."""
    origins = [value for name, value in headers if name.lower() == ALLOW_ORIGIN]
    if not 200 <= status < 300 or origins not in ([b"*"], [origin]):
        return ()
    kept = [(ALLOW_ORIGIN, origins[0])]
    if b"true" in [value for name, value in headers if name.lower() == ALLOW_CREDENTIALS]:
        kept.append((ALLOW_CREDENTIALS, b"true"))
    return tuple(kept)
