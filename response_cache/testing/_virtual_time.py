"""Event loops whose clock jumps to the next timer as soon as no task can run.

Hours pass at once, and each run has the same order. For tests in one process without sockets:

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
    """The backend *name* with such a clock, as a value of the fixture ``anyio_backend``."""
    if name == "trio":
        import trio.testing

        return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return name, {"loop_factory": VirtualLoop}


class VirtualLoop(asyncio.SelectorEventLoop):
    """The standard asyncio loop with a clock that starts at 0 and jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """The seconds of all jumps."""
        return self.now


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock to the next timer instead of waiting for it."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready. Where nothing is, and a timer is set, the clock jumps to its time."""
        if timeout is None:  # only another thread can wake this loop
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.now += timeout
        return ready
