"""Every recorded stream, through the whole stack: app, middleware, recorder, store, readers.

A recording is played by an ASGI app. What the middleware then tells its readers is compared with
the recording itself and with the reference table's own fold, by rules written down here a second
time: nothing of the recorder is used to say what is right, and of the reducer only for streams that
were edited by hand, of which the reference says nothing.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import anyio
import httpx
import httpx2
import pytest
from openai import OpenAI, OpenAIError

from response_cache._fold.reducer import Fold
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.sse import payload
from response_cache._recording.intake import SHORTEST_TERMINAL_EVENT
from response_cache.cache import body_of
from response_cache.store import RecordView
from response_cache.stores.memory import MemoryStore
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Message, Receive, Scope, Send
from tests import deadlines
from tests.data import RAW, STREAMS, table
from tests.fold.test_reducer import interpret

pytestmark = pytest.mark.slow

NAMES: Final = sorted(path.stem for path in STREAMS.glob("*.jsonl"))
EDITED_BODY: Final = "text-no-final-blank-line.sse"
BACKENDS: Final = ("asyncio", "trio")

EACH: Final = pytest.mark.parametrize(
    ("name", "anyio_backend"),
    [pytest.param(name, BACKENDS[i % 2], id=name) for i, name in enumerate(NAMES)],
)
"""Each stream, on the event loops in turn: what the loop changes is tested elsewhere."""

BASE_URL: Final = "http://test/v1"
API_KEY: Final = "sk-nobody"
HEADERS: Final = {"authorization": f"Bearer {API_KEY}"}
DEADLINE: Final = deadlines.WAIT_TIMEOUT
REQUEST: Final = {
    "model": "asked-for",
    "input": "Hello",
    "background": True,
    "metadata": {"ticket": "42"},
    "previous_response_id": "resp_of_the_upstream",
}

TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed")
LIFECYCLE: Final = ("response.created", "response.queued", "response.in_progress", *TERMINAL)


# The recordings.


@dataclass(frozen=True)
class Recording:
    """One stream of the corpus."""

    name: str
    is_edited: bool  # by hand: good for robustness, not for agreement
    events: Sequence[JsonObject] = field(repr=False)

    @property
    def contents(self) -> list[JsonObject]:
        """What is neither about the response as a whole nor about the connection."""
        return [e for e in self.events if e["type"] not in (*LIFECYCLE, "keepalive")]

    @property
    def terminal(self) -> JsonObject | None:
        """The last event, if it ends the stream."""
        return self.events[-1] if self.events[-1]["type"] in TERMINAL else None


@cache
def manifest() -> dict[str, JsonObject]:
    return {row["file"].removesuffix(".jsonl"): row for row in table("MANIFEST")["streams"]}


@cache
def recording(name: str) -> Recording:
    lines = (STREAMS / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    events = [json.loads(line) for line in lines if line]
    return Recording(name, "by hand" in manifest()[name]["origin"], events)


@cache
def reference() -> dict[str, JsonObject]:
    events = table("events")
    return {row["type"]: row for row in [*events["events"], *events["not_in_package"]]}


# How upstreams write events.


def named(event: JsonObject) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def unnamed(event: JsonObject) -> bytes:
    return f"data:{json.dumps(event, ensure_ascii=False)}\n\n".encode()


def with_crlf(event: JsonObject) -> bytes:
    text = f": a comment\nid: 1\nevent: {event['type']}\nretry: 5\ndata: {json.dumps(event)}\n\n"
    return text.replace("\n", "\r\n").encode()


def indented(event: JsonObject) -> bytes:
    lines = json.dumps(event, ensure_ascii=False, indent=1).split("\n")
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n"


@dataclass(frozen=True)
class Framing:
    """How events become chunks."""

    frame: Callable[[JsonObject], bytes]
    chunk: int = 1 << 20  # at most so many bytes
    end: bytes = b""

    def chunks(self, event: JsonObject) -> Iterator[bytes]:
        framed = self.frame(event)
        for start in range(0, len(framed), self.chunk):
            yield framed[start : start + self.chunk]


FRAMINGS: Final = {
    "as OpenAI does": Framing(named),
    "data alone, then [DONE]": Framing(unnamed, end=b"data: [DONE]\n\n"),
    "CRLF, comments, other fields": Framing(with_crlf),
    "several lines of data": Framing(indented, chunk=1000),
    "small pieces": Framing(unnamed, chunk=61, end=b": bye\n\n"),
}


def framing_of(name: str) -> Framing:
    """One of them for each recording, so that all are used in turn."""
    return list(FRAMINGS.values())[NAMES.index(name) % len(FRAMINGS)]


# The stack.


class Player:
    """An app that answers with the chunks that it is given, one by one."""

    def __init__(self) -> None:
        self.say, self._chunks = anyio.create_memory_object_stream[bytes](0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("a player has no lifespan")
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with self._chunks:
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Stack:
    """A response whose upstream plays what the test says."""

    store: MemoryStore
    app: ASGIApp
    client: httpx.AsyncClient
    player: Player
    created: JsonObject = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.created["id"])

    async def play(self, event: JsonObject, framing: Framing) -> None:
        for chunk in framing.chunks(event):
            await self.player.say.send(chunk)

    async def end(self, framing: Framing) -> None:
        """The upstream's last words, and the end of its answer."""
        if framing.end:
            await self.player.say.send(framing.end)
        await self.player.say.aclose()

    async def played(self, recorded: Recording, framing: Framing | None = None) -> JsonObject:
        """The Response after the whole recording."""
        framing = framing or framing_of(recorded.name)
        for event in recorded.events:
            await self.play(event, framing)
        await self.end(framing)
        return await self.closed()

    async def snapshot(self) -> bytes | None:
        """What the store has as the final object."""
        view = await self.store.read(self.id)
        assert view is not None
        assert view.closed
        return view.snapshot

    async def view(self, tail: int) -> RecordView:
        """The whole record, once its log has *tail* events."""
        while True:
            view = await self.store.read(self.id)
            assert view is not None
            if view.tail >= tail:
                return view
            await self.store.wait(
                self.id, after=view.tail - 1, epoch=view.epoch, incarnation=view.incarnation
            )

    async def closed(self) -> JsonObject:
        """The Response as it is told once it is over."""
        headers = {"prefer": "wait=10"}
        return dict((await self.client.get(f"/responses/{self.id}", headers=headers)).json())

    async def replay(self, **query: Any) -> list[JsonObject]:
        reply = await self.client.get(f"/responses/{self.id}", params={"stream": "true", **query})
        assert reply.status_code == 200
        return [parsed(block) for block in reply.text.split("\n\n")[:-1]]


