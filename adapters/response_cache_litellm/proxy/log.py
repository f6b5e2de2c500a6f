"""Our log in a worker of the proxy: where nothing is set up for it, it goes to the standard error.

LiteLLM sets up its own loggers and uvicorn its own, and neither the root's: then nothing below a
warning would be seen of ours, neither where responses are kept nor what one cost.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ("set_up_log",)

OURS: Final = logging.getLogger("response_cache")
FORMAT: Final = "%(levelname)s: %(name)s: %(message)s"


def set_up_log(level: str | None) -> None:
    """Make our lines visible, from *level* on. Handlers and level of the root logger stay.

    Without a *level* it is ``info`` where no handler is set up, else the host's own.
    """
    if level is None and not OURS.hasHandlers():
        level = "info"
    if level is not None:
        OURS.setLevel(level.upper())
    if not any(isinstance(handler, _Fallback) for handler in OURS.handlers):
        OURS.addHandler(_Fallback())


class _Fallback(logging.StreamHandler):  # type: ignore[type-arg]  # of the standard error
    """Writes what no other handler would: the root's may come later, as LiteLLM's for JSON do."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)
