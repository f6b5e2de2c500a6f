"""Shows the words of an answer as they arrive: live in a terminal, as lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

__all__ = ("Display",)

TAIL_LENGTH: Final = 160  # characters of the story that are shown


class Display:
    """Shows how much of an answer of *total* words has come. A context manager."""

    def __init__(self, console: Console, title: str, *, total: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._state = ""
        self._words = -1
        self._live = Live(console=console, refresh_per_second=20) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, state: str, story: str) -> None:
        """Show the *state* of the answer, and its words so far."""
        words = len(story.split())
        if self._live is not None:
            self._live.update(self._picture(state, story, words))
        elif words >= self._words + self._total // 5 or words == self._total > self._words:
            self._words = words
            self._console.print(f"{self._title}: {state}, {words} of {self._total} words")

    def note(self, text: str) -> None:
        """Print *text* above the picture."""
        self._console.print(f"{self._title}: {text}")

    def _picture(self, state: str, story: str, words: int) -> Group:
        head = Text(f"{self._title}: {state}, {words} of {self._total} words", style="bold")
        tail = story if len(story) <= TAIL_LENGTH else "..." + story[-TAIL_LENGTH:]
        bar = ProgressBar(total=self._total, completed=words, width=50)
        return Group(head, bar, Text(tail, style="dim"))