def parsed(block: str) -> JsonObject:
    """A frame of ours, which has exactly these two lines."""
    name, data = block.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return dict(event)


@asynccontextmanager
async def recording_stack() -> AsyncIterator[Stack]:
    """A response that is being recorded, for as long as the deadline lets it."""
    store, player = MemoryStore(), Player()
    app = ResponseCacheMiddleware(player, store)
    transport = httpx.ASGITransport(app)
    async with (
        in_lifespan(app),
        httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=HEADERS) as client,
    ):
        with anyio.fail_after(DEADLINE):
            stack = Stack(store, app, client, player)
            stack.created = (await client.post("/responses", json=REQUEST)).json()
            yield stack


@asynccontextmanager
async def in_lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """The app as a server holds it: started, and shut down in the end."""
    started, stopping = anyio.Event(), anyio.Event()
    asked = iter(("startup", "shutdown"))

    async def receive() -> Message:
        step = next(asked)
        if step == "shutdown":
            await stopping.wait()
        return {"type": f"lifespan.{step}"}

    async def send(message: Message) -> None:
        started.set()

    async def run() -> None:
        await app({"type": "lifespan", "state": {}}, receive, send)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await started.wait()
        yield
        stopping.set()


# What is right.


def tails(events: Sequence[JsonObject]) -> Iterator[tuple[JsonObject, int]]:
    """Each event with the length that our log has after it.

    Created and queued are there from the start; in_progress comes with the first sign that the
    upstream works on it; its own lifecycle events add nothing but the terminal one.
    """
    tail = 2
    for event in events:
        is_waiting = event.get("response", {}).get("status") == "queued"
        is_sign_of_life = event["type"] != "keepalive" and not is_waiting
        if is_sign_of_life and tail == 2:
            tail = 3
        if is_sign_of_life and event["type"] not in LIFECYCLE[:3]:
            tail += 1
        yield event, tail


def as_received(event: JsonObject) -> JsonObject:
    """An event without what is different in a replay."""
    return {k: v for k, v in event.items() if k not in ("sequence_number", "obfuscation")}


OURS: Final = ("id", "created_at", "background", "store", "previous_response_id")
BY_STATUS: Final = (
    *("status", "completed_at", "error", "incomplete_details", "output"),
    "metadata",  # both the request's and the upstream's
)
UNSAID: Final = {"text": {"format": {"type": "text"}, "verbosity": None}}
"""What is told of a field that nobody named, where that is not null."""


def items_done(events: Sequence[JsonObject]) -> list[JsonObject]:
    """The finished items in their order."""
    done = {
        e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"
    }
    return [done[index] for index in sorted(done)]


