"""The HTTP API: the suite for adapters over the ASGI middleware, and the rules of the API's own."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache import Answer, Body, Headers, Options, PassThrough, Request, ResponseCache
from response_cache.errors import (
    StoreFull,
    StoreUnavailable,
    TooManyRequests,
)
from response_cache.http import Reply, ResponsesAPI, Route, Stream, Verb
from response_cache.store import Append, Appended, Claim, NewRecord, RecordView, Taken
from response_cache.stores.memory import MemoryStore
from response_cache.testing import (
    HttpConformance,
    HttpTimeConformance,
    InProcess,
    ScriptedUpstream,
    Serve,
    virtual_backend,
)
from response_cache.testing._http_suite.site import Site, error_of, ok
from response_cache.testing._upstream import Call
from response_cache_asgi import ResponseCacheMiddleware

KEYED = {"authorization": "Bearer sk", "idempotency-key": "once"}
OURS = "resp_rc" + "0a" * 24


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both, with a clock that jumps."""
    return virtual_backend(request.param)


@asynccontextmanager
async def serve_in_process(
    upstream: ScriptedUpstream, **options: Any
) -> AsyncGenerator[httpx.AsyncClient]:
    """The middleware around *upstream*, with a memory store on the loop's time."""
    options.setdefault("store", MemoryStore(clock=anyio.current_time))
    app = ResponseCacheMiddleware(upstream, drain_on_signals=False, **options)
    transport = InProcess(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://site/v1") as client:
        yield client


class TestMiddleware(HttpConformance, HttpTimeConformance):
    @pytest.fixture
    def serve(self) -> Serve:
        return serve_in_process


@pytest.mark.parametrize("suite", [HttpConformance, HttpTimeConformance])
def test_no_test_of_the_suite_hides_another(suite: type) -> None:
    names = Counter(name for group in suite.__bases__ for name in vars(group))
    assert {name for name, count in names.items() if count > 1 and name[:5] == "test_"} == set()


# --- The rules of its own ------------------------------------------------------------------------


async def test_a_create_is_no_question_about_a_response() -> None:
    api = ResponsesAPI(ResponseCache(MemoryStore()))
    with pytest.raises(TypeError):
        await api.answer(Route(Verb.CREATE), Request("POST", "/responses", b"", ()))


async def test_what_asks_the_app_passes_as_it_is_where_an_adapter_knows_no_better() -> None:
    api = ResponsesAPI(ResponseCache(MemoryStore()))
    asked = Request("POST", "/responses/compact", b"", ())
    assert await api.answer(Route(Verb.ASK_APP), asked) == PassThrough()


async def test_an_owner_callback_may_raise_its_refusal() -> None:
    async def owner_of(_request: Request) -> Body:
        raise TooManyRequests("Slow down.", retry_after=3)

    api = ResponsesAPI(ResponseCache(MemoryStore()), owner_of)
    request = Request("GET", f"/responses/{OURS}", b"", ())
    reply = await api.answer(Route(Verb.RETRIEVE, OURS), request)
    assert isinstance(reply, Body)
    assert (reply.status, dict(reply.headers)[b"retry-after"]) == (429, b"3")


@pytest.mark.parametrize(
    "body",
    [b'{"background": true}', b'{"previous_response_id": "%b"}' % OURS.encode()],
    ids=["background", "continues ours"],
)
async def test_an_owner_callback_may_leave_a_create_to_the_app(body: bytes) -> None:
    async def owner_of(_request: Request) -> PassThrough:
        return PassThrough()

    async def upstream(_body: bytes, _answer: Answer) -> None:
        raise AssertionError("it was left to the app")

    api = ResponsesAPI(ResponseCache(MemoryStore()), owner_of)
    assert await api.create(Request("POST", "/responses", b"", (), body), upstream) == PassThrough()
    with pytest.raises(TypeError):
        await api.answer(Route(Verb.CANCEL, OURS), Request("POST", f"/{OURS}", b"", ()))


# --- Whatever is asked --------------------------------------------------------------------------

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
bodies = st.fixed_dictionaries(
    {"background": st.just(True) | anything},
    optional={
        name: anything | st.text(max_size=3)
        for name in ("input", "metadata", "tools", "text", "reasoning", "conversation", "stream")
    },
)
queries = st.binary(max_size=20) | st.lists(
    st.tuples(
        st.sampled_from(["stream", "starting_after", "limit", "order", "after", "include[]"]),
        st.sampled_from(["true", "-1", "99", "asc", "", "\ud800"]) | st.text(max_size=4),
    ),
    max_size=4,
).map(lambda pairs: urlencode(pairs, errors="surrogatepass").encode())
values = st.binary(max_size=20) | st.sampled_from([b"*", b'W/"', b"wait=1", b"wait=9e9", b"gzip"])
headers = st.dictionaries(
    st.sampled_from([b"prefer", b"if-none-match", b"authorization", b"idempotency-key"]), values
).map(lambda fields: tuple(fields.items()))


async def asked_in_every_way(query: bytes, headers: Headers, body: bytes) -> list[int]:
    """The status of the replies to a create, and to every question about what it made."""
    async with ResponseCache(MemoryStore(clock=anyio.current_time), Options(max_wait=0)) as cache:
        api = ResponsesAPI(cache)
        created = await api.create(Request("POST", "/responses", query, headers, body), upstream)
        replies: list[Reply] = [] if isinstance(created, PassThrough) else [created]
        ids = list(cache.running_ids)
        for verb in set(Verb) - {Verb.CREATE, Verb.ASK_APP}:
            for id in (OURS, *ids):
                request = Request("GET", "/", query, headers)
                reply = await api.answer(Route(verb, id), request)
                assert not isinstance(reply, PassThrough)
                replies.append(reply)
        for reply in replies:
            if isinstance(reply, Stream):
                await reply.chunks.aclose()
        await cache.drain(0)
    return [reply.status for reply in replies]


async def upstream(body: bytes, answer: Answer) -> None:
    assert b'"stream"' in body
    answer.start(200, [(b"content-type", b"text/event-stream")])
    await answer.stopped.wait()


@settings(max_examples=60)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(query=queries, headers=headers, body=bodies.map(json.dumps).map(str.encode) | st.binary())
def test_whatever_is_asked_is_answered_and_never_by_a_fault_of_ours(
    backend: str, query: bytes, headers: Headers, body: bytes
) -> None:
    name, options = virtual_backend(backend)
    statuses = anyio.run(
        asked_in_every_way, query, headers, body, backend=name, backend_options=options
    )
    assert set(statuses) <= {200, 304, 400, 404}


# --- What is stored and logged -------------------------------------------------------------------


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore(clock=anyio.current_time)


@pytest.fixture
async def site(store: MemoryStore) -> AsyncGenerator[Site]:
    upstream = ScriptedUpstream()
    async with serve_in_process(upstream, store=store) as client:
        yield Site(client, upstream)


@pytest.mark.parametrize("name", ["authorization", "api-key", "x-api-key"])
async def test_a_credential_is_neither_stored_nor_logged_nor_in_the_id(
    site: Site, store: MemoryStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {name: "Bearer sk-5ecret", "idempotency-key": "key-5ecret"}
    site.client.headers.update(headers)
    id, call = await site.begin(input="content-5ecret")
    await call.say("answer")
    await call.crash(ValueError("error-5ecret"))
    await site.until_over(id)
    for view in (await store.read(id), await store.read(id, after=-1)):
        assert view is not None
        kept = [view.header, view.notes, view.snapshot or b"", *view.events]
        assert b"5ecret" not in b"".join(kept)
        assert b"key-5ecret".hex().encode() not in view.header
    assert "5ecret" not in id
    assert "5ecret" not in caplog.text
    assert id in caplog.text  # something was said about it


async def test_that_ids_are_capabilities_is_said_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.completed()
    await site.completed()
    told = [text for text in caplog.messages if "without a credential" in text]
    assert len(told) == 1


# --- A store that does not answer -----------------------------------------------------------------


class MoodyStore(MemoryStore):
    """A memory store that cannot be reached while ``trouble`` is set."""

    trouble: StoreUnavailable | None = None

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def create(self, new: NewRecord, lease: float) -> Claim:
        self._check()
        return await super().create(new, lease)

    async def append(self, claim: Claim, append: Append, lease: float) -> Appended:
        self._check()
        return await super().append(claim, append, lease)

    async def take(self, id: str, **rest: Any) -> Taken:
        self._check()
        return await super().take(id, **rest)

    async def read(self, id: str, **rest: Any) -> RecordView | None:
        self._check()
        return await super().read(id, **rest)

    async def request(self, id: str) -> bytes | None:
        self._check()
        return await super().request(id)

    async def delete(self, id: str, **rest: Any) -> bool:
        self._check()
        return await super().delete(id, **rest)


class ReadsApart(MemoryStore):
    """A memory store that counts reads, and the reads that gave contents."""

    reads = 0
    full_reads = 0

    async def read(self, id: str, **rest: Any) -> RecordView | None:
        view = await super().read(id, **rest)
        self.reads += 1
        self.full_reads += view is not None and bool(view.snapshot or view.events)
        return view


async def test_a_stranger_costs_one_look_and_an_owner_one_read() -> None:
    store, upstream = ReadsApart(clock=anyio.current_time), ScriptedUpstream()
    own = "Bearer sk-own"
    async with serve_in_process(upstream, store=store) as client:
        client.headers["authorization"] = own
        site = Site(client, upstream)
        id = await site.completed("x" * 10 * 2**20)
        for credential, status, reads in (
            ("Bearer sk-stranger", 404, (1, 0)),
            ("Bearer sk-stranger", 404, (1, 0)),
            (own, 200, (1, 1)),
            (own, 200, (1, 1)),
        ):
            client.headers["authorization"] = credential
            store.reads = store.full_reads = 0
            assert (await site.get(id)).status_code == status
            assert (store.reads, store.full_reads) == reads


@pytest.fixture
async def moody() -> MoodyStore:
    return MoodyStore(clock=anyio.current_time)


@pytest.fixture
async def unsteady(moody: MoodyStore) -> AsyncGenerator[Site]:
    """A site over the moody store."""
    upstream = ScriptedUpstream()
    async with serve_in_process(upstream, store=moody) as client:
        yield Site(client, upstream)
        moody.trouble = None


async def test_while_the_store_is_away_everything_is_503_and_worth_a_retry(
    unsteady: Site, moody: MoodyStore
) -> None:
    id, call = await unsteady.begin()
    moody.trouble = StoreUnavailable("no answer")
    replies = [
        await unsteady.get(id),
        await unsteady.get(id, stream="true"),
        await unsteady.get(id, headers={"prefer": "wait=5"}),
        await unsteady.get(id, headers={"if-none-match": "*"}),
        await unsteady.input_items(id),
        await unsteady.cancel(id),
        await unsteady.delete(id),
        await unsteady.post(),
        await unsteady.post(previous_response_id=id, background=False),
    ]
    for reply in replies:
        error = error_of(reply, 503)
        assert (error["type"], error["code"]) == ("server_error", "service_unavailable")
        assert reply.headers["retry-after"] == "1"
        assert "x-should-retry" not in reply.headers
    moody.trouble = None
    await call.complete()
    assert (await unsteady.until_over(id))["status"] == "completed"
    assert len(unsteady.upstream.calls) == 1


async def test_a_full_store_takes_no_new_responses(unsteady: Site, moody: MoodyStore) -> None:
    moody.trouble = StoreFull("no room")
    reply = await unsteady.post()
    assert error_of(reply, 503)["message"] == "The response store is full."
    assert unsteady.upstream.calls == []


async def test_a_create_whose_stream_cannot_be_read_is_not_to_be_repeated(
    unsteady: Site, moody: MoodyStore
) -> None:
    async def lose_the_store(_call: object) -> None:
        moody.trouble = StoreUnavailable("no answer")

    unsteady.upstream.play = lose_the_store
    reply = await unsteady.post(stream=True)
    error_of(reply, 503)
    assert reply.headers["x-should-retry"] == "false"  # the job exists


class NarrowStore(MemoryStore):
    """A memory store that holds numbers of 64 bits, as databases do."""

    async def read(self, id: str, *, after: int | None = None, **rest: Any) -> RecordView | None:
        assert after is None or -1 <= after < 2**63
        return await super().read(id, after=after, **rest)

    async def wait(self, id: str, *, after: int, **rest: Any) -> None:
        assert -1 <= after < 2**63
        await super().wait(id, after=after, **rest)


async def test_a_huge_cursor_is_no_number_that_a_store_could_not_hold() -> None:
    upstream = ScriptedUpstream()
    store = NarrowStore(clock=anyio.current_time)
    async with serve_in_process(upstream, store=store) as client:
        site = Site(client, upstream)
        id, call = await site.begin()
        async with site.reading(id, starting_after="9" * 30) as reader:
            await call.complete()
            assert await reader.rest() == []


# --- Several processes ----------------------------------------------------------------------------


def error_message(reply: httpx.Response) -> object:
    assert reply.status_code == 429
    return reply.json()["error"]["message"]


@pytest.fixture
async def two(store: MemoryStore) -> AsyncGenerator[tuple[Site, ResponseCacheMiddleware, Site]]:
    """Two processes over one store: a site, and another with its middleware."""
    upstream = ScriptedUpstream()
    options: dict[str, Any] = {"store": store, "admission_wait": 5.0}
    other = ResponseCacheMiddleware(upstream, drain_on_signals=False, **options)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serve_in_process(upstream, **options))
        client = httpx.AsyncClient(transport=InProcess(other), base_url="http://other/v1")
        yield Site(first, upstream), other, Site(await stack.enter_async_context(client), upstream)


async def test_any_process_polls_streams_and_cancels(
    two: tuple[Site, ResponseCacheMiddleware, Site],
) -> None:
    here, _, there = two
    id, call = await here.begin()
    async with there.reading(id) as reader:
        await call.say("Hel")
        await reader.until("response.output_text.delta")
        await there.until_shows(id, "Hel")
        cancelled = ok(await there.cancel(id))
        [end] = await reader.rest()
    await call.stopped()
    assert end["response"] == cancelled == await here.object(id)


async def test_a_key_makes_one_call_in_all_processes_together(
    two: tuple[Site, ResponseCacheMiddleware, Site],
) -> None:
    here, _, there = two
    ids: set[str] = set()

    async def post(site: Site) -> None:
        ids.add(ok(await site.post(headers=KEYED))["id"])

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(post, here)
            tasks.start_soon(post, there)
    assert len(ids) == len(here.upstream.calls) == 1


async def test_a_repeat_in_another_process_waits_for_the_first_to_be_refused(
    two: tuple[Site, ResponseCacheMiddleware, Site],
) -> None:
    here, _, there = two
    replies: list[httpx.Response] = []

    async def post(site: Site) -> None:
        replies.append(await site.post(headers=KEYED))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, here)
        first = await here.upstream.next_call()
        tasks.start_soon(post, there)
        await anyio.sleep(3)
        assert len(here.upstream.calls) == 1
        await first.reply(429, {"error": {"message": "first"}})
        second = await here.upstream.next_call()
        await second.say("Hello")
        await second.complete()
    refused, accepted = replies
    assert error_message(refused) == "first"
    here.client.headers.update(KEYED)
    assert (await here.until_over(ok(accepted)["id"]))["status"] == "completed"


