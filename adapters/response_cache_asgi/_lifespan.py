"""The lifespan of the wrapped app, with responses hosted in it.

The cache is open before the app starts, and drains before the app is told to shut down: running
responses still need the app. The server is told of the shutdown when the cache is closed, too. An
app that does not speak the protocol, or leaves it early, is stood in for.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from response_cache._hosting import why_not_open
from response_cache_asgi._host import Host
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send

__all__ = ("Lifespan",)

logger = logging.getLogger("response_cache.asgi")

APP_EXIT_GRACE: Final = 0.5  # seconds that an app may run on after it has said that it is shut down


class Lifespan:
    """One run of the protocol (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

    def __init__(self, app: ASGIApp, host: Host, receive: Receive, send: Send) -> None:
        self._app = app
        self._host = host
        self._from_server = receive
        self._to_server = send
        self._received: list[str] = []  # types of the server's messages
        self._start_result = ""  # type of the message that told how the start went
        self._shutdown_result: Message | None = None  # held back until the cache is closed
        self._running = anyio.CancelScope()

    async def run(self, scope: Scope) -> None:
        """Host responses from before the app's start-up until after its shutdown.

        Raises what the app raises, or what opening the store raises.
        """
        try:
            failure = await self._host_app(scope)
        except Exception as error:
            if not self._start_result:
                await self._fail(error)
            raise
        if failure is not None:
            raise failure
        if self._shutdown_result is not None:
            await self._to_server(self._shutdown_result)

    async def _host_app(self, scope: Scope) -> Exception | None:
        """What the app failed with. Raised by the caller, so that the host drains first."""
        async with self._host.running():
            try:
                await self._run_app(scope)
            except Exception as error:  # noqa: BLE001 - raised by the caller
                return error
        return None

    async def _run_app(self, scope: Scope) -> None:
        try:
            with self._running:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self._start_result:
                raise
            logger.info("the app has no lifespan (%s): hosting without it", type(error).__name__)
        await self._stand_in()

    async def _stand_in(self) -> None:
        """Speak the rest of the protocol for an app that has left it early."""
        if not self._received:
            await self._receive()
        if not self._start_result:
            await self._send({"type": "lifespan.startup.complete"})
        if self._start_result == "lifespan.startup.complete" and self._shutdown_result is None:
            if "lifespan.shutdown" not in self._received:
                await self._receive()
            self._shutdown_result = {"type": "lifespan.shutdown.complete"}

    async def _receive(self) -> Message:
        message = await self._from_server()
        self._received.append(message["type"])
        if message["type"] == "lifespan.shutdown":
            await self._host.drain()
        return message

    async def _send(self, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            self._shutdown_result = message
            self._running.deadline = anyio.current_time() + APP_EXIT_GRACE  # some apps never return
            return
        await self._to_server(message)
        self._start_result = message["type"]  # only now: the server may refuse the message

    async def _fail(self, error: Exception) -> None:
        self._start_result = "lifespan.startup.failed"
        await self._to_server({"type": self._start_result, "message": why_not_open(error)})
