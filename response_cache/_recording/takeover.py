"""Ends a response that another process may be recording: take, fold, closing append.

To cancel a response and to close an orphan are the same three steps. The take fences the previous
holder, so that it writes nothing in between. A process that dies after its take leaves an orphan
again, as soon as its short lease is over.

When many processes try at once, the last one to take the response closes it, and the rest find it
closed. A process that was fenced waits for a random time before it tries again: else each of them
could fence the next for ever.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from response_cache._protocol.dialects import DIALECTS
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._record import Header, header_of
from response_cache._recording.recorder import Recorder
from response_cache._recording.recovery import back_off
from response_cache.errors import (
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreUnavailable,
)
from response_cache.options import Options
from response_cache.store import Append, Claim, RecordView, Store

__all__ = ("LOST_WORKER", "draw_rise", "end_as", "lifetimes")

LOST_WORKER: Final = Failure("The worker that produced this response was lost.")
FIRST_DELAY: Final = 0.01  # seconds before a take is repeated, at most; doubled each time
LONGEST_DELAY: Final = 0.5
LARGEST_RISE: Final = 2**32 - 1  # of an epoch by one take
_ATTEMPTS: Final = 3


def draw_rise() -> int:
    """By how much a take raises the epoch: at random, since takes may be lost (see ``store``)."""
    return 1 + secrets.randbelow(LARGEST_RISE)


async def end_as(
    trigger: Trigger,
    id: str,
    *,
    store: Store,
    options: Options,
    now: Callable[[], float],
    only_orphaned: bool = False,
    raise_by: Callable[[], int] = draw_rise,
) -> RecordView:
    """End the response by *trigger* unless it is over; its view as it stands afterwards.

    With *only_orphaned* a response whose lease was renewed is left alone, and its view returned.
    *raise_by* draws by how much a take raises the epoch.

    Raises:
        Missing: there is no such response.
        StoreUnavailable: nothing is known; may be repeated.
    """
    delay = FIRST_DELAY
    while True:
        taken = await store.take(
            id, lease=options.take_lease, only_orphaned=only_orphaned, raise_by=raise_by()
        )
        if taken.claim is None:
            return taken.view
        try:
            return await _close(trigger, taken.claim, taken.view, store, options, now)
        except (Fenced, Closed, SequenceGap):
            # Another process took it after us, or the store lost a part: look again.
            await anyio.sleep(random.uniform(0, delay))  # noqa: S311 - a back-off, no secret
            delay = min(2 * delay, LONGEST_DELAY)
        except Deleted as error:
            raise Missing(f"cannot close {id}: it was deleted") from error


async def _close(
    trigger: Trigger,
    claim: Claim,
    view: RecordView,
    store: Store,
    options: Options,
    now: Callable[[], float],
) -> RecordView:
    header = header_of(view.header)
    if header is None:
        raise Missing(f"cannot close {claim.id}: it is of a kind that is not known here")
    recorder = Recorder.resume(view, now=now, dialect=DIALECTS[options.dialect])
    recorder.end(trigger, LOST_WORKER)
    ttl, stream_ttl = lifetimes(header, options)
    events, snapshot = recorder.take(), recorder.snapshot()
    end = Append(
        events=events,
        token=secrets.token_hex(8),
        snapshot=snapshot,
        status=recorder.status,
        close=True,
        ttl=ttl,
        stream_ttl=stream_ttl,
    )
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await store.append(claim, end, options.take_lease)
        except StoreUnavailable:
            if attempt == _ATTEMPTS:
                raise
            await anyio.sleep(back_off(attempt))
        else:
            break
    return replace(
        view,
        status=recorder.status.value,
        snapshot=snapshot,
        snapshot_through=recorder.tail - 1,
        first=recorder.tail,
        events=(),
        tail=recorder.tail,
        closed=True,
        orphaned=False,
    )


def lifetimes(header: Header, options: Options) -> tuple[float, float]:
    """``ttl`` and ``stream_ttl`` of a response (seconds), by the ``store`` flag in its header."""
    if header.store:
        return options.ttl, options.stream_ttl
    return options.unstored_ttl, options.unstored_ttl