async def test_a_long_poll_does_not_hold_up_a_shutdown(
    two: tuple[Site, ResponseCacheMiddleware, Site],
) -> None:
    here, other, there = two
    id, _ = await here.begin()
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:

        async def drain() -> None:
            await anyio.sleep(1)
            await other.drain()

        tasks.start_soon(drain)
        reply = await there.get(id, headers={"prefer": "wait=40"})
    assert ok(reply)["status"] == "queued"
    assert anyio.current_time() - started == pytest.approx(1, abs=0.2)
    error_of(await there.post(), 503)
    error_of(await there.get(id, stream="true"), 503)
    assert (await there.object(id))["status"] == "queued"


# --- Clients that wait for a create, and leave --------------------------------------------------


class CountingStore(MemoryStore):
    """A memory store that counts how often it is read."""

    reads = 0

    async def read(self, id: str, **rest: Any) -> RecordView | None:
        self.reads += 1
        return await super().read(id, **rest)


async def test_who_has_left_asks_the_store_nothing_more() -> None:
    store, upstream = CountingStore(clock=anyio.current_time), ScriptedUpstream()
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(serve_in_process(upstream, store=store))
        options: dict[str, Any] = {"store": store, "admission_wait": 3600.0}
        there = await stack.enter_async_context(serve_in_process(upstream, **options))
        first, second = Site(there, upstream), Site(here, upstream)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: first.post(headers=KEYED))
            await upstream.next_call()
            for _ in range(20):
                with anyio.move_on_after(2):  # its client goes
                    await second.post(headers=KEYED)
            reads = store.reads
            await anyio.sleep(1)
            assert store.reads == reads
            tasks.cancel_scope.cancel()
        assert len(upstream.calls) == 1


