"""The lifespan of the wrapped app, with responses hosted in it.

The cache is open before the app starts and drains before the app is told to shut down, so that
running responses still find what they need of the app. The server learns of the end only when the
cache is closed, too. For an app that does not speak the protocol, or not to its end, we do.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from response_cache_asgi.host import Host, why_not_open
from response_cache_asgi.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ("Lifespan",)

logger = logging.getLogger("response_cache.asgi")

AFTERWORD: Final = 0.5  # seconds that an app may run on after it has said that it is shut down


class Lifespan:
    """One run of the protocol (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

    def __init__(self, app: ASGIApp, host: Host, receive: Receive, send: Send) -> None:
        self._app = app
        self._host = host
        self._from_server = receive
        self._to_server = send
        self._asked: list[str] = []  # types of the server's messages
        self._answer = ""  # type of the one that told how the start went
        self._farewell: Message | None = None  # held back until the cache is closed
        self._running = anyio.CancelScope()

    async def run(self, scope: Scope) -> None:
        """Host responses from before the app's start-up until after its shutdown.

        Raises what the app raises, or what opening the store raises.
        """
        try:
            failure = await self._host_app(scope)
        except Exception as error:
            if not self._answer:
                await self._fail(error)
            raise
        if failure is not None:
            raise failure
        if self._farewell is not None:
            await self._to_server(self._farewell)

    async def _host_app(self, scope: Scope) -> Exception | None:
        """What the app failed with, taken out of the host so that it is not wrapped in groups."""
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
            if self._answer:
                raise
            logger.info("the app has no lifespan (%s): hosting without it", type(error).__name__)
        await self._stand_in()

    async def _stand_in(self) -> None:
        """The rest of the protocol, where the app has left it early."""
        if not self._asked:
            await self._receive()
        if not self._answer:
            await self._send({"type": "lifespan.startup.complete"})
        if self._answer == "lifespan.startup.complete" and self._farewell is None:
            if "lifespan.shutdown" not in self._asked:
                await self._receive()
            self._farewell = {"type": "lifespan.shutdown.complete"}

    async def _receive(self) -> Message:
        message = await self._from_server()
        self._asked.append(message["type"])
        if message["type"] == "lifespan.shutdown":
            await self._host.drain()
        return message

    async def _send(self, message: Message) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            self._farewell = message
            self._running.deadline = anyio.current_time() + AFTERWORD  # some apps never return
            return
        await self._to_server(message)
        self._answer = message["type"]  # now that the server has taken it as one

    async def _fail(self, error: Exception) -> None:
        self._answer = "lifespan.startup.failed"
        await self._to_server({"type": self._answer, "message": why_not_open(error)})
