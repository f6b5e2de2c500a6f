"""Ending a response that somebody else may be recording: take, fold, closing append.

Cancelling and closing an orphan are the same three steps. The previous holder is fenced from the
take on, so nothing can slip in between; a taker that dies leaves an orphan again, after its short
lease. Of many who try at once, the last taker closes, and the others find it closed; who was
fenced steps back for a random while, else each of them could fence the next for ever.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from response_cache.errors import (
    Closed,
    Deleted,
    Fenced,
    Missing,
    SequenceGap,
    StoreUnavailable,
)
from response_cache.options import Options
from response_cache.protocol.dialects import DIALECTS
from response_cache.protocol.jsontext import load
from response_cache.protocol.lifecycle import Trigger
from response_cache.protocol.responses import Failure
from response_cache.recording.recorder import Recorder
from response_cache.store import Claim, RecordView, Store

__all__ = ("LOST_WORKER", "end_as", "lifetimes")

LOST_WORKER: Final = Failure("The worker that produced this response was lost.")
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.5
_ATTEMPTS: Final = 3


async def end_as(
    trigger: Trigger,
    id: str,
    *,
    store: Store,
    options: Options,
    now: Callable[[], float],
    only_orphaned: bool = False,
) -> RecordView:
    """End the response by *trigger* unless it is over; its page as it stands afterwards.

    With *only_orphaned* a response that somebody renews is left alone, and its page returned.

    Raises:
        Missing: there is no such response.
        StoreUnavailable: nothing is known; may be repeated.
    """
    pause = FIRST_PAUSE
    while True:
        taken = await store.take(id, only_orphaned=only_orphaned, lease=options.take_lease)
        if taken.claim is None:
            return taken.view
        try:
            return await _close(trigger, taken.claim, taken.view, store, options, now)
        except (Fenced, Closed, SequenceGap):
            # Somebody took it after us, or the store lost a part: look again, not all at once.
            await anyio.sleep(random.uniform(0, pause))  # noqa: S311 - a back-off, no secret
            pause = min(2 * pause, LONGEST_PAUSE)
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
    recorder = Recorder.resume(view, now=now, dialect=DIALECTS[options.dialect])
    recorder.end(trigger, LOST_WORKER)
    ttl, stream_ttl = lifetimes(view.header, options)
    events, snapshot, token = recorder.take(), recorder.snapshot(), secrets.token_hex(8)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await store.append(
                claim,
                events,
                batch=token,
                close=True,
                snapshot=snapshot,
                status=recorder.status,
                lease=options.take_lease,
                ttl=ttl,
                stream_ttl=stream_ttl,
            )
        except StoreUnavailable:
            if attempt == _ATTEMPTS:
                raise
            await anyio.sleep(0.05 * attempt)
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


def lifetimes(header: bytes, options: Options) -> tuple[float, float]:
    """``ttl`` and ``stream_ttl`` of a response, in seconds, by the ``store`` flag in its header."""
    if load(header).get("store", True):
        return options.ttl, options.stream_ttl
    return options.unstored_ttl, options.unstored_ttl