@pytest.mark.parametrize("headers", [{**KEYED, "prefer": "wait=40"}, {"prefer": "wait=40"}])
async def test_a_job_outlives_the_client_that_waits_for_it(
    store: MemoryStore, headers: dict[str, str]
) -> None:
    upstream = ScriptedUpstream()
    async with serve_in_process(upstream, store=store) as client:
        site = Site(client, upstream)
        with anyio.move_on_after(5):
            await site.post(headers=headers)
        call = await upstream.next_call()
        await anyio.sleep(60)
        assert not call.is_stopped
        await call.say("Hello")
        await call.complete()


async def test_repeats_look_ever_more_seldom_for_a_first_one_elsewhere() -> None:
    store, upstream = CountingStore(clock=anyio.current_time), ScriptedUpstream()
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"store": store, "admission_wait": 15.0}
        here = await stack.enter_async_context(serve_in_process(upstream, **options))
        there = await stack.enter_async_context(serve_in_process(upstream, **options))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: Site(here, upstream).post(headers=KEYED))
            await upstream.next_call()
            ok(await Site(there, upstream).post(headers=KEYED))
        assert store.reads < 30


async def test_a_repeat_of_what_is_not_admitted_for_long_may_be_repeated(
    store: MemoryStore,
) -> None:
    upstream = ScriptedUpstream()
    async with AsyncExitStack() as stack:
        slow: dict[str, Any] = {"store": store, "admission_wait": 3600.0}
        here = await stack.enter_async_context(serve_in_process(upstream, **slow))
        there = await stack.enter_async_context(serve_in_process(upstream, store=store))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: Site(here, upstream).post(headers=KEYED))
            await upstream.next_call()
            started = anyio.current_time()
            reply = await Site(there, upstream).post(headers=KEYED)
            error_of(reply, 503)
            assert reply.headers["retry-after"] == "1"
            assert anyio.current_time() - started == pytest.approx(19, abs=0.5)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("delay", [0.0, 1.0])
