"""The wrapped app and its clients: when each may leave, and what stops a run of the app."""

from __future__ import annotations

import contextvars
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse

from response_cache.store import Claim, NewRecord
from response_cache.stores.memory import MemoryStore
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from tests.adapters.asgi.driver import (
    EVENT_STREAM,
    TOLD,
    WAIT_TIMEOUT,
    calling,
    create,
    ended,
    eventually,
    hosting,
    piece,
    read_body,
    replay,
    request,
    retrieve,
    sse,
    start,
    story,
)

STORY = story("Once ", "upon ", "a time")
BACKGROUND = {"model": "m", "input": "hi", "background": True}


class Teller:
    """An app that tells STORY: the beginning at once, the rest when the gate is opened."""

    def __init__(self) -> None:
        self.gate = anyio.Event()
        self.calls = 0
        self.ends: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        self.calls += 1
        await read_body(receive)
        try:
            await start(send, EVENT_STREAM)
            await piece(send, sse(*STORY[:4]))
            await self.gate.wait()
            await piece(send, sse(*STORY[4:]))
            await piece(send, b"", more=False)
        except OSError:
            self.ends.append("disconnected")
            raise
        except BaseException:
            self.ends.append("cancelled")
            raise
        self.ends.append("returned")


class Watched(MemoryStore):
    """A memory store that remembers the ids it was given and counts the waits for events."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ids: list[str] = []
        self.readers = 0

    async def create(self, new: NewRecord, lease: float) -> Claim:
        self.ids.append(new.id)
        return await super().create(new, lease)

    async def wait(self, id: str, *, after: int, **seen: Any) -> None:
        is_reader = after < 2**40  # recorders wait for the claim alone
        self.readers += is_reader
        try:
            await super().wait(id, after=after, **seen)
        finally:
            self.readers -= is_reader


# The context of the request.

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


async def test_the_app_runs_in_the_context_of_the_request() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(NAME.get())
        await TOLD(scope, receive, send)

    async with hosting(app) as middleware:

        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            NAME.set("poster")
            await middleware(scope, receive, send)

        seen.clear()  # of the lifespan
        await ended(middleware, await create(outer))
    assert seen == ["poster"]


async def test_the_app_may_say_that_it_has_accepted_before_it_answers() -> None:
    """By the extension in its scope; the wait for a refusal ends with it."""
    may_answer = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = scope["extensions"]["response_cache"]["answer"]
            answer.note("tried", "first")
            answer.admitted()
            await may_answer.wait()
        await TOLD(scope, receive, send)

    store = MemoryStore()
    async with hosting(app, store=store, admission_wait=10 * WAIT_TIMEOUT) as middleware:
        id = await create(middleware)
        may_answer.set()
        await ended(middleware, id)
        view = await store.read(id)
    assert view is not None
    assert json.loads(view.notes or b"")["tried"] == "first"


async def test_the_app_gets_a_scope_of_its_own() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        if scope["type"] == "http":
            scope["state"]["mine"] = True
            scope["path_params"] = {"by": "the app"}
        await TOLD(scope, receive, send)

    fields = [(b"Content-Type", b"application/json"), (b"expect", b"100-continue"), (b"x-a", b"b")]
    state = {"shared": [1]}
    async with hosting(app) as middleware:
        call = await request(
            middleware, "POST", "/v1/responses", json=BACKGROUND, headers=fields, state=state
        )
        await ended(middleware, call.json["id"])
    scope = scopes[-1]
    assert list(scope["extensions"]) == ["response_cache"]  # and none of the server's
    assert [name for name, _ in scope["headers"]] == [
        b"host",
        b"Content-Type",
        b"x-a",
        b"content-length",
        b"accept-encoding",
    ]
    assert scope["state"]["shared"] is state["shared"]
    assert "mine" not in state
    assert "path_params" not in call.scope
    assert (scope["client"], scope["path"]) == (call.scope["client"], "/v1/responses")


async def test_the_app_is_asked_for_a_foreground_stream() -> None:
    bodies = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            bodies.append(json.loads(await read_body(receive)))
            await TOLD(scope, receive_nothing, send)

    async def receive_nothing() -> Any:
        return {"type": "http.request", "body": b""}

    async with hosting(app) as middleware:
        await ended(middleware, await create(middleware, background_options={}, vendor=[1]))
    assert bodies == [{"model": "m", "input": "hi", "vendor": [1], "stream": True}]


# Clean-up after the end.


def cleaning(gate: anyio.Event, done: list[str]) -> ASGIApp:
    """A FastAPI app whose background task waits for *gate*; what was done goes to *done*."""
    api = FastAPI()

    async def dependency() -> AsyncIterator[str]:
        yield "value"
        done.append("dependency")

    async def bill() -> None:
        try:
            await gate.wait()
        except BaseException:
            done.append("stopped")
            raise
        done.append("billed")

    async def tell() -> AsyncIterator[bytes]:
        try:
            for event in STORY:
                yield sse(event)
        finally:
            done.append("told")

    @api.post("/v1/responses")
    async def respond(value: str = Depends(dependency)) -> StreamingResponse:
        tasks = BackgroundTasks()
        tasks.add_task(bill)
        return StreamingResponse(tell(), media_type="text/event-stream", background=tasks)

    return api


@pytest.mark.parametrize("spec_version", ["2.0", "2.4"])
async def test_clean_up_runs_to_its_end_and_does_not_delay_the_end(spec_version: str) -> None:
    gate, done = anyio.Event(), list[str]()
    asgi = {"version": "3.0", "spec_version": spec_version}
    async with hosting(cleaning(gate, done)) as app:
        body = {**BACKGROUND, "stream": True}
        async with calling(app, "POST", "/v1/responses", json=body, asgi=asgi) as call:
            await call.until_over()  # the client has seen the end, and goes
        assert call.events[-1]["type"] == "response.completed"
        id = call.events[0]["response"]["id"]
        assert (await retrieve(app, id))["status"] == "completed"
        assert "billed" not in done
        gate.set()
        await eventually(lambda: len(done) == 3)
    assert sorted(done) == ["billed", "dependency", "told"]


async def test_clean_up_is_bounded() -> None:
    done: list[str] = []
    async with hosting(cleaning(anyio.Event(), done), after_end_timeout=0.05) as app:
        id = await create(app)
        await eventually(lambda: "stopped" in done)
        assert (await retrieve(app, id))["status"] == "completed"
    assert "billed" not in done


# Being asked whether the client is still there, and being stopped.


@pytest.mark.parametrize("reads_body", [True, False])
async def test_the_client_is_there_until_the_response_is_cancelled(reads_body: bool) -> None:
    api, seen, asked = FastAPI(), list[bool](), anyio.Event()

    @api.post("/v1/responses")
    async def respond(incoming: Request) -> StreamingResponse:
        if reads_body:
            await incoming.body()

        async def tell() -> AsyncIterator[bytes]:
            yield sse(*STORY[:4])
            if not reads_body:
                await incoming.receive()
            while True:
                seen.append(await incoming.is_disconnected())
                asked.set()
                if seen[-1]:
                    return
                await anyio.sleep(0.001)

        return StreamingResponse(tell(), media_type="text/event-stream")

    async with hosting(api, stop_grace=5) as app:
        async with calling(app, "POST", "/v1/responses", json=BACKGROUND) as call:
            await call.until_over()
            call.disconnect()
        await asked.wait()
        id = call.json["id"]
        assert seen == [False] * len(seen)
        cancelled = await request(app, "POST", f"/v1/responses/{id}/cancel")
        assert cancelled.json["status"] == "cancelled"
        await eventually(lambda: seen[-1])


async def test_the_client_is_gone_once_it_has_everything() -> None:
    received: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """One that returns when its client goes, as Litestar's streams do."""
        assert scope["type"] == "http"
        await read_body(receive)

        async def listen() -> None:
            received.append((await receive())["type"])

        before = len(received)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await start(send, EVENT_STREAM)
            await piece(send, sse(*STORY))
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert len(received) == before
            await piece(send, b"", more=False)
        received.append((await receive())["type"])

    async with hosting(app, max_running=1) as middleware:
        ids = [await create(middleware) for _ in range(2)]
        for id in ids:
            assert (await ended(middleware, id))["status"] == "completed"
    assert received == ["http.disconnect"] * 4


