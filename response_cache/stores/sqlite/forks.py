"""What a fork must not find: a thread inside of SQLite, or an open connection.

A mutex that another thread holds in that moment is held for ever in the child. And the child's
SQLite would believe in the locks of a connection that it inherits, though only the parent has them:
what it commits to the same file can then be lost, also through a connection of its own
(https://www.sqlite.org/howtocorrupt.html, 2.6). So a fork waits for transactions that run, closes
all connections of the process, and lets them be made again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

__all__ = ("Use",)


def _nothing() -> None:
    """Without connections between uses there are none to be closed."""


class Use:
    """A context in which one thread at a time may use SQLite, and the process does not fork."""

    def __init__(self, close: Callable[[], None] = _nothing) -> None:
        """*close* ends what is open between two uses; a thread that forks calls it, not within."""
        self._lock = threading.Lock()
        self._close = close
        with _entering:
            _uses.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def suspend(self) -> None:
        """Wait for the end of a use, close what is open, and let nobody in."""
        self._lock.acquire()
        self._close()

    def resume(self) -> None:
        """Let threads in again."""
        self._lock.release()


_entering: Final = threading.Lock()  # held while the process forks, too: nobody new may come then
_uses: Final[WeakSet[Use]] = WeakSet()
_suspended: Final[list[Use]] = []


def _suspend_all() -> None:
    _entering.acquire()
    for use in list(_uses):
        use.suspend()
        _suspended.append(use)


def _resume_all() -> None:
    while _suspended:
        _suspended.pop().resume()
    _entering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_suspend_all, after_in_parent=_resume_all, after_in_child=_resume_all
    )
