"""A pool whose connections carry another request only if no bytes are left after the last answer.

An upstream may send more than its answer: a body after a 204, a 304 or the answer to HEAD, more
than Content-Length said, bytes after the last chunk. The next request's client would take the
surplus for its own answer (response splitting; RFC 9112, section 11.1). ``httpcore`` 1.0 keeps such
a connection: its parser still holds the surplus when the connection goes idle.

The parser is found by private attributes of ``httpcore``. Where a version has none, connections are
used once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import httpcore

from response_cache_server._proxy.network import NetworkBackend, WatchedStream

__all__ = ("Pool",)

logger = logging.getLogger("response_cache_server.proxy.pool")

KEEP_ALIVE_EXPIRY: Final = 3.0
"""Seconds for which an idle connection is kept. Common servers close theirs after 5 s; a request
that meets such a close is lost and cannot be repeated."""


class Pool(httpcore.AsyncConnectionPool):
    """Connections over *network*, by *proxy* if given; with *reuse* for more than one request."""

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
                "connections to the upstream are used once: httpcore %s in this event loop does "
                "not tell whether bytes are left after an answer",
                httpcore.__version__,
            )


class _Connection(httpcore.AsyncConnectionInterface):
    """*inner*, which expires once it is idle with a surplus; *tell* logs where that is unknown."""

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
        """The pool asks before it chooses a connection, and when an answer is over."""
        return self._inner.has_expired() or (self._inner.is_idle() and not self._is_clean())

    def _is_clean(self) -> bool:
        """Whether the parser holds no surplus; False when that cannot be known.

        For bytes that came later, ``httpcore`` asks the stream, and the stream itself before it
        writes.
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
    """The parser inside of a connection and its wrappers; None when it cannot be found."""
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    parser = getattr(connection, "_h11_state", None)
    return parser if hasattr(parser, "trailing_data") else None
