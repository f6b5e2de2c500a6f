"""Runs the sidecar in this process, and stops it without losing what it records.

A server waits for open connections before it sends the app its shutdown event. The reader of a
background response keeps its connection open while the response runs. So the sidecar drains first:

1. The first SIGTERM or SIGINT drains the app while the server still serves. Running responses get
   ``drain_timeout`` to end. Then they are ended, and their readers get the last events.
2. Then the server shuts down. Requests that are still open at that deadline are cut. A connection
   whose client has not taken all of its answer a moment later is reset.

A second signal ends the process at once, as a crash would.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import anyio
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from response_cache._redaction import redacted
from response_cache_server._app import Sidecar, build_app
from response_cache_server._asgi import race
from response_cache_server._builtin.events import MODEL
from response_cache_server._http1 import Connection, Limits
from response_cache_server._settings import BadSettings, Settings

__all__ = ("CannotListen", "SidecarServer", "listen", "serve")

KEEP_ALIVE_TIMEOUT: Final = 75
"""Seconds. Longer than the 60 s for which load balancers keep idle connections."""
LAST_BYTES_GRACE: Final = 0.25
"""Seconds past the drain time-out in which clients may read what was written to them."""
RESET_GRACE: Final = 0.25
"""Seconds that uvicorn gets to notice resets, for which it looks every 0.1 s. It logs an error when
it gives up on connections, so it must not give up before."""
SHUTDOWN_GRACE: Final = 0.75
"""Seconds past the drain time-out for the whole shutdown of the server."""


class CannotListen(Exception):
    """The address is in use, not permitted, or not of this machine."""


def serve(settings: Settings) -> None:
    """Listen, print the address, and serve until a signal ends it.

    Raises:
        BadSettings: the scheme of the store's URL is unknown, or its driver is not installed.
        CannotListen: see ``listen``.
        SystemExit: the app could not start; the log names the cause.
    """
    try:
        sidecar = build_app(settings, drain_on_signals=False)
    except (ValueError, ImportError) as error:
        raise BadSettings(str(error)) from error
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        sidecar,
        # Typed as a class, but uvicorn only calls it.
        http=cast("type[asyncio.Protocol]", partial(Connection, limits=_limits(settings))),
        lifespan="on",
        ws="none",
        log_config=_log_config(settings.log_level.upper()),
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        server_header=False,
        proxy_headers=False,  # ProxyApp adds the peer to X-Forwarded-For: it needs the real one
    )
    server = SidecarServer(
        config,
        sidecar,
        drain_timeout=settings.drain_timeout,
        started=lambda: _announce(settings, listener),
    )
    server.run(sockets=[listener])


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_head_bytes=settings.max_head_bytes,
        max_head_fields=settings.max_head_fields,
        head_timeout=settings.head_timeout,
        body_timeout=settings.body_timeout,
        keep_alive=KEEP_ALIVE_TIMEOUT,
        max_connections=settings.max_connections,
    )


class SidecarServer(uvicorn.Server):
    """A server that drains *sidecar* on the first signal. *started* is called once it serves."""

    def __init__(
        self,
        config: uvicorn.Config,
        sidecar: Sidecar,
        *,
        drain_timeout: float,
        started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._sidecar = sidecar
        self._drain_timeout = drain_timeout
        self._on_started = started
        self._deadline = 0.0  # on the loop's clock; set by the first signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:  # the second signal ends the process at once
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        # uvicorn would raise the signal again at the end, but a drained stop is a success.
        self.should_exit = True

    async def main_loop(self) -> None:
        await super().main_loop()
        self._deadline = anyio.current_time() + self._drain_timeout
        with anyio.move_on_after(self._drain_timeout + LAST_BYTES_GRACE):
            await race(self._sidecar.drain, self._keep_ticking)

    async def _keep_ticking(self) -> None:
        while True:
            await anyio.sleep(1)
            await self.on_tick(0)  # renews the Date header of answers

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        left = max(self._deadline - anyio.current_time(), 0)
        # Typed as whole seconds, and handed as it is to a function that takes any.
        give_up_after = left + LAST_BYTES_GRACE + RESET_GRACE
        self.config.timeout_graceful_shutdown = give_up_after  # type: ignore[assignment]
        with anyio.move_on_after(left + SHUTDOWN_GRACE):
            async with anyio.create_task_group() as group:
                group.start_soon(self._cut_after, left)
                await super().shutdown(sockets)
                group.cancel_scope.cancel()

    async def _cut_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._sidecar.cut(self.server_state.tasks)
        await anyio.sleep(LAST_BYTES_GRACE)
        for connection in tuple(self.server_state.connections):
            cast("Connection", connection).reset()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Its connections send each write at once (``TCP_NODELAY``).

    Raises:
        CannotListen: the address is in use, not permitted, or not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((address[0], port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # create_server adds the address
        raise CannotListen(f"cannot listen on {host}:{port}: {reason}") from error
    # Connections inherit it. asyncio alone does not set it here, and then the body of an answer
    # would wait 40 ms for the acknowledgement of its head (Nagle's algorithm, delayed ACK).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _announce(settings: Settings, listener: socket.socket) -> None:
    url = _base_url(listener)
    upstream = redacted(settings.upstream or "built in")
    store = redacted(settings.store)
    model = MODEL if settings.upstream is None else "MODEL"
    body = f'{{"model": "{model}", "input": "Tell me a story", "background": true}}'
    key = "" if settings.upstream is None else " -H 'Authorization: Bearer KEY'"
    print(f"response-cache listens on {url} (upstream: {upstream}, store: {store})")
    print(
        f"Try: curl {url}/v1/responses -H 'Content-Type: application/json'{key} -d '{body}'",
        flush=True,
    )


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _WithoutKeys(logging.Filter):
    """Removes keys from the request targets in uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                redacted(value) if isinstance(value, str) and value.startswith("/") else value
                for value in record.args
            )
        return True


def _log_config(level: str) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"without_keys": {"()": _WithoutKeys}}
    config["handlers"]["access"]["filters"] = ["without_keys"]
    ours = {"handlers": ["default"], "level": level, "propagate": False}
    for name in ("response_cache", "response_cache_asgi", "response_cache_server"):
        config["loggers"][name] = ours
    return config
