"""The SQLite store: responses in one file, shared by all processes of one machine.

The file is a SQLite database with a write-ahead log, so a restart loses nothing and no server is
needed. Each process has one thread that writes, in groups, and a few threads that read
(``threads``). A write wakes the waiting tasks of its own process at once; other processes notice it
within a few times *poll_interval* (``watch``).

The wall clock, which all processes of a machine share, decides leases and expiry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, get_args

from response_cache._eventloop import run_in_thread
from response_cache._log.batches import Batch, pack
from response_cache.store import Append, Appended, Claim, Link, NewRecord, RecordView, Taken
from response_cache.stores import _rules as rules
from response_cache.stores.sqlite._file import DatabaseFile, Synchronous
from response_cache.stores.sqlite._sweep import Sweep
from response_cache.stores.sqlite._threads import Threads
from response_cache.stores.sqlite._watch import ChangePoll, Waiter, Waiters
from response_cache.stores.sqlite._worker import PeriodicTask

__all__ = ("SQLiteStore",)

MAX_BYTES_PACKED_INLINE: Final = 2**16  # longer batches are packed in a thread


class SQLiteStore:
    """A ``Store`` in a file. Only the process and the event loop that opened it may use it."""

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "NORMAL",
        tombstone_ttl: float = 3600.0,
        poll_interval: float = 0.015,
        busy_timeout: float = 1.0,
        sweep_interval: float = 10.0,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Touch no file before ``open``. A relative *path* is resolved now.

        Args:
            path: the file. It is created if it is missing; its directory is not.
            synchronous: with ``NORMAL`` a power failure may lose the last moments. With ``FULL``
                each commit waits for the disk. With either, a process that dies loses nothing.
            tombstone_ttl: seconds for which a deleted id cannot be created again.
            poll_interval: seconds between two polls for the writes of other processes.
            busy_timeout: seconds to wait for the locks of other processes.
            sweep_interval: seconds between two sweeps, which remove expired rows.
            max_bytes: size of the file at which new responses and more events are refused; None:
                the disk is the limit. Ends of responses may make the file larger.
            clock: gives seconds above 0, the same in all processes.

        Raises:
            ValueError: *synchronous* is unknown, or a number is not positive.
        """
        if synchronous not in get_args(Synchronous):
            raise ValueError(f"synchronous must be one of {', '.join(get_args(Synchronous))}")
        bounds = [tombstone_ttl, poll_interval, busy_timeout, sweep_interval]
        if min(bounds) <= 0 or (max_bytes is not None and max_bytes <= 0):
            raise ValueError("times and max_bytes must be positive")
        self.flush_interval: float = 0.02
        self.may_lose_writes = False
        self.id_tag = ""
        self.tombstone_ttl = tombstone_ttl
        self._file = DatabaseFile(Path(path).absolute(), synchronous, busy_timeout, max_bytes)
        self._poll_interval = poll_interval
        self._sweep_interval = sweep_interval
        self._clock = clock
        self._waiters = Waiters()
        self._opened: Threads | None = None

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._file.path)!r})"

    async def open(self) -> None:
        """Create the file or bring it to the present format, and start the threads.

        Raises:
            StoreUnavailable: the file cannot be used; the message says why. It was not changed.
            StoreFull: there is no room for it.
        """
        await run_in_thread(self._file.prepare)
        self._waiters = Waiters()
        poll = ChangePoll(self._waiters, self._poll_interval)
        tasks: list[PeriodicTask] = [poll, Sweep(self._sweep_interval)]
        self._opened = Threads(self._file, self._clock, tasks)
        self._opened.start()

    async def aclose(self) -> None:
        """Finish all operations that have begun, close the file, and wake all waiting tasks."""
        threads, self._opened = self._opened, None
        if threads is not None:
            await threads.stop()
            self._waiters.wake_all()

    async def create(self, new: NewRecord, lease: float) -> Claim:
        """See ``Store.create``. The repeat of a create that is still open renews its lease."""
        block = await _packed(new.events)
        return await self._threads.write(
            lambda records: records.create(new, block, lease),
            lambda _: self._waiters.wake(new.id),
        )

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        """See ``Store.append``. A repeated append renews the lease, as a heartbeat does."""
        rules.require_token(append)
        block = await _packed(append.events)
        return await self._threads.write(
            lambda records: records.append(claim, append, block, lease),
            self._wake_all_of if append.close else self._wake_readers_of,
        )

    async def take(
        self, id: str, *, lease: float, only_orphaned: bool = False, raise_by: int = 1
    ) -> Taken:
        """See ``Store.take``. It is a renewal with the ttl that was last given."""
        return await self._threads.write(
            lambda records: records.take(
                id, lease=lease, only_orphaned=only_orphaned, raise_by=raise_by
            ),
            lambda _: self._waiters.wake(id),
        )

    async def read(
        self, id: str, *, after: int | None = None, limit: int | None = None
    ) -> RecordView | None:
        """See ``Store.read``."""
        return await self._threads.read(lambda records: records.read(id, after, limit))

    async def request(self, id: str) -> bytes | None:
        """See ``Store.request``."""
        return await self._threads.read(lambda records: records.request(id))

    async def wait(
        self, id: str, *, after: int, epoch: int, incarnation: str, closed: bool = False
    ) -> None:
        """See ``Store.wait``."""
        waiter = Waiter(after, epoch, incarnation, closed)
        with self._waiters.registered(id, waiter) as is_first:
            if is_first:
                self._threads.wake_writer()  # which does not poll while no task waits
            states = await self._threads.read(lambda records: records.states([id]))
            if not waiter.has_news(states.get(id)):
                await waiter.woken.wait()

    async def delete(self, id: str, *, claim: Claim | None = None) -> bool:
        """See ``Store.delete``. Without *claim* it leaves a tombstone also where nothing was."""
        return await self._threads.write(
            lambda records: records.delete(id, claim=claim, tombstone_ttl=self.tombstone_ttl),
            lambda _: self._waiters.wake(id),
        )

    async def renew(self, links: Sequence[Link], *, ttl: float) -> Sequence[bool]:
        """See ``Store.renew``. With *ttl* 0 it only reads."""
        run = self._threads.write if ttl > 0 else self._threads.read
        return await run(lambda records: records.renew(links, ttl))

    @property
    def _threads(self) -> Threads:
        if self._opened is None:
            raise RuntimeError("the SQLite store is not open")
        return self._opened

    def _wake_readers_of(self, appended: Appended) -> None:
        self._waiters.wake_readers(appended.claim.id, appended.claim.tail)

    def _wake_all_of(self, appended: Appended) -> None:
        self._waiters.wake(appended.claim.id)


async def _packed(events: Sequence[bytes]) -> bytes:
    """*events* as one block; ``b""`` for none."""
    if not events:
        return b""
    # A batch of runs keeps less than its events have, and is packed without making them.
    size = events.size if isinstance(events, Batch) else sum(map(len, events))
    if size <= MAX_BYTES_PACKED_INLINE:
        return pack(events)
    return await run_in_thread(partial(pack, events))
