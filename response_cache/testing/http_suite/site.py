"""What a test of the HTTP suite stands on: a client, an upstream, and the words for using both."""

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
from response_cache.testing.upstream import Call, ScriptedUpstream

__all__ = ("PENDING", "HttpSuite", "JsonObject", "Reader", "Serve", "Site", "error_of", "given")

JsonObject: TypeAlias = dict[str, Any]

CREDENTIALS: Final = {"authorization": "Bearer sk-alice"}
PENDING: Final = ("queued", "in_progress")
PATIENCE: Final = 60.0  # seconds; what must be seen is seen by then
PAUSE: Final = 0.01  # between two looks


class Serve(Protocol):
    """Serves *upstream* behind the adapter under test, with options, to a client.

    The client's base URL ends with the path below which ``/responses`` is found; it comes without
    credentials of its own. *owner* is the callback that tells who asks.
    """

    def __call__(
        self, upstream: ScriptedUpstream, **options: Any
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]: ...


def given(**options: Any) -> pytest.MarkDecorator:
    """The test runs with these options."""
    return pytest.mark.parametrize("options", [options], ids=[",".join(options)])


class HttpSuite:
    """The fixtures of every group of tests. A subclass gives ``serve``."""

    @pytest.fixture
    def options(self) -> JsonObject:
        """What the test wants to be different; see ``given``."""
        return {}

    @pytest.fixture
    async def site(self, serve: Serve, options: JsonObject) -> AsyncGenerator[Site]:
        """The adapter under test around a scripted upstream, ready to be asked."""
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
        """The object that a create is answered with."""
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
        """A stream, event by event; hangs up at the end of the context."""
        query = {"stream": "true", **query}
        replying = self.client.stream("GET", f"/responses/{id}", params=query)
        async with replying as reply, Reader.of(reply) as reader:
            yield reader

    @asynccontextmanager
    async def posting(
        self, *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> AsyncGenerator[Reader]:
        """A create that is answered by its stream."""
        body = {"model": "scripted-1", "input": "hi", "background": True, "stream": True, **body}
        replying = self.client.stream("POST", "/responses", json=body, headers=headers)
        async with replying as reply, Reader.of(reply) as reader:
            yield reader

    async def until(self, id: str, is_so: Callable[[JsonObject], bool]) -> JsonObject:
        """The Response object as soon as it *is so*."""
        with anyio.fail_after(PATIENCE):
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
            # The iterators that httpx has under way must not be left to the garbage collector.
            with suppress(httpx.StreamError, httpx.TransportError):
                async for _ in reader._chunks:
                    pass

    async def block(self) -> bytes | None:
        """What stands before the next blank line; None at the end."""
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
    """Official clients repeat what is answered 409, so nothing may be."""
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
    """The error that tells of a request at fault."""
    return {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }


def not_found(id: str) -> JsonObject:
    """The error that tells that there is no such response."""
    return invalid(f"Response with id '{id}' not found.")


def text_of(response: JsonObject) -> str:
    """All text in the output."""
    return "".join(
        part.get("text", "") for item in response["output"] for part in item.get("content", ())
    )


class Refused(APIError):
    """What an owner callback may answer."""

    status_code = 403
    code = "forbidden"


async def by_name(request: Request) -> Owner | Body:
    """An owner callback: the ``x-user`` header's word. ``root`` sees all, ``mallory`` nothing."""
    name = request.header(b"x-user")
    if name == "mallory":
        return error_reply(Refused("Not you."))
    return Owner(name or None, is_admin=name == "root")
