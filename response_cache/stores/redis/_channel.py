"""What this process knows about one response that a task in it waits for.

The server publishes each change of a response on a channel. A message holds the *position* of the
response, which is all that a waiting reader needs. While every message arrives, the last position
is known here, and no task has to ask the server. When messages may have been lost, the position is
unknown until a task asks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ("Channel", "Position")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a response is."""

    incarnation: str
    epoch: int
    tail: int
    closed: bool

    @classmethod
    def parsed(cls, message: bytes) -> Position | None:
        """The position in a message of a channel; None when the response was deleted."""
        words = message.decode().split(" ", 3)
        if len(words) < 4:
            return None
        epoch, tail, closed, incarnation = words
        return cls(incarnation, int(epoch), int(tail), closed == "1")

    def is_news(self, *, after: int, epoch: int, incarnation: str, closed: bool) -> bool:
        """Whether a reader that has seen this much has to read again (``Store.wait``)."""
        return (
            self.tail > after + 1
            or self.closed != closed
            or (self.epoch, self.incarnation) != (epoch, incarnation)
        )

    def merged(self, other: Position) -> Position | None:
        """The later of two positions; None for two incarnations, which have no order."""
        if self.incarnation != other.incarnation:
            return None
        return Position(
            self.incarnation,
            max(self.epoch, other.epoch),
            max(self.tail, other.tail),
            self.closed or other.closed,
        )


class Channel:
    """One channel: how many tasks of this process wait for it, and the last known position."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.waiters = 0
        self.position: Position | None = None  # None: unknown
        self.is_live = False  # subscribed: every message arrives
        self.losses = 0  # how often the connection was lost
        self.recovered = 0  # how many of these losses are over
        self._known_at = 0.0
        self._was_missed = False  # a recovery that no waiter saw
        self._changed = asyncio.Event()

    # For waiting tasks.

    def enter(self) -> int:
        """Begin to wait. Returns a mark for ``is_recovered``."""
        self.waiters += 1
        missed, self._was_missed = self._was_missed, False
        return self.recovered - missed

    def is_recovered(self, mark: int) -> bool:
        """Whether messages arrive again after a loss that the owner of *mark* has not seen."""
        return self.is_live and self.recovered > mark

    def known(self, max_age: float) -> Position | None:
        """The position, if it is not older than *max_age* seconds.

        It does not stay valid for ever, because no message tells that a record has expired.
        """
        if asyncio.get_running_loop().time() - self._known_at > max_age:
            self.position = None
        return self.position

    def learn(self, answer: Position, losses: int) -> Position | None:
        """Combine the server's *answer* with the messages since the question.

        *losses* is the count at the time of the question: after another loss the answer is
        returned, but not kept. Returns the latest position, or None when it is unknown.
        """
        if not self.is_live or self.losses != losses:
            return answer
        self._know(answer if self.position is None else answer.merged(self.position))
        return self.position

    def forget(self) -> None:
        """Drop the position, so that the next waiting task asks the server."""
        self.position = None

    async def change(self, timeout: float) -> bool:
        """Wait for a message, a loss or a recovery; False after *timeout* seconds without one."""
        changed = self._changed
        try:
            async with asyncio.timeout(timeout):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    async def until_live(self, timeout: float) -> None:
        """Wait until messages arrive, but at most *timeout* seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not self.is_live and (left := deadline - loop.time()) > 0:
            await self.change(left)

    # For the listener.

    def subscribed(self) -> None:
        """From now on every message arrives."""
        self.is_live = True
        if self.recovered < self.losses:
            self.recovered = self.losses
            self._was_missed = not self.waiters
        self._notify()

    def receive(self, message: bytes) -> None:
        """Take a message of the channel."""
        position = Position.parsed(message)
        if position is not None and self.position is not None:
            position = self.position.merged(position)
        self._know(position)
        self._notify()

    def lost(self) -> None:
        """From now on messages may be lost."""
        self.is_live = False
        self.position = None
        self.losses += 1
        self._notify()

    def _know(self, position: Position | None) -> None:
        self.position = position
        self._known_at = asyncio.get_running_loop().time()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
