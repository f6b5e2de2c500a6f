"""A pool whose connections carry another request only when nothing is left of the last answer.

An upstream may send more than its answer: a body after a 204, a 304 or the answer to HEAD, more
than Content-Length said, bytes after the last chunk. The client at the next request would take them
for its own answer (response splitting; RFC 9112, section 11.1). ``httpcore`` 1.0 keeps such a
connection: its parser still holds the surplus when the connection goes idle.

Where the parser cannot be asked, because another ``httpcore`` keeps it elsewhere, connections are
used once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import httpcore

from response_cache_server.proxy.network import NetworkBackend, WatchedStream

__all__ = ("Pool",)

logger = logging.getLogger(__name__)

KEEP_ALIVE_EXPIRY: Final = 3.0
"""Seconds an idle connection is kept; below the 5 s after which common servers close theirs, since
a request that meets such a close is lost and cannot be repeated."""


class Pool(httpcore.AsyncConnectionPool):
    """Connections over *network*, perhaps by way of *proxy*; with *reuse* for many requests."""

    def __init__(
        self,
        network: NetworkBackend,
        *,
        reuse: bool = True,
        proxy: httpcore.Proxy | None = None,
        ssl_context: Any = None,
    ) -> None:
        super().__init__(
            ssl_context=ssl_context,
            proxy=proxy,
            max_connections=None,
            max_keepalive_connections=None if reuse else 0,
            keepalive_expiry=KEEP_ALIVE_EXPIRY,
            network_backend=network,
        )
        self._was_told = False

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """See ``httpcore``: called whenever no idle connection fits."""
        return _Connection(super().create_connection(origin), self._tell)

    def _tell(self) -> None:
        if not self._was_told:
            self._was_told = True
            logger.warning(
                "connections to the upstream are used once: with httpcore %s in this event loop "
                "nobody can tell whether something is left of an answer",
                httpcore.__version__,
            )


class _Connection(httpcore.AsyncConnectionInterface):
    """*inner*, which has expired as soon as it is idle and not clean; *tell* that this is usual."""

    def __init__(self, inner: httpcore.AsyncConnectionInterface, tell: Callable[[], None]) -> None:
        self._inner = inner
        self._tell = tell
        self._stream: object = None  # unknown until the first answer

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        if isinstance(self._stream, WatchedStream):
            self._stream.require_quiet()
        response = await self._inner.handle_async_request(request)
        self._stream = response.extensions.get("network_stream")
        return response

    def has_expired(self) -> bool:
        """Asked of each connection before one is chosen, and when an answer is over."""
        return self._inner.has_expired() or (self._inner.is_idle() and not self._is_clean())

    def _is_clean(self) -> bool:
        """Whether the parser took all of the last answer; False when that cannot be known.

        What came later, ``httpcore`` asks the line for, and so does the line before it writes.
        """
        parser = _parser_of(self._inner)
        if not isinstance(self._stream, WatchedStream) or parser is None:
            self._tell()
            return False
        surplus, _ = parser.trailing_data  # of h11: what it has received and not used
        return not surplus

    def is_available(self) -> bool:
        return self._inner.is_available()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return self._inner.can_handle_request(origin)

    def is_idle(self) -> bool:
        return self._inner.is_idle()

    def is_closed(self) -> bool:
        return self._inner.is_closed()

    def info(self) -> str:
        return self._inner.info()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _parser_of(connection: object) -> Any:
    """The parser of a connection, however often it is wrapped; None when it has none to see."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    parser = getattr(connection, "_h11_state", None)
    return parser if hasattr(parser, "trailing_data") else None
