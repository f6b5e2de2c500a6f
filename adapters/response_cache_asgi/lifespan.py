"""The lifespan of the wrapped app, with responses hosted in it.

The cache is open before the app starts and drains before the app is told to shut down, so that
running responses still find what they need of the app. For an app that does not speak the protocol
we do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from response_cache_asgi.host import Host
from response_cache_asgi.signals import on_stop_signal
from response_cache_asgi.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ("Lifespan",)

logger = logging.getLogger("response_cache.asgi")


class Lifespan:
    """One run of the protocol (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

    def __init__(
        self,
        app: ASGIApp,
        host: Host,
        drain: Callable[[], Coroutine[Any, Any, None]],
        *,
        signals: bool,
    ) -> None:
        """*drain* ends the running work; with *signals* as soon as the server is told to stop."""
        self._app = app
        self._host = host
        self._drain = drain
        self._signals = signals
        self._was_asked = False  # the server's first message has been received
        self._has_answered = False  # by startup.complete or startup.failed

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Host responses from before the app's start-up until after its shutdown."""

        async def receive_and_drain() -> Message:
            message = await receive()
            self._was_asked = True
            if message["type"] == "lifespan.shutdown":
                await self._drain()
            return message

        async def note_and_send(message: Message) -> None:
            self._has_answered = True
            await send(message)

        try:
            async with self._host.running(), anyio.create_task_group() as tasks:
                with on_stop_signal(lambda: tasks.start_soon(self._drain), self._signals):
                    await self._run_app(scope, receive_and_drain, note_and_send)
        except Exception as error:
            if not self._has_answered:
                await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            raise

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's own lifespan, or ours in its place when it has none."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if self._has_answered:
                raise
            logger.info("the app has no lifespan (%s): hosting without it", type(error).__name__)
        if self._has_answered:
            return
        if not self._was_asked:
            await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
