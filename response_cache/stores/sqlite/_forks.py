"""Makes ``fork()`` safe in a process that uses SQLite.

A child process must inherit neither of these:

* a mutex that another thread holds inside SQLite: in the child it would stay locked for ever;
* an open connection: the child's SQLite would rely on file locks that only the parent holds. Its
  commits to the same file can then be lost, even those of a new connection
  (https://www.sqlite.org/howtocorrupt.html, section 2.6).

So a fork waits until running transactions have ended, closes all connections of the process, and
allows new ones afterwards.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

__all__ = ("ForkGuard",)


def _close_nothing() -> None:
    """For a guard whose connections are closed before each release."""


class ForkGuard:
    """Lock held while a thread is inside SQLite.

    ``fork()`` acquires every guard of the process first, so a child never inherits a locked mutex
    or an open connection.
    """

    def __init__(self, close: Callable[[], None] = _close_nothing) -> None:
        """*close* closes the connection that stays open between two uses.

        A forking thread calls it, while it holds the guard.
        """
        self._lock = threading.Lock()
        self._close = close
        with _registering:
            _guards.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for the thread inside SQLite, close the connection, and let no thread in."""
        self._lock.acquire()
        self._close()

    def after_fork(self) -> None:
        """Let threads in again, in the parent and in the child."""
        self._lock.release()


_registering: Final = threading.Lock()  # held during a fork, too: no guard may be added then
_guards: Final[WeakSet[ForkGuard]] = WeakSet()
_acquired: Final[list[ForkGuard]] = []  # by the fork that is running


def _before_fork() -> None:
    _registering.acquire()
    for guard in list(_guards):
        guard.before_fork()
        _acquired.append(guard)


def _after_fork() -> None:
    while _acquired:
        _acquired.pop().after_fork()
    _registering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
