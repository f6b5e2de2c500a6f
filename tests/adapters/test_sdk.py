"""The official clients, unmodified, against a real server around a scripted FastAPI app."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import anyio
import anyio.to_thread
import openai
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from openai import AsyncAzureOpenAI, AsyncOpenAI, OpenAI
from openai.types.responses import ResponseInputParam

from response_cache._protocol.jsontext import JsonObject
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from response_cache_server import Settings, build_app
from tests import deadlines
from tests.adapters.servers import serving
from tests.stores.servers import Server, running_server

pytestmark = pytest.mark.slow

DEADLINE: Final = deadlines.WAIT_TIMEOUT
MODEL: Final = "gpt-scripted"
WORDS: Final = ("Once ", "upon ", "a ", "time ", "there ", "was ", "a ", "cache.")
TEXT: Final = "".join(WORDS)
FIRST_WORD: Final = 5  # number of the first delta in our log
LAST: Final = FIRST_WORD + len(WORDS) + 1  # number of the terminal event
HELD: Final = 3  # words that a held upstream says before it waits
PENDING: Final = ("queued", "in_progress")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the server's


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    return f"{redis_server.url}?key_prefix={uuid4().hex}:"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'responses.db'}"


@pytest.fixture
def memory_url() -> str:
    return "memory://"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of each store in turn. Tests without it are about what no store takes part in."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@dataclass(frozen=True)
class Refusal:
    """An HTTP error in place of an answer."""

    status: int
    code: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Script:
    """What the upstream does, and what it saw."""

    is_held: bool = False
    refusals: list[Refusal] = field(default_factory=list)
    requests: list[JsonObject] = field(default_factory=list)
    released: anyio.Event = field(default_factory=anyio.Event)
    stopped: anyio.Event = field(default_factory=anyio.Event)

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        if self.refusals:
            return refused(self.refusals.pop(0))
        id = f"resp_upstream_{len(self.requests)}"
        if not body.get("stream"):
            return JSONResponse(finished(id))
        return StreamingResponse(self._stream(id), media_type="text/event-stream")

    async def _stream(self, id: str) -> AsyncIterator[str]:
        try:
            for number, event in enumerate(story(id)):
                if self.is_held and event.get("delta") == WORDS[HELD]:
                    await self.released.wait()
                data = json.dumps({**event, "sequence_number": number})
                yield f"event: {event['type']}\ndata: {data}\n\n"
        finally:
            self.stopped.set()


def refused(refusal: Refusal) -> Response:
    error = {"message": "No.", "type": "invalid_request_error", "param": "tools"}
    content = {"error": {**error, "code": refusal.code}}
    return JSONResponse(content, refusal.status, refusal.headers)


def message(status: str, text: str) -> JsonObject:
    parts = [{"type": "output_text", "text": text, "annotations": []}] if text else []
    head = {"id": "msg_1", "type": "message", "role": "assistant"}
    return {**head, "status": status, "content": parts}


def started(id: str) -> JsonObject:
    return {"id": id, "object": "response", "status": "in_progress", "model": MODEL, "output": []}


def finished(id: str) -> JsonObject:
    usage = {"input_tokens": 3, "output_tokens": len(WORDS), "total_tokens": 3 + len(WORDS)}
    ended = {"status": "completed", "output": [message("completed", TEXT)], "usage": usage}
    return {**started(id), **ended}


def story(id: str) -> Iterator[JsonObject]:
    """The events of an answer with one message."""
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": started(id)}
    added = message("in_progress", "")
    yield {"type": "response.output_item.added", "output_index": 0, "item": added}
    yield {"type": "response.content_part.added", **place, "part": part}
    for word in WORDS:
        yield {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
    done = message("completed", TEXT)
    yield {"type": "response.output_item.done", "output_index": 0, "item": done}
    yield {"type": "response.completed", "response": finished(id)}


def app_of(script: Script, **options: Any) -> ResponseCacheMiddleware:
    app = FastAPI()
    app.add_api_route("/v1/responses", script.answer, methods=["POST"])
    return ResponseCacheMiddleware(app, **options)


@asynccontextmanager
async def served(app: ASGIApp, *, retries: int = 0) -> AsyncIterator[AsyncOpenAI]:
    """A client of *app* behind a real socket."""
    async with serving(app, lifespan="on") as url:
        with anyio.fail_after(DEADLINE):
            base_url = f"{url}/v1"
            async with AsyncOpenAI(
                api_key="sk-1", base_url=base_url, max_retries=retries
            ) as client:
                yield client


async def create(client: AsyncOpenAI, **fields: Any) -> openai.types.responses.Response:
    """A background response, as its first reply shows it."""
    fields = {"model": MODEL, "input": "Tell me", "background": True, **fields}
    created = await client.responses.create(**fields)
    assert isinstance(created, openai.types.responses.Response)
    return created


async def ended(client: AsyncOpenAI, id: str) -> openai.types.responses.Response:
    """The loop of the guide, without its pauses."""
    while (response := await client.responses.retrieve(id)).status in PENDING:
        pass
    return response


async def reached(client: AsyncOpenAI, id: str, text: str) -> openai.types.responses.Response:
    """A poll that shows *text*."""
    while (response := await client.responses.retrieve(id)).output_text != text:
        pass
    return response


def numbers(events: Sequence[Any]) -> list[int]:
    return [event.sequence_number for event in events]


# Polling.


async def test_a_background_response_is_queued_at_once_and_polled_to_its_end(store: str) -> None:
    async with served(app_of(Script(), store=store)) as client:
        created = await create(client, metadata={"ticket": "42"}, instructions="Be brief")
        assert (created.status, created.background, created.output) == ("queued", True, [])
        response = await ended(client, created.id)
        assert (response.id, response.status) == (created.id, "completed")
        assert (response.output_text, response.error) == (TEXT, None)
        assert (response.metadata, response.instructions) == ({"ticket": "42"}, "Be brief")
        assert response.usage is not None
        assert response.usage.output_tokens == len(WORDS)


async def test_a_poll_shows_what_there_is_so_far(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        created = await create(client)
        response = await reached(client, created.id, "".join(WORDS[:HELD]))
        assert response.status == "in_progress"
        script.released.set()
        assert (await ended(client, created.id)).output_text == TEXT


async def test_raw_replies_have_a_request_id_and_say_when_to_poll_again(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        raw = client.responses.with_raw_response
        created = await raw.create(model=MODEL, input="Tell me", background=True)
        assert (created.request_id or "").startswith("req_")
        pending = await raw.retrieve(created.parse().id)
        assert pending.headers["openai-poll-after-ms"] == "1000"
        assert pending.parse()._request_id == pending.request_id
        assert pending.request_id != created.request_id
        script.released.set()
        done = await raw.retrieve(created.parse().id, extra_headers={"Prefer": "wait=15"})
        assert done.parse().status == "completed"
        assert "openai-poll-after-ms" not in done.headers


async def test_a_create_that_is_waited_for_is_the_whole_answer(store: str) -> None:
    """What frameworks need that create and cannot poll: they take the first reply for the end."""
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(_release_when_asked, script)
        response = await create(client, extra_headers={"Prefer": "wait=15"})
        assert (response.status, response.output_text) == ("completed", TEXT)
        assert await client.responses.retrieve(response.id) == response
        assert len(script.requests) == 1


async def test_a_refusal_is_raised_from_a_create_that_is_waited_for() -> None:
    script = Script(refusals=[Refusal(429, "rate_limit_exceeded")])
    async with served(app_of(script)) as client:
        with pytest.raises(openai.RateLimitError):
            await create(client, extra_headers={"Prefer": "wait=15"})


async def _release_when_asked(script: Script) -> None:
    while not script.requests:  # noqa: ASYNC110 - a plain list
        await anyio.sleep(0.01)
    script.released.set()


@pytest.mark.parametrize("model", ["", "gpt-4.1"])
async def test_the_client_of_azure_finds_its_paths(model: str) -> None:
    app, script = FastAPI(), Script()
    for path in ("/openai/responses", "/openai/deployments/{name}/responses"):
        app.add_api_route(path, script.answer, methods=["POST"])
    async with serving(ResponseCacheMiddleware(app), lifespan="on") as url:
        path = f"deployments/{model}/" if model else ""
        async with AsyncAzureOpenAI(
            api_key="k", api_version="2025-04-01-preview", base_url=f"{url}/openai/{path}"
        ) as client:
            created = await create(client)
            assert created.status == "queued"
            assert (await ended(client, created.id)).output_text == TEXT
            await client.responses.delete(created.id)
            assert not (await client.responses.create(model=MODEL, input="x")).background


# Streaming.


async def test_a_background_stream_brings_events_while_they_are_made(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        events: list[Any] = []
        stream = await client.responses.create(
            model=MODEL, input="Tell me", background=True, stream=True
        )
        async for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta" and event.delta == WORDS[HELD - 1]:
                script.released.set()
        assert numbers(events) == list(range(LAST + 1))
        lifecycle = ["response.created", "response.queued", "response.in_progress"]
        assert [event.type for event in events[:3]] == lifecycle
        last = events[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == TEXT
        assert last.response == await client.responses.retrieve(last.response.id)


@pytest.mark.parametrize("last", [0, 2, FIRST_WORD])
async def test_a_client_that_drops_resumes_without_a_gap_or_a_repeat(store: str, last: int) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        before: list[Any] = []
        async with await client.responses.create(
            model=MODEL, input="Tell me", background=True, stream=True
        ) as stream:
            async for event in stream:
                before.append(event)
                if event.sequence_number == last:
                    break
        async with await client.responses.retrieve(
            before[0].response.id, stream=True, starting_after=last
        ) as stream:
            script.released.set()
            after = [event async for event in stream]
        assert numbers([*before, *after]) == list(range(LAST + 1))
        assert len(script.requests) == 1


async def test_a_finished_response_is_streamed_from_any_cursor(store: str) -> None:
    async with served(app_of(Script(), store=store)) as client:
        created = await create(client)
        await ended(client, created.id)
        for cursor in (-1, 0, FIRST_WORD, LAST - 1, LAST, LAST + 10):
            async with await client.responses.retrieve(
                created.id, stream=True, starting_after=cursor
            ) as stream:
                events = [event async for event in stream]
            assert numbers(events) == list(range(cursor + 1, LAST + 1))


async def test_the_stream_helper_resumes_and_gives_the_final_response(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        created = await create(client)
        await reached(client, created.id, "".join(WORDS[:HELD]))
        script.released.set()
        async with client.responses.stream(
            response_id=created.id, starting_after=FIRST_WORD
        ) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        assert numbers(events) == list(range(FIRST_WORD + 1, LAST + 1))
        assert (final.id, final.status, final.output_text) == (created.id, "completed", TEXT)


async def test_the_stream_helper_creates_in_the_background(store: str) -> None:
    async with (
        served(app_of(Script(), store=store)) as client,
        client.responses.stream(model=MODEL, input="Tell me", background=True) as stream,
    ):
        final = await stream.get_final_response()
        assert (final.background, final.output_text) == (True, TEXT)
        assert (await client.responses.retrieve(final.id)).status == "completed"


# Cancelling and deleting.


async def test_cancel_stops_the_upstream_and_keeps_what_there_was(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        created = await create(client)
        await reached(client, created.id, "".join(WORDS[:HELD]))
        cancelled = await client.responses.cancel(created.id)
        assert (cancelled.status, cancelled.error) == ("cancelled", None)
        assert cancelled.output_text == "".join(WORDS[:HELD])
        await script.stopped.wait()
        assert await client.responses.retrieve(created.id) == cancelled
        assert await client.responses.cancel(created.id) == cancelled


async def test_the_stream_of_a_cancelled_response_ends_as_failed_without_an_error(
    store: str,
) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        stream = await client.responses.create(
            model=MODEL, input="Tell me", background=True, stream=True
        )
        events: list[Any] = []
        async for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta" and event.delta == WORDS[HELD - 1]:
                await client.responses.cancel(events[0].response.id)
        assert numbers(events) == list(range(len(events)))
        assert_is_cancelled(events[-1])
        id = events[0].response.id
        async with await client.responses.retrieve(id, stream=True, starting_after=3) as replay:
            assert [event async for event in replay] == events[4:]
        async with client.responses.stream(response_id=id) as helper:
            assert_is_cancelled([event async for event in helper][-1])
            with pytest.raises(RuntimeError, match="completed"):
                await helper.get_final_response()


def assert_is_cancelled(event: Any) -> None:
    assert event.type == "response.failed"
    assert (event.response.status, event.response.error) == ("cancelled", None)


async def test_cancel_of_a_completed_response_is_a_bad_request(store: str) -> None:
    async with served(app_of(Script(), store=store), retries=2) as client:
        created = await create(client)
        await ended(client, created.id)
        with pytest.raises(openai.BadRequestError, match=r"Cannot cancel a completed response\."):
            await client.responses.cancel(created.id)


async def test_a_deleted_response_is_found_by_nobody(store: str) -> None:
    async with served(app_of(Script(), store=store)) as client:
        created = await create(client)
        await ended(client, created.id)
        await client.responses.delete(created.id)
        await assert_not_found(client, created.id)


async def test_delete_stops_a_running_response_and_breaks_its_streams(store: str) -> None:
    script = Script(is_held=True)
    async with served(app_of(script, store=store)) as client:
        stream = await client.responses.create(
            model=MODEL, input="Tell me", background=True, stream=True
        )
        created = await anext(stream)
        assert created.type == "response.created"
        while (await anext(stream)).type != "response.output_text.delta":
            pass
        await client.responses.delete(created.response.id)
        with pytest.raises(openai.APIConnectionError):
            await exhausted(stream)
        await script.stopped.wait()
        await assert_not_found(client, created.response.id)


async def test_the_response_of_another_key_is_found_by_nobody_else(store: str) -> None:
    async with served(app_of(Script(), store=store)) as client:
        created = await create(client)
        await assert_not_found(client.with_options(api_key="sk-2"), created.id)
        assert (await ended(client, created.id)).status == "completed"


async def exhausted(stream: AsyncIterator[object]) -> None:
    """Read to the end, or to the error that comes in its place."""
    async for _ in stream:
        pass


async def assert_not_found(client: AsyncOpenAI, id: str) -> None:
    verbs: list[Callable[[str], Awaitable[Any]]] = [
        client.responses.retrieve,
        client.responses.cancel,
        client.responses.delete,
        lambda response: client.responses.retrieve(response, stream=True),
        lambda response: anext(aiter(client.responses.input_items.list(response))),
    ]
    for verb in verbs:
        with pytest.raises(openai.NotFoundError, match=f"Response with id '{id}' not found"):
            await verb(id)


# Input items.


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [7, 20, 100])
async def test_all_input_items_are_listed_page_by_page(order: Any, limit: int) -> None:
    texts = [f"line {number}" for number in range(123)]
    given: ResponseInputParam = [{"role": "user", "content": text} for text in texts]
    async with served(app_of(Script())) as client:
        created = await create(client, input=given)
        listed = client.responses.input_items.list(created.id, order=order, limit=limit)
        items = [item.to_dict() async for item in listed]
        told: list[Any] = [item["content"] for item in items]
        assert [content[0]["text"] for content in told] == texts[:: 1 if order == "asc" else -1]
        assert len({str(item["id"]) for item in items}) == len(texts)


# Errors.


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_a_refusal_reaches_the_client_as_the_upstream_gave_it(
    status: int, error: type[openai.APIStatusError]
) -> None:
    script = Script(refusals=[Refusal(status, "because", {"x-request-id": "req_upstream"})])
    async with served(app_of(script)) as client:
        with pytest.raises(error) as refusal:
            await create(client)
        assert (refusal.value.code, refusal.value.param) == ("because", "tools")
        assert refusal.value.request_id == "req_upstream"


async def test_a_client_that_is_told_when_to_retry_does_so() -> None:
    script = Script(refusals=[Refusal(429, "slow_down", {"retry-after": "0.01"})])
    async with served(app_of(script), retries=1) as client:
        created = await create(client)
        assert (await ended(client, created.id)).status == "completed"
        assert len(script.requests) == 2


async def test_more_work_than_allowed_is_a_rate_limit_that_says_when_to_retry() -> None:
    script = Script(is_held=True)
    async with served(app_of(script, max_running=1, max_waiting=0)) as client:
        created = await create(client)
        with pytest.raises(openai.RateLimitError) as refusal:
            await create(client)
        assert refusal.value.response.headers["retry-after"] == "1"
        assert refusal.value.code == "rate_limit_exceeded"
        script.released.set()
        await ended(client, created.id)


async def test_a_server_that_shuts_down_takes_no_new_work() -> None:
    app = app_of(Script())
    async with served(app) as client:
        created = await create(client)
        await ended(client, created.id)
        await app.drain()
        with pytest.raises(openai.InternalServerError) as refusal:
            await create(client)
        assert refusal.value.status_code == 503
        assert refusal.value.response.headers["retry-after"] == "1"
        assert (await client.responses.retrieve(created.id)).status == "completed"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"metadata": {"key": 1}}, "metadata"),
        ({"stream": "yes"}, "stream"),
        ({"previous_response_id": 1}, "previous_response_id"),
    ],
)
async def test_a_request_that_could_not_be_kept_is_a_bad_request(
    fields: JsonObject, param: str
) -> None:
    script = Script()
    async with served(app_of(script)) as client:
        with pytest.raises(openai.BadRequestError) as refusal:
            await client.responses.create(
                model=MODEL, input="Tell me", background=True, extra_body=fields
            )
        assert (refusal.value.param, refusal.value.type) == (param, "invalid_request_error")
        assert script.requests == []


# Going on from a response.


@pytest.mark.parametrize("background", [True, False])
async def test_a_response_is_continued_under_the_upstreams_own_id(
    store: str, background: bool
) -> None:
    script = Script()
    async with served(app_of(script, store=store)) as client:
        first = await create(client)
        await ended(client, first.id)
        second = await create(client, previous_response_id=first.id, background=background)
        assert script.requests[1]["previous_response_id"] == "resp_upstream_1"
        if background:
            response = await ended(client, second.id)
            assert (response.previous_response_id, response.status) == (first.id, "completed")


async def test_a_response_that_is_not_there_is_not_continued() -> None:
    script = Script()
    async with served(app_of(script)) as client:
        first = await create(client)
        await ended(client, first.id)
        await client.responses.delete(first.id)
        with pytest.raises(openai.BadRequestError) as refusal:
            await create(client, previous_response_id=first.id)
        assert refusal.value.code == "previous_response_not_found"
        assert refusal.value.param == "previous_response_id"
        assert len(script.requests) == 1


# Retries.


@dataclass
class LosesReplies:
    """A proxy that answers the first creates with an error though they got through."""

    app: ASGIApp
    left: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self.left:
            await self.app(scope, receive, send)
            return
        self.left -= 1
        await self.app(scope, receive, _nowhere)
        headers = [(b"retry-after-ms", b"1"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 502, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _nowhere(message: Any) -> None:
    """Where lost replies go."""


@pytest.mark.parametrize("is_held", [True, False])
async def test_a_retried_create_with_an_idempotency_key_makes_one_response(
    store: str, is_held: bool
) -> None:
    script = Script(is_held=is_held)
    async with served(LosesReplies(app_of(script, store=store), left=2), retries=2) as client:
        key = {"Idempotency-Key": "once"}
        created = await create(client, extra_headers=key)
        assert created.id == (await create(client, extra_headers=key)).id
        script.released.set()
        assert (await ended(client, created.id)).output_text == TEXT
        assert len(script.requests) == 1


async def test_an_idempotency_key_is_not_reused_for_another_request() -> None:
    async with served(app_of(Script()), retries=2) as client:
        key = {"Idempotency-Key": "once"}
        await create(client, extra_headers=key)
        with pytest.raises(openai.UnprocessableEntityError, match="Idempotency-Key"):
            await create(client, input="Something else", extra_headers=key)


# The synchronous client.


@contextmanager
def sync_client(client: AsyncOpenAI) -> Iterator[OpenAI]:
    """The synchronous twin of *client*."""
    with OpenAI(api_key=client.api_key, base_url=client.base_url, max_retries=0) as twin:
        yield twin


async def test_the_synchronous_client_creates_polls_streams_and_deletes(store: str) -> None:
    def use(twin: OpenAI) -> None:
        created = twin.responses.create(model=MODEL, input="Tell me", background=True)
        while (response := twin.responses.retrieve(created.id)).status in PENDING:
            pass
        assert (response.status, response.output_text) == ("completed", TEXT)
        with twin.responses.retrieve(created.id, stream=True, starting_after=2) as stream:
            assert numbers(list(stream)) == list(range(3, LAST + 1))
        with twin.responses.stream(response_id=created.id, starting_after=2) as helper:
            assert helper.get_final_response().output_text == TEXT
        (item,) = twin.responses.input_items.list(created.id)
        assert item.to_dict()["content"] == [{"type": "input_text", "text": "Tell me"}]
        twin.responses.delete(created.id)
        with pytest.raises(openai.NotFoundError):
            twin.responses.retrieve(created.id)

    async with served(app_of(Script(), store=store)) as client:
        with sync_client(client) as twin:
            await anyio.to_thread.run_sync(use, twin)


async def test_the_synchronous_client_drops_resumes_and_cancels(store: str) -> None:
    script = Script(is_held=True)

    def use(twin: OpenAI) -> None:
        with twin.responses.create(
            model=MODEL, input="Tell me", background=True, stream=True
        ) as stream:
            seen: list[Any] = list(islice(stream, FIRST_WORD))
        id = seen[0].response.id
        last = seen[-1].sequence_number
        with twin.responses.retrieve(id, stream=True, starting_after=last) as rest:
            for event in rest:
                seen.append(event)
                if event.type == "response.output_text.delta" and event.delta == WORDS[HELD - 1]:
                    assert twin.responses.cancel(id).status == "cancelled"
        assert numbers(seen) == list(range(len(seen)))
        assert_is_cancelled(seen[-1])

    async with served(app_of(script, store=store)) as client:
        with sync_client(client) as twin:
            await anyio.to_thread.run_sync(use, twin)
        await script.stopped.wait()


# What newer clients send.


def questioned(script: Script) -> FastAPI:
    """The scripted app with the routes of questions about creates; it refuses as OpenAI does."""
    app = FastAPI()

    async def answer(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        if body.get("model") == "refusing":
            id = body["previous_response_id"]
            error = {"message": f"Previous response with id '{id}' not found.", "code": "no"}
            return JSONResponse({"error": error}, 400)
        if request.url.path.endswith("/compact"):
            usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
            base = {"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": []}
            return JSONResponse({**base, "usage": usage})
        return JSONResponse({"object": "response.input_tokens", "input_tokens": 7})

    for path in ("/v1/responses/compact", "/v1/responses/input_tokens"):
        app.add_api_route(path, answer, methods=["POST"])
    app.add_api_route("/v1/responses", script.answer, methods=["POST"])
    return app


@asynccontextmanager
async def served_in(host: str, script: Script, **settings: Any) -> AsyncIterator[AsyncOpenAI]:
    """A client of the scripted app, in the middleware or behind the sidecar."""
    app = questioned(script)
    if host == "middleware":
        async with served(ResponseCacheMiddleware(app)) as client:
            yield client
    else:
        async with (
            serving(app, lifespan="on") as upstream,
            served(build_app(Settings(upstream=f"{upstream}/v1", **settings))) as client,
        ):
            yield client


HOSTS: Final = ["middleware", "sidecar"]


@pytest.mark.parametrize("host", HOSTS)
async def test_a_background_response_can_be_compacted_counted_and_compared_with(host: str) -> None:
    script = Script()
    async with served_in(host, script) as client:
        first = await create(client)
        await ended(client, first.id)
        compacted = await client.responses.compact(model=MODEL, previous_response_id=first.id)
        counted = await client.responses.input_tokens.count(
            model=MODEL, previous_response_id=first.id
        )
        assert (compacted.object, counted.input_tokens) == ("response.compaction", 7)
        options = {"mode": "explicit", "comparison_response_id": first.id}
        second = await create(client, prompt_cache_options=options)
        final = await ended(client, second.id)
        assert final.prompt_cache_options is not None
        assert final.prompt_cache_options.comparison_response_id == first.id
        _, *asked, compared = script.requests
        assert [body["previous_response_id"] for body in asked] == ["resp_upstream_1"] * 2
        told = compared["prompt_cache_options"]
        assert told == {**options, "comparison_response_id": "resp_upstream_1"}


@pytest.mark.parametrize("host", HOSTS)
async def test_the_refusal_of_a_question_names_the_clients_id(host: str) -> None:
    async with served_in(host, Script()) as client:
        first = await create(client)
        await ended(client, first.id)
        with pytest.raises(openai.BadRequestError, match=first.id) as caught:
            await client.responses.compact(model="refusing", previous_response_id=first.id)
        assert "resp_upstream" not in str(caught.value)


@pytest.mark.parametrize("host", HOSTS)
async def test_only_the_soonest_window_is_taken(host: str) -> None:
    script = Script()
    async with served_in(host, script) as client:
        created = await create(client, background_options={"completion_window": "soonest"})
        assert (await ended(client, created.id)).status == "completed"
        for options in ({"completion_window": "8h"}, {"continuation_id": "chat-1"}):
            with pytest.raises(openai.BadRequestError) as caught:
                await create(client, background_options=options)
            assert caught.value.param == "background_options"
    assert len(script.requests) == 1


@pytest.mark.parametrize("host", HOSTS)
async def test_padding_and_includes_are_taken(host: str) -> None:
    async with served_in(host, Script()) as client:
        created = await create(client)
        await ended(client, created.id)
        include: Any = ["reasoning.encrypted_content", "message.output_text.logprobs"]
        polled = await client.responses.retrieve(created.id, include=include)
        assert polled.status == "completed"
        listed = await client.responses.input_items.list(created.id, include=include)
        assert len(listed.data) == 1
        stream = await client.responses.retrieve(
            created.id, stream=True, include=include, include_obfuscation=True, starting_after=2
        )
        deltas = [event.model_dump() async for event in stream if event.type.endswith(".delta")]
        assert [delta["delta"] for delta in deltas] == [*WORDS]
        assert {len(delta["delta"] + delta["obfuscation"]) for delta in deltas} == {16}
