"""Runs the sidecar in this process, and ends it without losing what it records.

Servers wait for open connections before they tell an app to stop, and the reader of a background
response keeps its connection open for as long as the response runs. So the first SIGTERM or SIGINT
drains the app while the server still serves: running responses get ``drain_timeout``, then readers
are ended, and only then the server shuts down; requests that are open still are cut at the same
deadline. A second signal ends the process at once, as if it had crashed.
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

from response_cache.redaction import redacted
from response_cache_server.app import Sidecar, build_app
from response_cache_server.asgi import race
from response_cache_server.builtin.events import MODEL
from response_cache_server.http1 import Connection, Limits
from response_cache_server.settings import BadSettings, Settings

__all__ = ("CannotListen", "SidecarServer", "listen", "serve")

KEEP_ALIVE: Final = 75  # seconds; longer than the 60 for which load balancers keep connections
LEAVE: Final = 0.25  # seconds for ended readers to take their last bytes
SPARE: Final = 0.5  # seconds past the drain time-out for the whole rest of the shutdown


class CannotListen(Exception):
    """The address is taken, not allowed or not known here."""


def serve(settings: Settings) -> None:
    """Listen, say where, and serve until a signal ends it.

    Raises:
        BadSettings: the store's URL is not known, or its driver is not installed.
        CannotListen: the address is taken or not ours.
        SystemExit: the app could not start; the log says why.
    """
    try:
        sidecar = build_app(settings, drain_on_signals=False)
    except (ValueError, ImportError) as error:
        raise BadSettings(str(error)) from error
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        sidecar,
        # uvicorn calls it, and does nothing else with it.
        http=cast("type[asyncio.Protocol]", partial(Connection, limits=_limits(settings))),
        lifespan="on",
        ws="none",
        log_config=_log_config(settings.log_level.upper()),
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        server_header=False,
        proxy_headers=False,  # the proxy behind adds the peer to the chain; it must be the peer
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
        keep_alive=KEEP_ALIVE,
        max_connections=settings.max_connections,
    )


class SidecarServer(uvicorn.Server):
    """A server that drains *sidecar* on the first signal; *started* is called once it serves."""

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
        if self.should_exit:  # whoever asks twice is not asked to wait: what runs is as if crashed
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        # The signal is not kept to be raised again at the end: a drained stop is a success.
        self.should_exit = True

    async def main_loop(self) -> None:
        await super().main_loop()
        self._deadline = anyio.current_time() + self._drain_timeout
        with anyio.move_on_after(self._drain_timeout + LEAVE):
            await race(self._sidecar.drain, self._keep_ticking)

    async def _keep_ticking(self) -> None:
        while True:
            await anyio.sleep(1)
            await self.on_tick(0)  # keeps the Date of answers right

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        left = max(self._deadline - anyio.current_time(), 0)
        # Typed as whole seconds, and handed as it is to a function that takes any.
        self.config.timeout_graceful_shutdown = left + LEAVE  # type: ignore[assignment]
        with anyio.move_on_after(left + SPARE):
            async with anyio.create_task_group() as group:
                group.start_soon(self._cut_after, left)
                await super().shutdown(sockets)
                group.cancel_scope.cancel()

    async def _cut_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._sidecar.cut(self.server_state.tasks)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket whose connections send what they have at once.

    Raises:
        CannotListen: the address is taken or not ours.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((address[0], port), family=family, backlog=2048)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # create_server adds the address
        raise CannotListen(f"cannot listen on {host}:{port}: {reason}") from error
    # Inherited by connections. Without uvloop nobody else sets it, and then the body of an answer
    # waits until its head was acknowledged, which takes 40 ms.
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
    """Takes the keys out of the addresses that clients ask for, which uvicorn logs whole."""

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
