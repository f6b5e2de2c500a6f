"""The request to the proxy that makes a background response, as LiteLLM's callbacks find it.

A context variable holds it. It is set around the request, and every callback that LiteLLM calls for
the request sees it, also in LiteLLM's threads. A client cannot forge it, unlike a header.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from response_cache import Answer

__all__ = ("BackgroundRun", "current_background_run")


@dataclass(slots=True, eq=False)
class BackgroundRun:
    """One request to the proxy that makes a background response."""

    answer: Answer
    is_billed: bool = False  # its cost has been logged
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def admitted(self, **notes: Any) -> None:
        """The provider is about to be called, with *notes* about it. From any thread."""
        self._loop.call_soon_threadsafe(self._admit, notes)

    def note_usage(self, usage: Mapping[str, Any] | None) -> None:
        """Note the response's *usage* for operators, and the cost that LiteLLM puts into it."""
        if usage is not None:
            self.answer.note("usage", usage)
            if "cost" in usage:
                self.answer.note("cost", usage["cost"])

    def _admit(self, notes: dict[str, Any]) -> None:
        for name, value in notes.items():
            self.answer.note(name, value)
        self.answer.admitted()


current_background_run: Final[ContextVar[BackgroundRun | None]] = ContextVar(
    "response_cache_run", default=None
)
"""The run that the present task works for; None in any other request."""
