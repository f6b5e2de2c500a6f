"""SIGTERM while readers are attached: nobody is left waiting, and everything can be resumed."""

from __future__ import annotations

from typing import Final

import anyio
import anyio.lowlevel
import pytest

from response_cache.testing._http_suite.site import error_of, text_of
from tests.deadlines import allowed
from tests.processes.logs import assert_is_whole, text_in, view_of
from tests.processes.replicas import WAIT_TIMEOUT, Replica, replicas

pytestmark = pytest.mark.slow

DRAIN_TIMEOUT: Final = 0.5
STOP_GRACE: Final = 5.0  # seconds more on a machine that has other things to do


async def test_what_a_stopped_process_recorded_ends_failed_for_readers_everywhere(
    store_url: str,
) -> None:
    async with replicas(1, store_url, drain_timeout=DRAIN_TIMEOUT) as (here, (a,)):
        id, call = await a.site.begin()
        async with a.site.reading(id) as one, here.reading(id) as other:
            await call.say("Hello")
            for reader in (one, other):
                await reader.until("response.output_text.delta")
            a.tell_to_stop()
            with anyio.fail_after(DRAIN_TIMEOUT + allowed(STOP_GRACE)):
                [end] = await one.rest()
                assert await other.rest() == [end]
                await call.stopped()
                assert await a.program.ended() == 0
        failed = await here.object(id)
        assert end["response"] == failed
        assert (failed["status"], text_of(failed)) == ("failed", "Hello")
        assert failed["error"]["message"] == "The server was shut down while it answered."
        view = await view_of(store_url, id)
        assert_is_whole(view)
        assert view.epoch == 1


async def test_readers_of_what_lives_elsewhere_are_served_while_there_is_time(
    store_url: str,
) -> None:
    async with replicas(1, store_url, drain_timeout=WAIT_TIMEOUT) as (here, (a,)):
        id, call = await here.begin()
        async with a.site.reading(id) as reader:
            await call.say("Hel")
            await reader.until("response.output_text.delta")
            a.tell_to_stop()
            await until_it_drains(a)
            await call.say("lo")
            assert (await reader.until("response.output_text.delta"))["delta"] == "lo"
            await call.complete()
            assert (await reader.rest())[-1]["type"] == "response.completed"
        assert await a.program.ended() == 0


async def test_readers_of_what_lives_elsewhere_are_broken_off_in_the_end_and_resume_there(
    store_url: str,
) -> None:
    async with replicas(1, store_url, drain_timeout=DRAIN_TIMEOUT) as (here, (a,)):
        id, call = await here.begin()
        async with a.site.reading(id) as reader:
            await call.say("Hel")
            before = [await reader.next() for _ in range(6)]
            a.tell_to_stop()
            with anyio.fail_after(DRAIN_TIMEOUT + allowed(STOP_GRACE)):
                assert await reader.until_broken() == []
                assert await a.program.ended() == 0
        last = before[-1]["sequence_number"]
        async with here.reading(id, starting_after=last) as reader:
            await call.say("lo")
            await call.complete()
            after = await reader.rest()
        assert text_in(before + after) == "Hello"
        assert after[-1]["type"] == "response.completed"
        view = await view_of(store_url, id)
        assert_is_whole(view)
        assert [event["sequence_number"] for event in before + after] == list(range(view.tail))


async def test_work_that_ends_in_time_is_completed_and_no_other_is_taken(store_url: str) -> None:
    async with replicas(1, store_url, drain_timeout=WAIT_TIMEOUT) as (here, (a,)):
        id, call = await a.site.begin()
        async with a.site.reading(id) as one, here.reading(id) as other:
            await call.say("Hel")
            for reader in (one, other):
                await reader.until("response.output_text.delta")
            a.tell_to_stop()
            await until_it_drains(a)
            refused = await a.site.post()
            assert error_of(refused, 503)
            assert refused.headers["retry-after"]
            await call.say("lo")
            await call.complete()
            ends = [(await reader.rest())[-1] for reader in (one, other)]
        assert await a.program.ended() == 0
        assert ends[0] == ends[1]
        assert ends[0]["response"] == await here.object(id)
        assert (ends[0]["type"], text_of(ends[0]["response"])) == ("response.completed", "Hello")


async def until_it_drains(replica: Replica) -> None:
    """Return when the signal has arrived."""
    health = f"{replica.program.url}/healthz"
    with anyio.fail_after(WAIT_TIMEOUT):
        while (await replica.site.client.get(health)).is_success:
            await anyio.lowlevel.checkpoint()
