"""Where the responses of a process live: in a portal's event loop, opened by the first request.

**Forks.** A child of a fork has no threads of its parent, and locks that such threads held stay
locked. It would share the parent's connections. So a child forgets what it inherited, and opens a
store of its own when it needs one.

**The end of the process.** The cache is drained on the signal that stops the server, if the main
thread lets us put our handler before the server's. Otherwise it is drained when the main thread has
ended: the interpreter then still waits for the server's threads, which may be sending our streams.
The exit of the interpreter waits, in bounded time, until the store is closed.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Final
from weakref import WeakSet

import anyio

from response_cache._hosting import (
    STREAM_END_GRACE,
    HostedCache,
    hosting,
    log_not_open,
    naming_the_cause,
    not_open,
    on_stop_signal,
    shutting_down,
)
from response_cache.http import ResponsesAPI
from response_cache_wsgi._sigterm import draining_on_sigterm
from response_cache_wsgi._threads.portal import Portal

__all__ = ("Host",)

logger = logging.getLogger("response_cache.wsgi")

EXIT_CHECK_INTERVAL: Final = 0.2  # seconds between two checks whether the main thread has ended
STORE_CLOSE_TIMEOUT: Final = 5.0  # seconds for closing the store, after the drain


class Host:
    """Opens a portal once for each process, and closes it again."""

    def __init__(
        self,
        make: Callable[[], ResponsesAPI],
        *,
        is_forkable: bool,
        drain_timeout: float,
        drains_on_signals: bool,
    ) -> None:
        """*make* gives the HTTP API of a new cache, and of a new store if it *is_forkable*."""
        self._make = make
        self._is_forkable = is_forkable
        self._close_timeout = drain_timeout + STREAM_END_GRACE + STORE_CLOSE_TIMEOUT
        self._drains_on_signals = drains_on_signals
        self._signals = ExitStack()
        self._lock = threading.Lock()
        self._portal: Portal[HostedCache] | None = None
        self._inherited: list[object] = []
        self._is_closed = False
        self._hook_signals()
        HOSTS.add(self)

    def portal(self) -> Portal[HostedCache]:
        """The open portal of this process; opens one where there is none.

        Raises:
            Unavailable: it could not be opened, or was closed for good.
            RuntimeError: the store was opened before this process was forked.
        """
        portal = self._portal
        if portal is None or portal.pid != os.getpid() or portal.has_ended:
            portal = self._started()
        try:
            portal.hosted  # noqa: B018 - waits until it is open
        except Exception as error:
            self._forget(portal, error)
            raise not_open() from error
        return portal

    @property
    def open_portal(self) -> Portal[HostedCache] | None:
        """The portal of this process, if it is open."""
        portal = self._portal
        is_own = portal is not None and portal.pid == os.getpid() and portal.is_open
        return portal if is_own else None

    def start(self) -> None:
        """Open the portal now. In the main thread, also have stop signals drain it.

        Raises:
            Unavailable: as ``portal`` does, with the cause in the message.
        """
        self._hook_signals()
        with naming_the_cause():
            self.portal()

    @property
    def is_draining(self) -> bool:
        """Whether this process has an open cache that takes no more background work."""
        portal = self.open_portal
        return portal is not None and portal.hosted.api.cache.is_draining

    def drain(self) -> None:
        """Drain the open cache of this process, if there is one."""
        portal = self.open_portal
        if portal is not None:
            portal.call(portal.hosted.drain())

    def close(self) -> None:
        """Drain and close the cache of this process, for good."""
        self._is_closed = True
        if threading.current_thread() is threading.main_thread():
            self._signals.close()
        portal = self._portal
        if portal is not None and portal.pid == os.getpid():
            portal.close(self._close_timeout)
        atexit.unregister(self.close)

    def renew(self) -> None:
        """In the child of a fork: forget what the parent had locked and opened."""
        self._lock = threading.Lock()
        self._forget_inherited()

    def _started(self) -> Portal[HostedCache]:
        with self._lock:
            self._forget_inherited()
            if self._is_closed:
                raise shutting_down()
            if self._portal is None or self._portal.has_ended:
                if self._inherited and not self._is_forkable:
                    raise RuntimeError(
                        "the store was opened before this process was forked: give its URL instead"
                    )
                self._hook_signals()
                atexit.register(self.close)
                self._portal = Portal(self._hosting)
                self._portal.start()
            return self._portal

    def _forget(self, portal: Portal[HostedCache], error: Exception) -> None:
        """Log why *portal* did not open, and let the next request open another."""
        with self._lock:
            if self._portal is not portal:
                return
            self._portal = None
        log_not_open(logger, error)

    def _forget_inherited(self) -> None:
        if self._portal is not None and self._portal.pid != os.getpid():
            # Kept alive, not closed: the parent uses the same sockets and files.
            self._inherited.append(self._portal)
            self._portal = None

    @asynccontextmanager
    async def _hosting(self) -> AsyncGenerator[HostedCache]:
        async with (
            hosting(self._make(), drain_on_signals=False) as hosted,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_drain_at_exit, hosted)
            yield hosted
            await hosted.drain()
            tasks.cancel_scope.cancel()

    def _hook_signals(self) -> None:
        """Put our handlers before those of the server. Only the main thread may do so."""
        if threading.current_thread() is threading.main_thread():
            self._signals.close()
            if self._drains_on_signals:
                self._signals.enter_context(draining_on_sigterm(_close_all))
                self._signals.enter_context(on_stop_signal(self._drain_soon, soon=_at_once))

    def _drain_soon(self) -> None:
        portal = self.open_portal
        if portal is not None:
            portal.spawn(portal.hosted.drain())


HOSTS: Final[WeakSet[Host]] = WeakSet()


def _renew_all() -> None:
    for host in tuple(HOSTS):
        host.renew()


def _close_all() -> None:
    for host in tuple(HOSTS):
        host.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


def _at_once(run: Callable[[], object]) -> object:
    return run()


async def _drain_at_exit(hosted: HostedCache) -> None:
    while threading.main_thread().is_alive():  # noqa: ASYNC110 - there is no event for it
        await anyio.sleep(EXIT_CHECK_INTERVAL)
    await hosted.drain()
