"""Owner callbacks, async or plain. A plain one may block, so it does not run in the event loop."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio.to_thread

from response_cache import Body, Owner, OwnerOf, PassThrough, Request

__all__ = ("AnyOwnerOf", "async_owner_of")

AnyOwnerOf: TypeAlias = Callable[[Request], Owner | Body | PassThrough] | OwnerOf


def async_owner_of(owner_of: AnyOwnerOf) -> OwnerOf:
    """*owner_of* as an async function. A plain one is called in a thread, in the same context."""
    if inspect.iscoroutinefunction(owner_of):
        return owner_of

    async def answer(request: Request) -> Owner | Body | PassThrough:
        outcome = await anyio.to_thread.run_sync(owner_of, request, abandon_on_cancel=True)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    return answer