def assert_agreement(told: JsonObject, created: JsonObject, recorded: Recording) -> None:
    """*told* is the upstream's terminal response, but for what is ours to say."""
    terminal = recorded.events[-1]
    last = terminal["response"]
    earlier = [e["response"] for e in recorded.events if e["type"] in LIFECYCLE[:3]]
    assert told["status"] == terminal["type"].removeprefix("response.")
    assert {key: told[key] for key in OURS} == {key: created[key] for key in OURS}
    theirs = [response.get("metadata") or {} for response in (*earlier, last)]
    assert told["metadata"] == dict(ChainMap(created["metadata"], *reversed(theirs)))
    assert told["output"] == (last.get("output") or items_done(recorded.events))
    assert_invariants(told, last)
    for key in last.keys() - {*OURS, *BY_STATUS}:
        assert told[key] == last[key], key
    for key in told.keys() - last.keys() - {*OURS, *BY_STATUS}:  # nothing is made up
        said = [response[key] for response in [created, *earlier] if key in response]
        assert told[key] in (None, *said, UNSAID.get(key)), key


def assert_invariants(told: JsonObject, last: JsonObject) -> None:
    """The fields that hold in one status only (OpenAI API reference, Responses)."""
    match told["status"]:
        case "completed":
            assert told["completed_at"] == last.get("completed_at") or isinstance(
                told["completed_at"], int
            )
            assert (told["error"], told["incomplete_details"]) == (None, None)
        case "incomplete":
            assert told["incomplete_details"] == last["incomplete_details"]
            assert (told["error"], told["completed_at"]) == (None, None)
        case "failed":
            assert told["error"] == last["error"]
            assert (told["completed_at"], told["incomplete_details"]) == (None, None)
        case other:
            pytest.fail(f"not a status of the corpus: {other}")


# Writing.


@EACH
async def test_a_poll_after_each_event_is_the_fold_of_the_log_so_far(name: str) -> None:
    recorded, framing = recording(name), framing_of(name)
    async with recording_stack() as stack:
        state: JsonObject = {}
        seen = 0
        for event, tail in [(None, 2), *tails(recorded.events)]:
            if event is not None:
                await stack.play(event, framing)
            view = await stack.view(tail)
            assert view.tail == tail
            log = await stack.store.read(stack.id, after=seen - 1)
            assert log is not None
            for data in log.events:
                state = folded(state, json.loads(payload(data)), recorded)
            seen = log.tail
            assert json.loads(body_of(view, partial_output="all")) == state
            assert json.loads(body_of(view)) == as_shown(state)
            assert json.loads(body_of(view, partial_output="none")) == as_shown(state, "none")
        await stack.end(framing)


FOR_THE_CLIENT: Final = {
    "function_call",
    "custom_tool_call",
    "custom_tool_call_output",
    "computer_call",
    "shell_call",
    "shell_call_output",
    "local_shell_call",
    "apply_patch_call",
    "mcp_approval_request",
    "program",
    "program_output",
    "tool_search_call",
    "tool_search_output",
}


def as_shown(state: JsonObject, partial_output: str = "text") -> JsonObject:
    """The folded *state* as a poll shows it, by the words of the documentation."""
    if state["status"] not in ("queued", "in_progress"):
        return state
    shown = [item for item in state["output"] if item["type"] not in FOR_THE_CLIENT]
    return {**state, "output": shown if partial_output == "text" else []}


def folded(state: JsonObject, event: JsonObject, recorded: Recording) -> JsonObject:
    """By the reference where the stream is whole: it says nothing of broken ones."""
    if not recorded.is_edited:
        return interpret(reference(), state, event)
    fold = Fold(state)
    fold.apply(event)
    return dict(fold.response())


@EACH
async def test_the_final_response_is_the_one_of_the_recording(name: str) -> None:
    recorded = recording(name)
    async with recording_stack() as stack:
        told = await stack.played(recorded)
        if recorded.terminal is None:
            assert told["status"] == "failed"
            assert told["error"]["code"] == "server_error"
        elif not recorded.is_edited:
            assert_agreement(told, stack.created, recorded)
        else:
            assert f"response.{told['status']}" == recorded.terminal["type"]
        assert told == json.loads((await stack.snapshot()) or b"")