async def test_a_drain_ends_the_wait_for_a_create(
    two: tuple[Site, ResponseCacheMiddleware, Site], delay: float
) -> None:
    _, other, there = two
    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:

        async def drain() -> None:
            call = await there.upstream.next_call()
            if delay:
                await call.emit("response.created", response=call.response("in_progress"))
                await anyio.sleep(delay)
            began = anyio.current_time()
            tasks.start_soon(other.drain)
            await anyio.sleep(5)
            assert anyio.current_time() - began == pytest.approx(5)
            await call.say("Hello")
            await call.complete()

        tasks.start_soon(drain)
        reply = await there.post(headers={"prefer": "wait=40"})
        assert anyio.current_time() - started == pytest.approx(delay, abs=0.5)
    created = ok(reply)
    assert created["status"] == ("in_progress" if delay else "queued")
    assert (await two[0].object(created["id"]))["status"] == "completed"


async def test_a_store_that_goes_away_while_a_create_waits_makes_nobody_create_again(
    unsteady: Site, moody: MoodyStore
) -> None:
    async def lose_the_store(call: Call) -> None:
        await call.start()
        await anyio.sleep(3)
        moody.trouble = StoreUnavailable("no answer")

    unsteady.upstream.play = lose_the_store
    reply = await unsteady.post(headers={"prefer": "wait=10"})
    assert ok(reply)["status"] == "queued"
    assert reply.headers["preference-applied"] == "wait=10"


async def test_a_response_that_is_deleted_while_its_creator_waits_is_gone(
    store: MemoryStore,
) -> None:
    upstream = ScriptedUpstream()
    async with serve_in_process(upstream, store=store) as client:
        site = Site(client, upstream)
        client.headers.update(KEYED)
        async with anyio.create_task_group() as tasks:

            async def delete() -> None:
                await anyio.sleep(3)
                id = ok(await site.post())["id"]
                await site.delete(id)

            tasks.start_soon(delete)
            reply = await site.post(headers={"prefer": "wait=40"})
        error_of(reply, 404)
