"""Event loops whose time jumps to the next timer as soon as nothing else can run.

Hours pass in no time, and in the same order each time. For tests in one process without sockets:

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return virtual_backend(request.param)
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

__all__ = ("VirtualLoop", "virtual_backend")


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """The backend of this name with a clock that jumps, as the anyio pytest plugin takes it."""
    if name == "trio":
        import trio.testing

        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return name, {"loop_factory": VirtualLoop}


class VirtualLoop(asyncio.SelectorEventLoop):
    """The standard loop with a clock that starts at 0 and never waits."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds that have passed by jumps."""
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until a timer is due, moves the clock there."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; with nothing ready and a timer set, its time has come."""
        if timeout is None:  # only another thread can wake this loop
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.now += timeout
        return ready
