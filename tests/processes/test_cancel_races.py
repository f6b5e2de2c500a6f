"""Cancels raced against the end of what they cancel, each in a process of its own."""

from __future__ import annotations

from typing import Final

import anyio
import httpx
import pytest

from response_cache.testing._http_suite.site import Site, error_of, ok
from response_cache.testing._upstream import Call
from tests.faults.lengths import BOTH, Lengths
from tests.processes.logs import assert_is_whole, view_of
from tests.processes.replicas import replicas

pytestmark = pytest.mark.slow

STEP_DELAY: Final = 0.002


class Headstart:
    """Seconds that the end gets before the cancel; below 0 it is the cancel that gets them.

    Whoever won gets less of it the next time, and less and less until the other one wins.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._step = STEP_DELAY
        self._winner = ""

    async def of_end(self) -> None:
        await anyio.sleep(max(0.0, self._seconds))

    async def of_cancel(self) -> None:
        await anyio.sleep(max(0.0, -self._seconds))

    def settle(self, winner: str) -> None:
        self._step = 2 * self._step if winner == self._winner else STEP_DELAY
        self._seconds += self._step if winner == "cancelled" else -self._step
        self._winner = winner


@pytest.mark.parametrize("lengths", BOTH)
async def test_a_cancel_and_an_end_that_race_leave_one_status_for_ever(
    store_url: str, lengths: Lengths
) -> None:
    headstart = Headstart()
    ends: dict[str, bytes] = {}
    async with replicas(2, store_url) as (here, (a, b)):
        for _ in range(lengths.cancels):
            id, call = await a.site.begin()
            await call.say("Hello")
            replies = await raced(call, id, [b.site, here], headstart)
            object = (await a.site.get(id)).content
            status = status_of(object)
            headstart.settle(status)
            for reply in replies:
                assert_agrees(reply, object)
            await assert_upstream_ends(call, status)
            ends[id] = object
        assert set(map(status_of, ends.values())) == {"cancelled", "completed"}
        for id, object in ends.items():
            for site in (a.site, b.site, here):
                assert (await site.get(id)).content == object
            assert_is_whole(await view_of(store_url, id))


async def raced(
    call: Call, id: str, sites: list[Site], headstart: Headstart
) -> list[httpx.Response]:
    """The replies to a cancel at each of *sites*, sent while *call* comes to its terminal event."""
    replies: list[httpx.Response] = []

    async def end() -> None:
        await headstart.of_cancel()
        await say_the_end(call)

    async def cancel(site: Site) -> None:
        await headstart.of_end()
        replies.append(await site.cancel(id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        for site in sites:
            tasks.start_soon(cancel, site)
    return replies


async def say_the_end(call: Call) -> None:
    """Send the terminal event, unless the call is stopped meanwhile; leave the connection open."""
    try:
        output = [call.message()]
        await call.emit("response.completed", response=call.response("completed", output=output))
    except (AssertionError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        await call.stopped()


def status_of(object: bytes) -> str:
    return str(httpx.Response(200, content=object).json()["status"])


def assert_agrees(reply: httpx.Response, object: bytes) -> None:
    """A cancel was answered with the *object* that it made, or was told that it came too late."""
    if status_of(object) == "cancelled":
        assert ok(reply)
        assert reply.content == object
    else:
        message = error_of(reply, 400)["message"]
        assert message == "Cannot cancel a completed response."


async def assert_upstream_ends(call: Call, status: str) -> None:
    """Where the cancel won, the upstream is stopped; where it came too late, it is not."""
    if status == "cancelled":
        await call.stopped()
    else:
        await call.finish()
        await call.ended()
        assert not call.is_stopped
