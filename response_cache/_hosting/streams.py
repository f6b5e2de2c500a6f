"""The streams that are being sent from one event loop, so that a drain can end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from response_cache.errors import StreamBroken

__all__ = ("Streams",)


class Streams:
    """A cancel scope for each stream that is being sent."""

    def __init__(self) -> None:
        self._scopes: set[anyio.CancelScope] = set()
        self._ended = anyio.Event()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Counts as a stream while the context lasts, and may be broken off in it.

        Raises:
            StreamBroken: it was broken off.
        """
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
                self._ended.set()
                self._ended = anyio.Event()
        if scope.cancelled_caught:
            raise StreamBroken.of("its reader has not taken what there was in time")

    async def end(self, within: float) -> None:
        """Return when all streams have ended; break off the rest after *within* seconds."""
        with anyio.move_on_after(within):
            while self._scopes:
                await self._ended.wait()
        for scope in tuple(self._scopes):
            scope.cancel()