@pytest.mark.parametrize("spec_version", ["2.0", "2.4"])
async def test_what_follows_the_body_runs_to_its_end_though_the_client_is_gone(
    spec_version: str,
) -> None:
    api, gate, done = FastAPI(), anyio.Event(), list[str]()

    async def bill() -> None:
        await gate.wait()
        done.append("billed")

    @api.middleware("http")
    async def log(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    @api.post("/v1/responses")
    async def respond(tasks: BackgroundTasks) -> StreamingResponse:
        async def tell() -> AsyncIterator[bytes]:
            yield sse(*STORY)

        tasks.add_task(bill)
        return StreamingResponse(tell(), media_type="text/event-stream", background=tasks)

    asgi = {"version": "3.0", "spec_version": spec_version}
    async with hosting(api) as app:
        call = await request(app, "POST", "/v1/responses", json=BACKGROUND, asgi=asgi)
        assert (await ended(app, call.json["id"]))["status"] == "completed"
        gate.set()
        await eventually(lambda: done == ["billed"])


async def swallows_disconnects(scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        with suppress(OSError):
            await piece(send, b": still here\n\n")
        await anyio.sleep(0.001)


async def waits_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def listens(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    while True:
        await piece(send, b": more\n\n")
        await anyio.sleep(0.001)


async def cleans_up(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)


STOPPABLE = [swallows_disconnects, waits_for_ever, listens, streams, cleans_up]


@pytest.mark.parametrize("rest", STOPPABLE, ids=lambda app: app.__name__)
@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_a_cancel_really_stops_the_app(rest: ASGIApp, verb: str) -> None:
    over = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await read_body(receive)
        try:
            await start(send, EVENT_STREAM)
            await piece(send, sse(*STORY[:4]))
            await rest(scope, receive, send)
        finally:
            over.set()

    async with hosting(app) as middleware:
        id = await create(middleware)
        method, suffix = ("POST", "/cancel") if verb == "cancel" else ("DELETE", "")
        assert (await request(middleware, method, f"/v1/responses/{id}{suffix}")).status == 200
        with anyio.fail_after(WAIT_TIMEOUT):
            await over.wait()
        if verb == "cancel":
            body = await retrieve(middleware, id)
            events = await replay(middleware, id)
            assert body["status"] == events[-1]["response"]["status"] == "cancelled"
            assert (body["error"], events[-1]["type"]) == (None, "response.failed")
        else:
            assert (await request(middleware, "GET", f"/v1/responses/{id}")).status == 404


# One that is silent: Starlette leaves generators whose send failed to the garbage collector.
@pytest.mark.parametrize("spec_version", ["2.0", "2.4"])
async def test_a_cancel_stops_a_streaming_response(spec_version: str) -> None:
    api, ends = FastAPI(), list[str]()

    @api.post("/v1/responses")
    async def respond() -> StreamingResponse:
        async def tell() -> AsyncIterator[bytes]:
            try:
                yield sse(*STORY[:4])
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                ends.append("cleaned up")

        return StreamingResponse(tell(), media_type="text/event-stream")

    asgi = {"version": "3.0", "spec_version": spec_version}
    async with hosting(api) as app:
        call = await request(app, "POST", "/v1/responses", json=BACKGROUND, asgi=asgi)
        await request(app, "POST", f"/v1/responses/{call.json['id']}/cancel")
        await eventually(lambda: ends == ["cleaned up"])
        body = await ended(app, call.json["id"])
    assert body["status"] == "cancelled"


# The poster.


async def test_the_poster_may_go_before_the_first_byte() -> None:
    teller, store = Teller(), Watched()
    async with hosting(teller, store, admission_wait=5) as app:
        async with calling(app, "POST", "/v1/responses", json=BACKGROUND) as call:
            call.disconnect()
            await call.until_over()
        assert (call.sent, call.error) == ([], None)
        teller.gate.set()
        body = await ended(app, store.ids[0])
    assert body["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", range(24))
async def test_the_poster_may_be_cancelled_at_any_point(steps: int, stream: bool) -> None:
    teller, store = Teller(), Watched()
    async with hosting(teller, store) as app:
        body = {**BACKGROUND, "stream": stream}
        async with calling(app, "POST", "/v1/responses", json=body) as call:
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            call.task.cancel()
            await call.until_over()
        teller.gate.set()
        for id in store.ids:
            assert (await ended(app, id))["status"] == "completed"
    assert teller.calls == len(store.ids)
    assert teller.ends == ["returned"] * len(store.ids)


async def test_a_streaming_poster_may_go_in_the_middle() -> None:
    teller, store = Teller(), Watched()
    async with hosting(teller, store) as app:
        body = {**BACKGROUND, "stream": True}
        async with calling(app, "POST", "/v1/responses", json=body) as call:
            await call.until_sent(b"Once ")
            call.disconnect()
            await call.until_over()
        await eventually(lambda: store.readers == 0)
        teller.gate.set()
        body = await ended(app, store.ids[0])
    assert body["status"] == "completed"
    assert call.error is None


async def test_a_post_that_is_cut_short_calls_the_app_as_it_would_have_been() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        seen.append(await receive())
        seen.append(await receive())

    async with (
        hosting(app) as middleware,
        calling(middleware, "POST", "/v1/responses", body=[b'{"backgr', b""]) as call,
    ):
        call.incoming[1:] = [{"type": "http.disconnect"}]
        await call.until_over()
    assert seen == [
        {"type": "http.request", "body": b'{"backgr', "more_body": True},
        {"type": "http.disconnect"},
    ]


# Readers.


@pytest.mark.parametrize("how", ["disconnect", "error on send", "cancelled"])
async def test_a_reader_that_goes_stops_the_reading_only(how: str) -> None:
    teller, store = Teller(), Watched()
    async with hosting(teller, store) as app:
        id = await create(app)
        async with calling(app, "GET", f"/v1/responses/{id}?stream=true") as call:
            await call.until_sent(b"Once ")
            await eventually(lambda: store.readers == 1)
            if how == "disconnect":
                call.disconnect()
            elif how == "cancelled":
                call.task.cancel()
            else:
                call.is_gone = True
                teller.gate.set()
            await call.until_over()
        await eventually(lambda: store.readers == 0)
        assert call.error is None
        teller.gate.set()
        body = await ended(app, id)
    assert body["status"] == "completed"
    assert teller.ends == ["returned"]


async def test_a_long_poll_ends_when_its_client_goes() -> None:
    teller, store = Teller(), Watched()
    async with hosting(teller, store) as app:
        id = await create(app)
        wait = [(b"prefer", b"wait=30")]
        async with calling(app, "GET", f"/v1/responses/{id}", headers=wait) as call:
            await eventually(lambda: store.readers == 1)
            call.disconnect()
            await call.until_over()
        await eventually(lambda: store.readers == 0)
        assert (call.sent, call.error) == ([], None)
        teller.gate.set()
        assert (await ended(app, id))["status"] == "completed"


async def test_a_long_poll_is_answered_at_the_end() -> None:
    teller = Teller()
    async with hosting(teller) as app:
        id = await create(app)
        wait = [(b"prefer", b"wait=30")]
        async with calling(app, "GET", f"/v1/responses/{id}", headers=wait) as call:
            teller.gate.set()
            await call.until_over()
    assert call.json["status"] == "completed"


async def test_readers_of_different_speed_see_the_same() -> None:
    teller = Teller()
    async with hosting(teller) as app:
        id = await create(app)
        path = f"/v1/responses/{id}?stream=true"
        async with (
            calling(app, "GET", path, held=True) as slow,
            calling(app, "GET", path) as fast,
        ):
            await fast.until_sent(b"Once ")
            teller.gate.set()
            await fast.until_over()
            assert slow.sent == []
            slow.release()
            await slow.until_over()
    assert fast.events[-1]["type"] == "response.completed"
    assert slow.events == fast.events


async def test_a_client_that_has_gone_is_no_error_whatever_it_asked() -> None:
    async with hosting(TOLD) as app:
        id = await create(app)
        for path in (f"/v1/responses/{id}", f"/v1/responses/{id}?stream=true", "/v1/responses/x"):
            async with calling(app, "GET", path) as call:
                call.is_gone = True
                await call.until_over()
            assert path.endswith("/x") or call.error is None


def orders(events: Sequence[dict[str, Any]]) -> list[int]:
    return [event["sequence_number"] for event in events]


async def test_a_stream_resumes_behind_its_cursor() -> None:
    teller = Teller()
    async with hosting(teller) as app:
        id = await create(app)
        path = f"/v1/responses/{id}?stream=true&starting_after=3"
        async with calling(app, "GET", path) as call:
            await call.until_sent(b"content_part")
            teller.gate.set()
            await call.until_over()
        whole = await replay(app, id)
    assert orders(call.events) == orders(whole)[4:]
