"""Our log in a worker of the proxy: where nothing is set up for it, it goes to the standard error.

LiteLLM sets up its own loggers and uvicorn its own, and neither the root's: then nothing below a
warning would be seen of ours, neither where responses are kept nor what one cost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

__all__ = ("LOG_LEVEL", "log_level", "set_up_log")

LOG_LEVEL: Final = "RESPONSE_CACHE_LOG_LEVEL"
LEVELS: Final = ("critical", "error", "warning", "info", "debug")
OURS: Final = logging.getLogger("response_cache")
FORMAT: Final = "%(levelname)s: %(name)s: %(message)s"


def log_level(environ: Mapping[str, str]) -> int | None:
    """The level that a variable asks for; None where there is none.

    Raises:
        ValueError: it is none of the five words. The message is one line.
    """
    word = environ.get(LOG_LEVEL)
    if not word:
        return None
    if word not in LEVELS:
        raise ValueError(f"{LOG_LEVEL}: must be one of {', '.join(LEVELS)}")
    return int(getattr(logging, word.upper()))


def set_up_log(environ: Mapping[str, str]) -> None:
    """Have our lines seen. Whoever has set up the root's handlers keeps them, and the level, too.

    Raises:
        ValueError: see ``log_level``.
    """
    level = log_level(environ)
    if level is None and not OURS.hasHandlers():
        level = logging.INFO
    if level is not None:
        OURS.setLevel(level)
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