@EACH
async def test_the_replay_has_the_recorded_events_under_our_numbers(name: str) -> None:
    recorded = recording(name)
    async with recording_stack() as stack:
        told = await stack.played(recorded)
        log = await stack.replay()
        assert [event["sequence_number"] for event in log] == list(range(len(log)))
        assert [event["type"] for event in log[:3]] == list(LIFECYCLE[:3])
        assert not any("obfuscation" in event for event in log)
        assert_same_events(log[3:-1], recorded, stack.id)
        assert_last_event(log[-1], told, recorded)
        lifecycle = [event["response"] for event in (*log[:3], log[-1])]
        assert [response["id"] for response in lifecycle] == [stack.id] * 4
        middle = len(log) // 2
        assert await stack.replay(starting_after=middle) == log[middle + 1 :]


def assert_same_events(replayed: Sequence[JsonObject], recorded: Recording, id: str) -> None:
    """What was recorded, in that order; an edited stream may get the indexes that it lacks."""
    given = [as_received(event) for event in recorded.contents]
    told = [as_received(event) for event in replayed]
    if recorded.is_edited:
        told = [{k: new[k] for k in old} for new, old in zip(told, given, strict=True)]
    assert told == given


def assert_last_event(last: JsonObject, told: JsonObject, recorded: Recording) -> None:
    """It has the response as every poll tells it, and what the provider put beside it."""
    end = recorded.terminal or {"type": "response.failed"}
    assert last["response"] == told
    assert as_received({**end, "response": told}) == as_received(last)


def test_no_real_end_is_so_short_that_it_would_be_seen_late() -> None:
    ends = [found.terminal for found in map(recording, NAMES) if not found.is_edited]
    lengths = [len(json.dumps(end)) for end in ends if end is not None]
    assert len(lengths) > 100
    assert min(lengths) > SHORTEST_TERMINAL_EVENT


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
async def test_every_way_of_writing_events_is_read_alike(framing: Framing) -> None:
    recorded = recording("openai-code-interpreter-reasoning-2")
    async with recording_stack() as stack:
        told = await stack.played(recorded, framing)
        assert_agreement(told, stack.created, recorded)
        assert_same_events((await stack.replay())[3:-1], recorded, stack.id)


@pytest.mark.parametrize("name", sorted(path.name for path in RAW.glob("*.sse")))
async def test_a_body_is_recorded_as_it_was_on_the_wire(name: str) -> None:
    body = (RAW / name).read_bytes()
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line[:6] == b"data: "]
    events = [json.loads(line) for line in lines if line != b"[DONE]"]
    recorded = Recording(name, is_edited=name == EDITED_BODY, events=events)
    async with recording_stack() as stack:
        await stack.player.say.send(body)
        await stack.player.say.aclose()
        told = await stack.closed()
        assert_agreement(told, stack.created, recorded)
        assert_same_events((await stack.replay())[3:-1], recorded, stack.id)


# The official accumulator, which refuses what it does not expect.


@EACH
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of items newer than the client
async def test_official_clients_accept_the_replay_of_what_they_accept_from_the_provider(
    name: str,
) -> None:
    recorded = recording(name)
    async with recording_stack() as stack:
        told = await stack.played(recorded)
        replay = await stack.client.get(f"/responses/{stack.id}", params={"stream": "true"})
    from_provider = accumulated(b"".join(map(named, recorded.events)))
    from_us = accumulated(replay.content)
    if from_provider.refusal is None or from_us.refusal is None:
        assert from_us.refusal is None
        assert from_us.types[-1] == f"response.{told['status']}"
        assert from_us.last == told
        assert from_us.types[3:-1] == [event["type"] for event in recorded.contents]
    else:  # it is the provider's fault, and they see as much of the stream
        assert type(from_us.refusal) is type(from_provider.refusal)
        assert len(from_us.types) >= len(from_provider.types)


@dataclass
class Accumulated:
    """What the stream helper of the official client made of a stream."""

    types: list[str] = field(default_factory=list)
    last: JsonObject | None = None
    refusal: Exception | None = None


def accumulated(body: bytes) -> Accumulated:
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    seen = Accumulated()
    with (
        httpx2.Client(transport=transport) as http_client,
        OpenAI(api_key=API_KEY, base_url=BASE_URL, http_client=http_client) as client,
    ):
        try:
            with client.responses.stream(response_id="resp_any") as stream:
                for event in stream:
                    seen.types.append(event.type)
                    if event.type in TERMINAL:
                        seen.last = without_parsed(event.response.to_dict(mode="json"))
        except (RuntimeError, OpenAIError) as refusal:
            seen.refusal = refusal
    return seen


def without_parsed(value: Any) -> Any:
    """What the client got, without what it adds when it parses texts and arguments."""
    if isinstance(value, dict):
        added = ("parsed", "parsed_arguments")
        return {key: without_parsed(v) for key, v in value.items() if key not in added}
    return [without_parsed(entry) for entry in value] if isinstance(value, list) else value
