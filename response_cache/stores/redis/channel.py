"""What this process knows of the responses that somebody in it waits for.

A channel tells each change of one response, with all that a waiting reader wants to know of it: the
*position*. So as long as a channel is listened to without a gap, the position is known here and
nobody needs to ask the server. After a gap it is unknown until somebody asks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

__all__ = ("News", "Position")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a response is."""

    incarnation: str
    epoch: int
    tail: int
    closed: bool

    @classmethod
    def told(cls, message: bytes) -> Position | None:
        """The position in a message of a channel; None when the response is gone."""
        words = message.decode().split(" ", 3)
        if len(words) < 4:
            return None
        epoch, tail, closed, incarnation = words
        return cls(incarnation, int(epoch), int(tail), closed == "1")

    def has_news(self, *, after: int, epoch: int, incarnation: str, closed: bool) -> bool:
        """Whether this is more than a reader has seen (``Store.wait``)."""
        return (
            self.tail > after + 1
            or self.closed != closed
            or (self.epoch, self.incarnation) != (epoch, incarnation)
        )

    def joined(self, other: Position) -> Position | None:
        """The later of two positions; None for two incarnations, which have no order."""
        if self.incarnation != other.incarnation:
            return None
        return Position(
            self.incarnation,
            max(self.epoch, other.epoch),
            max(self.tail, other.tail),
            self.closed or other.closed,
        )


class News:
    """One channel: who waits for it here, and what was heard."""

    def __init__(self, channel: bytes) -> None:
        self.channel = channel
        self.waiting = 0
        self.position: Position | None = None  # None: unknown
        self.is_live = False  # every message comes here, since the position was known
        self.gap = 0  # counts the losses of the connection
        self.restored = 0  # how many of them are over
        self._known_at = 0.0
        self._was_missed = False
        self._changed = asyncio.Event()

    # Of those who wait.

    def enter(self) -> int:
        """Begin to wait. Give the answer to ``is_restored`` later."""
        self.waiting += 1
        missed, self._was_missed = self._was_missed, False
        return self.restored - missed

    def is_restored(self, entered: int) -> bool:
        """Whether messages come again after a loss that the waiter should hear of."""
        return self.is_live and self.restored > entered

    def known(self, within: float) -> Position | None:
        """The position, if it was learnt or heard within so many seconds: expiry is not told."""
        if asyncio.get_running_loop().time() - self._known_at > within:
            self.position = None
        return self.position

    def learn(self, asked: Position, gap: int) -> Position | None:
        """Take what the server answered when it was asked, while *gap* losses were known.

        What was heard meanwhile may be later; the result is the latest, or None if nobody knows.
        """
        if not self.is_live or self.gap != gap:
            return asked
        self._know(asked if self.position is None else asked.joined(self.position))
        return self.position

    def forget(self) -> None:
        """Have the next one who looks ask the server."""
        self.position = None

    async def change(self, within: float) -> bool:
        """Wait for anything to happen; whether it did within that many seconds."""
        changed = self._changed
        try:
            async with asyncio.timeout(within):
                await changed.wait()
        except TimeoutError:
            return False
        return True

    async def go_live(self, within: float) -> None:
        """Wait until messages come here, but not for ever."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while not self.is_live and (left := until - loop.time()) > 0:
            await self.change(left)

    # Of the one who listens.

    def confirm(self) -> None:
        """From now on every message comes here."""
        self.is_live = True
        if self.restored < self.gap:
            self.restored = self.gap
            self._was_missed = not self.waiting
        self._notify()

    def hear(self, message: bytes) -> None:
        """Take a message of the channel."""
        position = Position.told(message)
        if position is not None and self.position is not None:
            position = self.position.joined(position)
        self._know(position)
        self._notify()

    def cut(self) -> None:
        """Messages may be lost from now on."""
        self.is_live = False
        self.position = None
        self.gap += 1
        self._notify()

    def _know(self, position: Position | None) -> None:
        self.position = position
        self._known_at = asyncio.get_running_loop().time()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
