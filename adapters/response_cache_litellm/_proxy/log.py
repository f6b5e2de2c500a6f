"""Our log in a worker of the proxy. It goes to the standard error where no handler is set up.

LiteLLM and uvicorn set up their own loggers, and not the root logger. Then Python would show our
warnings alone, and neither where responses are kept nor what they cost.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ("set_up_log",)

OURS: Final = logging.getLogger("response_cache")
FORMAT: Final = "%(levelname)s: %(name)s: %(message)s"


def set_up_log(level: str | None) -> None:
    """Show our lines from *level* on. Handlers and level of the root logger stay.

    None: from ``info`` on where no handler is set up, else as the host's logging says.
    """
    if level is None and not OURS.hasHandlers():
        level = "info"
    if level is not None:
        OURS.setLevel(level.upper())
    if not any(isinstance(handler, _Fallback) for handler in OURS.handlers):
        OURS.addHandler(_Fallback())


class _Fallback(logging.StreamHandler):  # type: ignore[type-arg]  # of the standard error
    """Writes while the root logger has no handler. It may get one later: LiteLLM's for JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)
