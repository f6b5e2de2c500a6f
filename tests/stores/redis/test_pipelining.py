"""How calls of one process share pipelines, over a server that answers when the test says so."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from response_cache.errors import StoreUnavailable
from response_cache.stores.redis._callbacks import Cancel, OnReplies, replies_to
from response_cache.stores.redis._pipelining import AutoPipeline, _Pipeline
from response_cache.stores.redis._scripts import READ, Command
from tests import deadlines

pytestmark = pytest.mark.slow

WAIT_TIMEOUT = deadlines.WAIT_TIMEOUT
TIMEOUT = 0.05


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


class Wire:
    """What was sent, and whoever waits for its replies."""

    def __init__(self) -> None:
        self.sent: list[Sequence[Command]] = []
        self.waiting: dict[int, OnReplies] = {}

    def send(self, commands: Sequence[Command], on_replies: OnReplies) -> Cancel:
        number = len(self.sent)
        self.sent.append(commands)
        self.waiting[number] = on_replies
        return partial(self.waiting.__delitem__, number)

    def answer(self, number: int, *replies: Any) -> None:
        self.waiting.pop(number)([*replies])


def ask(pipeline: AutoPipeline, name: str) -> asyncio.Future[Any]:
    return pipeline.call(READ, (name,), (), ("read %s", name))


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_each_call_is_given_up_in_its_own_time_by_the_one_timer() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=4, timeout=TIMEOUT)
    loop = asyncio.get_running_loop()
    took: list[float] = []

    async def give_up(name: str) -> None:
        began = loop.time()
        with pytest.raises(StoreUnavailable, match=f"cannot read {name}: .* in time") as found:
            await ask(pipeline, name)
        assert isinstance(found.value.__cause__, TimeoutError)
        took.append(loop.time() - began)

    async with asyncio.timeout(WAIT_TIMEOUT), asyncio.TaskGroup() as tasks:
        for name in "abc":  # each while the one before is on its way
            tasks.create_task(give_up(name))
            await asyncio.sleep(TIMEOUT / 3)
    assert len(wire.sent) == 3
    assert wire.waiting == {}
    assert min(took) >= 0.99 * TIMEOUT
    async with asyncio.timeout(WAIT_TIMEOUT), asyncio.TaskGroup() as tasks:  # again
        tasks.create_task(give_up("d"))


async def test_what_finds_all_pipelines_on_their_way_goes_with_the_next() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=1, timeout=WAIT_TIMEOUT)
    first = ask(pipeline, "a")
    await turns()
    others = [ask(pipeline, name) for name in "bc"]
    await turns()
    assert len(wire.sent) == 1
    wire.answer(0, b"A")
    await turns()
    assert [len(commands) for commands in wire.sent] == [1, 2]
    wire.answer(1, b"B", b"C")
    assert await asyncio.gather(first, *others) == [b"A", b"B", b"C"]


async def test_a_script_that_was_forgotten_is_taught_to_whoever_needs_it() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=1, timeout=WAIT_TIMEOUT)
    asked = [ask(pipeline, name) for name in "ab"]
    await turns()
    wire.answer(0, NoScriptError(), b"B")
    assert [command[:2] for command in wire.sent[1]] == [("EVAL", READ.source)]
    wire.answer(1, b"A")
    assert await asyncio.gather(*asked) == [b"A", b"B"]


async def test_closing_answers_all_and_gives_up_what_is_on_its_way() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=1, timeout=WAIT_TIMEOUT)
    asked = [ask(pipeline, "a")]
    await turns()
    asked.append(ask(pipeline, "b"))
    await turns()
    pipeline.close()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable]
    assert wire.waiting == {}


async def test_a_reply_that_comes_just_when_its_asker_was_cancelled_is_nobodys() -> None:
    wire = Wire()
    asking = asyncio.create_task(replies_to(wire.send, [("PING",)]))
    await turns()
    asking.cancel()
    on_replies = wire.waiting[0]
    on_replies([b"PONG"])
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert wire.waiting == {}


async def test_a_call_goes_at_once_when_the_last_pipeline_had_one_to_carry() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=4, timeout=WAIT_TIMEOUT)
    lone = ask(pipeline, "a")
    assert wire.sent == []  # nobody knows yet
    await turns()
    wire.answer(0, "A")
    assert await lone == "A"
    together = [ask(pipeline, name) for name in "bcd"]
    assert len(wire.sent) == 2  # the first of them; the others gather
    await turns()
    assert [len(commands) for commands in wire.sent] == [1, 1, 2]
    wire.answer(1, "B")
    wire.answer(2, "C", "D")
    assert await asyncio.gather(*together) == ["B", "C", "D"]
    later = [ask(pipeline, name) for name in "ef"]
    assert len(wire.sent) == 3  # the last one had company
    await turns()
    assert [len(commands) for commands in wire.sent] == [1, 1, 2, 2]
    wire.answer(3, "E", "F")
    assert await asyncio.gather(*later) == ["E", "F"]


async def test_a_pipeline_does_not_outlive_its_replies() -> None:
    wire = Wire()
    pipeline = AutoPipeline(wire.send, pipelines=4, timeout=WAIT_TIMEOUT)
    gc.collect()
    gc.disable()
    try:
        for number in range(3):
            reply = ask(pipeline, "a")
            await turns()
            wire.answer(number, "A")
            await reply
        left = [found for found in gc.get_objects() if isinstance(found, _Pipeline)]
    finally:
        gc.enable()
    assert left == []
