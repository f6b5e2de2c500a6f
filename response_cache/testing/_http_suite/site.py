"""What each test of the HTTP suite uses: a client, an upstream, and short calls of both."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import anyio
import httpx
import pytest

from response_cache import Body, Owner, Request
from response_cache.errors import APIError
from response_cache.http import error_reply
from response_cache.testing._upstream import Call, ScriptedUpstream

__all__ = ("PENDING", "HttpSuite", "JsonObject", "Reader", "Serve", "Site", "error_of", "given")

JsonObject: TypeAlias = dict[str, Any]

CREDENTIALS: Final = {"authorization": "Bearer sk-alice"}
PENDING: Final = ("queued", "in_progress")
WAIT_TIMEOUT: Final = 60.0  # seconds for what must be seen
PAUSE: Final = 0.01  # seconds between two polls


class Serve(Protocol):
    """Serves *upstream* behind the adapter under test, with options, to a client.

    The client's base URL ends with the path before ``/responses``. The client has no credentials.
    *owner* is the owner callback.
    """

    def __call__(
        self, upstream: ScriptedUpstream, **options: Any
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]: ...


def given(**options: Any) -> pytest.MarkDecorator:
    """The test runs with these options."""
    return pytest.mark.parametrize("options", [options], ids=[",".join(options)])


class HttpSuite:
    """The fixtures of every group of tests. A subclass has the fixture ``serve``."""

    @pytest.fixture
    def options(self) -> JsonObject:
        """The options of the test; see ``given``."""
        return {}

    @pytest.fixture
    async def site(self, serve: Serve, options: JsonObject) -> AsyncGenerator[Site]:
        """The adapter under test around a scripted upstream, ready for requests."""
        upstream = ScriptedUpstream()
        async with serve(upstream, **options) as client:
            client.headers.update(CREDENTIALS)
            client.event_hooks["response"].append(never_a_conflict)
            yield Site(client, upstream)


@dataclass(frozen=True)
class Site:
    """A served upstream and a client with a credential."""

    client: httpx.AsyncClient
    upstream: ScriptedUpstream

    async def post(
        self, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """A create; in the background unless *body* says otherwise."""
        body = {"model": "scripted-1", "input": "hi", "background": True, **body}
        return await self.client.post("/responses", json=body, headers=headers)

    async def create(self, **body: Any) -> JsonObject:
        """The Response object that a create returns."""
        return ok(await self.post(**body))

    async def begin(self, **body: Any) -> tuple[str, Call]:
        """A response whose upstream was called and has not answered yet."""
        created = await self.create(**body)
        return created["id"], await self.upstream.next_call()

    async def completed(self, text: str = "Hello", **body: Any) -> str:
        """The id of a response that is over."""
        id, call = await self.begin(**body)
        await call.say(text)
        await call.complete()
        await self.until_over(id)
        return id

    async def get(
        self, id: str, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """A poll, or with ``stream="true"`` the whole stream."""
        return await self.client.get(f"/responses/{id}", params=query, headers=headers)

    async def object(self, id: str) -> JsonObject:
        """The Response object as it is now."""
        return ok(await self.get(id))

    async def cancel(self, id: str) -> httpx.Response:
        """A cancel."""
        return await self.client.post(f"/responses/{id}/cancel")

    async def delete(self, id: str) -> httpx.Response:
        """A delete."""
        return await self.client.delete(f"/responses/{id}")

    async def input_items(self, id: str, **query: Any) -> httpx.Response:
        """One page of input items."""
        return await self.client.get(f"/responses/{id}/input_items", params=query)

    async def events(self, id: str, **query: Any) -> list[JsonObject]:
        """All events of a stream, which must end."""
        async with self.reading(id, **query) as reader:
            return await reader.rest()

    @asynccontextmanager
    async def reading(self, id: str, **query: Any) -> AsyncGenerator[Reader]:
        """The stream of a response, event by event; hangs up when the context ends."""
        query = {"stream": "true", **query}
        replying = self.client.stream("GET", f"/responses/{id}", params=query)
        async with replying as reply, Reader.of(reply) as reader:
            yield reader

    @asynccontextmanager
    async def posting(
        self, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> AsyncGenerator[Reader]:
        """The stream of a create, event by event; hangs up when the context ends."""
        body = {"model": "scripted-1", "input": "hi", "background": True, "stream": True, **body}
        replying = self.client.stream("POST", "/responses", json=body, headers=headers)
        async with replying as reply, Reader.of(reply) as reader:
            yield reader

    async def until(self, id: str, is_so: Callable[[JsonObject], bool]) -> JsonObject:
        """The Response object as soon as *is_so* holds for it."""
        with anyio.fail_after(WAIT_TIMEOUT):
            while True:
                response = await self.object(id)
                if is_so(response):
                    return response
                await anyio.sleep(PAUSE)

    async def until_over(self, id: str) -> JsonObject:
        """The Response object in its terminal status."""
        return await self.until(id, lambda response: response["status"] not in PENDING)

    async def until_shows(self, id: str, text: str) -> JsonObject:
        """The Response object as soon as its output is *text*."""
        return await self.until(id, lambda response: text_of(response) == text)


class Reader:
    """A stream of events as a client sees it."""

    def __init__(self, reply: httpx.Response) -> None:
        self.reply = reply
        self.raw = b""  # everything that was received
        self._chunks = reply.aiter_raw()
        self._blocks: list[bytes] = []
        self._rest = b""

    @classmethod
    @asynccontextmanager
    async def of(cls, reply: httpx.Response) -> AsyncGenerator[Reader]:
        """Reads *reply*, which must be a stream, until the context ends; then hangs up."""
        if not reply.headers.get("content-type", "").startswith("text/event-stream"):
            raise AssertionError((reply.status_code, await reply.aread()))
        reader = cls(reply)
        try:
            yield reader
        finally:
            await reply.aclose()
            # The open iterators of httpx must not be left to the garbage collector.
            with suppress(httpx.StreamError, httpx.TransportError):
                async for _ in reader._chunks:
                    pass

    async def block(self) -> bytes | None:
        """The text before the next blank line; None at the end."""
        while not self._blocks:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                assert self._rest == b"", "the stream ended within an event"
                return None
            self.raw += chunk
            *self._blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        return self._blocks.pop(0)

    async def next(self) -> JsonObject:
        """The next event, which must come."""
        event = await self._event()
        assert event is not None, "the stream has ended"
        return event

    async def until(self, type: str) -> JsonObject:
        """The next event of this *type*."""
        while (event := await self.next())["type"] != type:
            pass
        return event

    async def rest(self) -> list[JsonObject]:
        """All events until the end of the stream."""
        events = []
        while (event := await self._event()) is not None:
            events.append(event)
        return events

    async def until_broken(self) -> list[JsonObject]:
        """All events until the connection breaks, which it must: the body has no proper end."""
        events = []
        with pytest.raises(httpx.TransportError):  # noqa: PT012 - whichever event comes last
            while (event := await self._event()) is not None:
                events.append(event)
        return events

    async def _event(self) -> JsonObject | None:
        while True:
            block = await self.block()
            if block is None:
                return None
            if not block.startswith(b":"):
                return _event_in(block)


def _event_in(block: bytes) -> JsonObject:
    name, data = block.split(b"\n")
    event: JsonObject = json.loads(data.removeprefix(b"data: "))
    assert name.removeprefix(b"event: ").decode() == event["type"]
    return event


async def never_a_conflict(reply: httpx.Response) -> None:
    """Official clients repeat a request that is answered 409, so no answer may be 409."""
    assert reply.status_code != 409, reply.request


def ok(reply: httpx.Response) -> JsonObject:
    """The body of a reply that must be 200."""
    assert reply.status_code == 200, (reply.status_code, reply.content)
    body: JsonObject = reply.json()
    return body


def error_of(reply: httpx.Response, status: int) -> JsonObject:
    """The error of a reply with this *status*: exactly the four keys of OpenAI's error object."""
    assert reply.status_code == status, (reply.status_code, reply.content)
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: JsonObject = body["error"]
    return error


def invalid(message: str, param: str | None = None, code: str | None = None) -> JsonObject:
    """The error of an invalid request."""
    return {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }


def not_found(id: str) -> JsonObject:
    """The error for an unknown response."""
    return invalid(f"Response with id '{id}' not found.")


def text_of(response: JsonObject) -> str:
    """All text in the output."""
    return "".join(
        part.get("text", "") for item in response["output"] for part in item.get("content", ())
    )


class Refused(APIError):
    """An error that an owner callback answers."""

    status_code = 403
    code = "forbidden"


async def by_name(request: Request) -> Owner | Body:
    """An owner callback by the header ``x-user``. ``root`` sees all, ``mallory`` is refused."""
    name = request.header(b"x-user")
    if name == "mallory":
        return error_reply(Refused("Not you."))
    return Owner(name or None, is_admin=name == "root")
