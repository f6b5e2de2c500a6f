"""The promises of the design, held against whatever happens in whatever order.

Each example is a short history of one response: what the upstream says, what clients ask, which
store operation goes wrong and how, who crashes. A judge looks at the store itself after every step;
readers and polls go through the caches of two processes, as clients do. At the end the store is
well again, and then everything must come to rest within the lease and the time of a watch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import anyio
import pytest
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from response_cache._fold.reducer import fold
from response_cache._protocol.events import TERMINAL
from response_cache._protocol.ids import ANYBODY
from response_cache._protocol.jsontext import JsonObject, dump, load
from response_cache._protocol.lifecycle import TERMINAL as TERMINAL_STATUSES
from response_cache._protocol.requests import create_request
from response_cache._protocol.sse import payload
from response_cache._recording.orphans import watch_time
from response_cache.cache import ResponseCache, body_of
from response_cache.errors import APIError, NotCancellable, NotFound, Unavailable
from response_cache.options import Options
from response_cache.store import RecordView
from response_cache.stores.memory import MemoryStore
from response_cache.testing._simulator import (
    Fault,
    FaultyStore,
    Process,
    Reader,
    ScriptedAnswer,
)

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("PROMISES_EXAMPLES", "120"))
"""Of each property. Raise it to search longer."""

OPTIONS = Options(lease=9.0, take_lease=2.0, orphan_confirmation=2.0, ttl=1000.0, stream_ttl=1000.0)
WATCH = watch_time(OPTIONS)
REST = 2 * OPTIONS.lease + WATCH + 2 * OPTIONS.take_lease + WATCH + 6.0
"""Seconds in which all must come to rest: a lease and a taker's, each twice as long where the clock
was set back, a watch after each, and back-offs."""
STEADY = WATCH + 1.0
"""Seconds between two steps of the clock: a renewal comes between them, and somebody sees it."""
SETBACK = OPTIONS.take_lease + WATCH + 1.0
"""Seconds by which one fault more may put that off: it can cost a take, and what was watched."""

BODY = {"model": "m", "input": "hi", "background": True}
ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
PART = {"type": "output_text", "text": "", "annotations": []}
AT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": ""}
TO_CALL = {"output_index": 1, "item_id": "fc_1"}


class Judge:
    """Looks at the store itself, and finds every broken promise that can be seen there."""

    def __init__(self, store: FaultyStore, id: str) -> None:
        self._store = store
        self._id = id
        self.final: bytes | None = None  # the response as it was when first seen closed
        self.is_strict = True  # whether the store keeps what it acknowledged

    async def look(self) -> JsonObject | None:
        """The response as the log tells it; None when it is not there."""
        whole = await self._store.truth.read(self._id)
        log = await self._store.truth.read(self._id, after=-1)
        if whole is None or log is None:
            return None
        events = [load(payload(event)) for event in log.events]
        assert [event["sequence_number"] for event in events] == list(range(log.tail))
        self._check_end([event["type"] for event in events], log.closed)
        folded = fold({}, events)
        self._check_views(whole, folded)
        assert folded["status"] == whole.status
        if whole.closed:
            self.final = self.final or body_of(whole)
            assert body_of(whole) == self.final
        elif self.is_strict:
            assert self.final is None
        return folded

    def _check_views(self, whole: RecordView, folded: JsonObject) -> None:
        """A poll shows a view of the fold, and of what is over the fold itself."""
        output = folded["output"]
        text = [item for item in output if item["type"] == "message"]
        views = {"all": output, "text": text, "none": []}
        for name, shown in views.items():
            body = load(body_of(whole, partial_output=name))  # type: ignore[arg-type]
            assert body == ({**folded, "output": shown} if not whole.closed else folded)

    def _check_end(self, types: list[str], closed: bool) -> None:
        assert types[:2] == ["response.created", "response.queued"]
        assert [type in TERMINAL for type in types[:-1]].count(True) == 0
        assert (types[-1] in TERMINAL) is closed

    async def check_frame(self, frame: bytes, number: int) -> None:
        """What a reader got is in the store, at that place."""
        view = await self._store.truth.read(self._id, after=number - 1, limit=1)
        if view is not None and (view.events or self.is_strict):  # else it went on its way
            assert list(view.events) == [frame]


class History:
    """One response and all that happens to it."""

    def __init__(self) -> None:
        self.store = FaultyStore(lambda clock: MemoryStore(clock=clock))
        self.upstream = ScriptedAnswer()
        self.processes = [Process(self.store, OPTIONS), Process(self.store, OPTIONS)]
        self.id = ""
        self.is_deleted = False
        self.is_cancelled = False
        self.has_crashed = False
        self.clock_is_steady_from = 0.0
        self._polled: JsonObject | None = None
        self.said = ""
        self.is_complete = False

    @property
    def recording(self) -> Process:
        """The process that records the response, as long as it lives."""
        return self.processes[0]

    @property
    def other(self) -> ResponseCache:
        return self.processes[1].cache

    async def begin(self) -> None:
        """Create the response, with an upstream that has begun a message."""
        created = await self.recording.cache.create(
            create_request(BODY), dump(BODY), self.upstream, owner=ANYBODY
        )
        self.id = load(created.body)["id"]
        self.judge = Judge(self.store, self.id)
        self.upstream.send({"type": "response.created", "response": {"id": "resp_up"}})
        item = {**ITEM, "content": []}
        self.upstream.send({"type": "response.output_item.added", "output_index": 0, "item": item})
        self.upstream.send({"type": "response.content_part.added", **AT, "part": PART})
        self.upstream.send({"type": "response.output_item.added", "output_index": 1, "item": CALL})

    def word(self) -> None:
        """The upstream says one more word."""
        delta = f"w{len(self.said)} "
        self.said += delta
        self.upstream.send({"type": "response.output_text.delta", **AT, "delta": delta})
        if len(self.said) % 4 == 0:  # in between, some more of the arguments of a call
            arguments = {"type": "response.function_call_arguments.delta", "delta": delta}
            self.upstream.send({**arguments, **TO_CALL})

    def complete(self) -> None:
        """The upstream says its last word, once."""
        response = {"id": "resp_up", "status": "completed", "output": []}
        self.upstream.send({"type": "response.completed", "response": response})
        self.upstream.finish()
        self.is_complete = True

    async def poll(self) -> None:
        """Ask both processes. What was terminal once stays as it was."""
        for process in self.processes:
            try:
                view = await process.cache.retrieve(self.id, ANYBODY)
            except (Unavailable, NotFound):
                continue
            response = load(await process.cache.body(view))
            is_pending = response["status"] not in TERMINAL_STATUSES
            assert not (is_pending and any(item["id"] == "fc_1" for item in response["output"]))
            if self._polled is None or self._polled["status"] not in TERMINAL_STATUSES:
                self._polled = response
            elif self.judge.is_strict:
                assert response == self._polled

    async def cancel(self) -> None:
        try:
            body = await self.other.cancel(self.id, ANYBODY)
        except (Unavailable, NotFound, NotCancellable):
            return
        assert load(body)["status"] == "cancelled"
        self.is_cancelled = True

    async def delete(self) -> None:
        try:
            await self.other.delete(self.id, ANYBODY)
        except APIError:
            return
        self.is_deleted = True

    def crash(self) -> None:
        self.has_crashed = True
        self.recording.crash()

    async def come_to_rest(self) -> None:
        """Everything is well again; somebody looks now and then until long enough."""
        self.store.come_back()
        if not self.has_crashed:
            self.recording.connection.mend()
        with anyio.move_on_after(REST + self.store.planned * SETBACK):
            while True:
                await self.poll()
                await self.judge.look()
                await anyio.sleep(0.5)


@contextmanager
def no_internal_errors() -> Iterator[None]:
    """Nothing that runs here may log an error."""
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("response_cache")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert errors == []


def simulate(body: Callable[[History, Reader], Any], *, patience: float = 0.0) -> History:
    """Run *body* on a virtual clock with two processes and a reader; the history it made."""

    async def run() -> History:
        history = History()
        async with AsyncExitStack() as stack:
            for process in history.processes:
                await stack.enter_async_context(process.running())
            await history.begin()
            tasks = await stack.enter_async_context(anyio.create_task_group())
            seen = history.judge.check_frame
            reader = Reader(history.other, history.id, seen=seen, patience=patience)
            tasks.start_soon(reader.run)
            await body(history, reader)
            tasks.cancel_scope.cancel()
        return history

    clock = trio.testing.MockClock(autojump_threshold=0)
    with no_internal_errors():
        return anyio.run(run, backend="trio", backend_options={"clock": clock})


# Steps. Each is a name and an argument, so that a failing history reads like a story.

FAULTS = st.sampled_from(list(Fault))
OPERATIONS = st.sampled_from(("append", "read", "take", "wait", "delete"))
PAUSES = st.sampled_from((0.0, 0.0, 0.01, 0.1, 0.6, 2.5, 7.0))
CLOCK_STEPS = st.sampled_from((-100.0, -30.0, -7.0, -3.0, 3.0, 7.0, 30.0, 100.0))
STEPS = st.one_of(
    st.tuples(st.just("word"), st.integers(1, 4)),
    st.tuples(st.just("word"), st.integers(1, 4)),
    st.tuples(st.just("pause"), PAUSES),
    st.tuples(st.just("pause"), PAUSES),
    st.tuples(st.just("poll"), st.none()),
    st.tuples(st.just("fault"), st.tuples(OPERATIONS, st.lists(FAULTS, min_size=1, max_size=3))),
    st.tuples(st.just("fault"), st.tuples(st.just("append"), st.lists(FAULTS, min_size=1))),
    st.tuples(st.just("outage"), PAUSES),
    st.tuples(st.just("full"), PAUSES),
    st.tuples(st.just("partition"), PAUSES),
    st.tuples(st.just("clock"), CLOCK_STEPS),
    st.tuples(st.just("complete"), st.none()),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("delete"), st.none()),
)
HISTORIES = st.lists(STEPS, max_size=14)


async def take_step(history: History, name: str, argument: Any) -> None:
    match name:
        case "word":
            for _ in range(argument):
                history.word()
        case "pause":
            await anyio.sleep(argument)
        case "fault":
            operation, faults = argument
            history.store.plan(operation, *faults)
        case "hiccup":  # so short that a living recorder is heard within the watch
            operation, faults = argument
            if not history.store.planned:
                history.store.plan(operation, *faults)
        case "outage":
            history.store.go_down()
            await anyio.sleep(argument)
            history.store.come_back()
        case "full":
            history.store.is_full = True
            await anyio.sleep(argument)
            history.store.is_full = False
        case "partition":
            history.recording.connection.cut()
            await anyio.sleep(argument)
            if not history.has_crashed:
                history.recording.connection.mend()
        case "clock":
            if anyio.current_time() >= history.clock_is_steady_from:
                history.clock_is_steady_from = anyio.current_time() + STEADY
                history.store.step_clock(argument)
                await history.poll()  # what nobody sees does no harm
        case "lose":
            history.judge.is_strict = False
            await history.store.lose(argument)
        case "complete":
            history.complete()
        case "crash":
            history.crash()
        case "poll":
            await history.poll()
        case "cancel":
            await history.cancel()
        case "delete":
            await history.delete()


PROPERTY = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@PROPERTY
@given(HISTORIES)
def test_the_promises_hold_in_every_history_without_loss(steps: list[tuple[str, Any]]) -> None:
    async def body(history: History, reader: Reader) -> None:
        for name, argument in steps:
            await take_step(history, name, argument)
            await history.judge.look()
        history.complete()
        await history.come_to_rest()
        final = await history.judge.look()
        assert reader.is_done
        assert history.upstream.has_ended.is_set()
        if history.is_deleted:
            assert final is None
            return
        if final is None:  # a delete whose answer was lost, or came late
            assert any(name == "delete" for name, _ in steps)
            return
        assert final["status"] in TERMINAL_STATUSES
        assert final["status"] == "cancelled" or not history.is_cancelled
        assert fold({}, reader.events) == final

    simulate(body)


# A store that forgets. While its recorder lives, everything comes back, under the same numbers.

WRITES = st.sampled_from(("append", "create"))
FORGETTING = st.one_of(
    st.tuples(st.just("word"), st.integers(1, 4)),
    st.tuples(st.just("lose"), st.sampled_from((None, 1, 2, 3, 8))),
    st.tuples(st.just("fault"), st.tuples(WRITES, st.lists(FAULTS, min_size=1, max_size=3))),
    st.tuples(st.just("poll"), st.none()),
)
WHILE_OPEN = st.one_of(
    FORGETTING,
    st.tuples(st.just("pause"), PAUSES),
    st.tuples(st.just("outage"), PAUSES),
)
WHEN_CLOSED = st.one_of(FORGETTING, st.tuples(st.just("pause"), st.sampled_from((0.01, 0.3))))


@PROPERTY
@given(st.lists(WHILE_OPEN, max_size=10), st.lists(WHEN_CLOSED, max_size=6))
def test_a_living_recorder_restores_whatever_the_store_lost(
    before: list[tuple[str, Any]], after: list[tuple[str, Any]]
) -> None:
    async def body(history: History, reader: Reader) -> None:
        for name, argument in [*before, ("complete", None), *after]:
            if name == "word" and history.is_complete:
                continue
            await take_step(history, name, argument)
            await history.judge.look()
        await history.come_to_rest()
        final = await history.judge.look()
        assert final is not None
        assert final["status"] == "completed"
        assert final["output"][0]["content"][0]["text"] == history.said
        assert reader.is_done
        assert fold({}, reader.events) == final

    simulate(body, patience=REST)


# A store that comes and goes, and whose clock is set. What lives is not taken for dead, however
# long nobody could tell.

COMING_AND_GOING = st.one_of(
    st.tuples(st.just("word"), st.integers(1, 4)),
    st.tuples(st.just("outage"), st.sampled_from((0.3, 3.0, 7.0, 20.0))),
    st.tuples(st.just("pause"), st.sampled_from((0.0, 0.1, 0.4, 1.0, 3.0))),
    st.tuples(st.just("poll"), st.none()),
    st.tuples(st.just("clock"), CLOCK_STEPS),
    st.tuples(
        st.just("hiccup"),
        st.tuples(
            st.sampled_from(("append", "read", "wait")), st.lists(FAULTS, min_size=1, max_size=2)
        ),
    ),
)


QUIET = st.tuples(st.sampled_from((0.1, 0.4, 1.0, 2.5, 6.0, 20.0)), CLOCK_STEPS)


async def run_to_the_end(history: History, reader: Reader, steps: list[tuple[str, Any]]) -> None:
    """Take the steps while nobody looks but the polls: an idle process knows the least."""
    reader.is_done = True
    for name, argument in steps:
        await take_step(history, name, argument)
    history.complete()
    await history.come_to_rest()
    final = await history.judge.look()
    assert final is not None
    assert final["status"] == "completed"
    assert final["output"][0]["content"][0]["text"] == history.said


@PROPERTY
@given(st.lists(COMING_AND_GOING, max_size=16))
def test_a_living_recorder_is_never_taken_for_dead(steps: list[tuple[str, Any]]) -> None:
    simulate(lambda history, reader: run_to_the_end(history, reader, steps))


@PROPERTY
@given(st.lists(QUIET, max_size=10))
def test_nor_is_a_silent_one_however_the_clock_is_set(quiet: list[tuple[float, float]]) -> None:
    steps = [step for pause, by in quiet for step in (("pause", pause), ("clock", by))]
    simulate(lambda history, reader: run_to_the_end(history, reader, [*steps, ("pause", 20.0)]))
