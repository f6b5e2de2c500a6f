"""One connection: requests in, and answers out in the same order.

A request is answered after the request before it. What a client sends meanwhile waits: the first
requests parsed, the rest as bytes, and above that in the kernel. A connection waits for one event
at a time:

| for | at most | and then |
| --- | --- | --- |
| the end of a head | ``head_timeout`` | 408, or a close where no byte came |
| a piece of the body that the app asked for | ``body_timeout`` | 408; the app gets a disconnect |
| the next request | ``keep_alive`` | a close |
| a refused client, until it stops to send | ``LINGER_TIMEOUT`` | a close |
| a client, until it takes more of the last answer | ``flush_timeout`` | a reset |

The app has no time limit. A body is not timed while the app does not ask for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Final
from urllib.parse import quote, unquote

import uvicorn
from uvicorn.server import ServerState

from response_cache_server._asgi import App, Scope
from response_cache_server._http1.deadline import Deadline
from response_cache_server._http1.exchange import Exchange
from response_cache_server._http1.framing import End, Headers
from response_cache_server._http1.limits import MAX_PIPELINED, SLICE_BYTES, Limits
from response_cache_server._http1.reader import Head, Reader
from response_cache_server._http1.refusal import SERVER_FAULT, Refusal
from response_cache_server._http1.wire import Wire

__all__ = ("Connection",)

logger = logging.getLogger("response_cache_server.http1.connection")
access_logger = logging.getLogger("uvicorn.access")

ASGI: Final = {"version": "3.0", "spec_version": "2.3"}  # 2.3: send() is silent without a client


class Connection(asyncio.Protocol):
    """Serves one client. uvicorn makes one for each client (its setting ``http``)."""

    congestion: asyncio.Event | None = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        self._app: App = config.loaded_app
        self._root_path = config.root_path
        self._is_logged = config.access_log
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._limits = limits
        self._deadline = Deadline(self._loop)
        self._reader = Reader(limits, self)
        self._incoming: Exchange | None = None  # whose request is being read
        self._current: Exchange | None = None  # whose answer is being written
        self._waiting: deque[Exchange] = deque()
        self._unread: bytes | memoryview = b""  # received, not parsed
        self._is_head_timed = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wire = Wire(transport, self._deadline, flush_timeout=self._limits.flush_timeout)
        self.write = transport.write
        self._client = _address(transport.get_extra_info("peername"))
        self._address = _address(transport.get_extra_info("sockname"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._server.connections.add(self)  # type: ignore[arg-type]  # typed as uvicorn's own
        self._time_head()
        if len(self._server.connections) > self._limits.max_connections:
            self._refuse(_too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._deadline.cancel()
        self._reader.stop()
        self.resume_writing()
        if self._current is not None:
            self._current.leave()
        self._waiting.clear()  # no app was called for them

    def data_received(self, data: bytes) -> None:
        if self._wire.is_lingering:
            self._wire.drop(len(data))
        elif len(data) <= SLICE_BYTES and not self._unread:
            self._read(data)
            if self._incoming is not None:
                self._mind_reading()
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
            self._read_on()

    def pause_writing(self) -> None:
        self.congestion = asyncio.Event()

    def resume_writing(self) -> None:
        if self.congestion is not None:
            self.congestion.set()
            self.congestion = None

    def shutdown(self) -> None:
        """Serve no request after the present one. uvicorn calls this when it stops."""
        if self._current is None:
            self._end(lingers=False)
        else:
            self._current.keeps_alive = False

    def reset(self) -> None:
        """End at once. What the client has not taken is lost, and the client sees an error."""
        self._wire.reset()

    # Called by the reader.

    def request_begins(self, head: Head) -> None:
        self._deadline.clear()
        self._is_head_timed = False
        self._incoming = exchange = Exchange(
            self,
            self._app,
            self._scope(head),
            keeps_alive=head.keeps_alive,
            expects_continue=head.expects_continue,
        )
        self._take(exchange)

    def body_comes(self, piece: bytes) -> None:
        if self._incoming is not None:
            self._deadline.clear()
            self._incoming.body_comes(piece)

    def request_ends(self) -> None:
        if self._incoming is not None:
            self._deadline.clear()
            self._incoming.request_ends()
            self._incoming = None

    # Called by an exchange.

    @property
    def default_headers(self) -> Headers:
        return self._server.default_headers

    def body_is_awaited(self) -> None:
        self._deadline.set(self._limits.body_timeout, self._body_is_late)
        self._mind_reading()

    def answer_begins(self, exchange: Exchange, status: int, end: End) -> None:
        if self._is_logged:
            _log(exchange.scope, status)
        if end is End.CLOSE:
            self._wire.reset_on_close(True)

    def answer_ends(self, exchange: Exchange) -> None:
        self._server.total_requests += 1
        self._current = None
        if not exchange.keeps_alive:
            self._wire.reset_on_close(False)
            self._end(lingers=not exchange.is_whole)
            return
        if self._waiting:
            self._start(self._waiting.popleft())
        elif not self._is_head_timed:
            self._deadline.set(self._limits.keep_alive, self._wire.close)
        if self._unread:
            self._read_on()

    def app_is_through(self, exchange: Exchange) -> None:
        if not exchange.is_over:
            self._give_up(exchange, SERVER_FAULT)

    # Requests in.

    def _read_on(self) -> None:
        while self._unread and len(self._waiting) < MAX_PIPELINED:
            piece, self._unread = self._unread[:SLICE_BYTES], self._unread[SLICE_BYTES:]
            self._read(piece)
        self._mind_reading()

    def _read(self, data: bytes | memoryview) -> None:
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
        if self._reader.is_in_head and not self._is_head_timed:
            self._time_head()

    def _mind_reading(self) -> None:
        incoming = self._incoming
        self._wire.hold_back(bool(self._unread) or (incoming is not None and incoming.is_too_full))

    def _time_head(self) -> None:
        self._is_head_timed = True
        self._deadline.set(self._limits.head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._reader.is_in_head:
            self._refuse(Refusal(408, "The head of the request did not come in time."))
        else:
            self._end(lingers=False)

    def _body_is_late(self) -> None:
        self._refuse(Refusal(408, "The body of the request did not come in time."))

    # Answers out.

    def _take(self, exchange: Exchange) -> None:
        if self._current is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        task = self._loop.create_task(exchange.run())
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer the request that is being read with *refusal*, in its turn, and read no more."""
        self._deadline.clear()
        method = self._reader.method
        self._reader.stop()
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            self._take(Exchange(self, refusal.answer, _scope_of_none(method)))
        elif incoming is self._current:
            self._give_up(incoming, refusal)
        else:  # no app was called for it
            incoming.app = refusal.answer
            incoming.keeps_alive = False

    def _give_up(self, exchange: Exchange, refusal: Refusal) -> None:
        """Answer with *refusal* instead of the app; break off an answer that has begun."""
        exchange.leave()
        self._incoming = None
        self._reader.stop()
        if not exchange.is_begun:
            self._start(Exchange(self, refusal.answer, exchange.scope))
            return
        logger.info("an answer was broken off")
        self._end(lingers=False)

    def _end(self, *, lingers: bool) -> None:
        self._current = None
        self._waiting.clear()
        self._unread = b""
        self._reader.stop()
        if lingers:
            self._wire.linger()
        else:
            self._wire.close()

    def _scope(self, head: Head) -> Scope:
        path = head.path.decode("ascii")
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": head.version,
            "server": self._address,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": self._root_path,
            "path": self._root_path + (unquote(path) if "%" in path else path),
            "raw_path": self._root_path.encode("ascii") + head.path,
            "query_string": head.query,
            "headers": head.fields,
            "state": self._app_state.copy(),
        }


def _scope_of_none(method: str) -> Scope:
    """The scope of a request for which no app is called; enough to answer it."""
    return {"type": "http", "http_version": "1.1", "method": method, "path": "?", "client": None}


def _address(name: object) -> tuple[str, int] | None:
    """Host and port; None for a Unix socket."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) > 1 else None


def _too_many_connections() -> Refusal:
    message = "There are too many connections."
    return Refusal(503, message, type="server_error", retry_after=1)


def _log(scope: Scope, status: int) -> None:
    query = scope.get("query_string", b"").decode("ascii")
    target = quote(scope["path"]) + (f"?{query}" if query else "")
    client = "{}:{}".format(*scope["client"]) if scope["client"] else ""
    # As uvicorn's formatter wants it.
    access_logger.info(
        '%s - "%s %s HTTP/%s" %d', client, scope["method"], target, scope["http_version"], status
    )
