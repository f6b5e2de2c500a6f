"""The built-in upstream: an offline server of the Responses API that needs no key.

It answers ``POST /v1/responses`` with words of an invented language, as JSON or as a stream of
events. Equal requests get equal words. The request's metadata says how the answer behaves; see
``scenario``. It stores no response, so a GET of any response is a 404.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import anyio
from pydantic_core import from_json, to_json

from response_cache._offload import Offload
from response_cache._protocol.jsontally import holds_more
from response_cache.errors import (
    APIError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
)
from response_cache_server._asgi import (
    Receive,
    Scope,
    Send,
    race,
    refuse_websocket,
    run_lifespan,
    send_error,
    send_json,
    until_disconnect,
)
from response_cache_server._builtin.events import MODEL, Event, answer, events, is_delta
from response_cache_server._builtin.scenario import Scenario, read_scenario
from response_cache_server._target import BadPath, resource_path

__all__ = ("BuiltInUpstream",)

MAX_REQUEST_BYTES: Final = 32 * 2**20
MAX_REQUEST_VALUES: Final = 200_000

MODEL_OBJECT: Final = {"id": MODEL, "object": "model", "created": 0, "owned_by": "response-cache"}


class BuiltInUpstream:
    """An ASGI app. Answers have *words* words at *pace* seconds each, unless a request says else.

    *sleep* and *now* (seconds since the epoch) are there for virtual time.
    """

    def __init__(
        self,
        *,
        words: int = 40,
        pace: float = 0.05,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._default = Scenario(words=words, pace=pace)
        self._sleep = sleep
        self._now = now
        self._offload = Offload()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        try:
            if _is_create(scope):
                request = await self._offload.run(len(body), lambda: _parse(body))
                scenario = read_scenario(request, self._default)
            else:
                await send_json(send, 200, _look_up(scope))
                return
        except BadPath as error:
            await send_error(send, 400, str(error))
            return
        except APIError as error:
            allow = [(b"allow", b"POST")] if isinstance(error, MethodNotAllowed) else []
            await send_error(
                send, error.status_code, error.message, param=error.param, headers=allow
            )
            return
        await race(lambda: self._answer(request, scenario, send), lambda: until_disconnect(receive))

    async def _answer(self, request: Mapping[str, Any], scenario: Scenario, send: Send) -> None:
        await self._sleep(scenario.delay)
        if scenario.status is not None:
            headers = [(b"retry-after", b"1")] if scenario.status in (429, 503) else []
            message = f"The request asked for status {scenario.status}."
            await send_error(send, scenario.status, message, headers=headers)
        elif request.get("stream") is True:
            await self._stream(request, scenario, send)
        else:
            await self._whole(request, scenario, send)

    async def _stream(self, request: Mapping[str, Any], scenario: Scenario, send: Send) -> None:
        content_type = (b"content-type", b"text/event-stream; charset=utf-8")
        fields = [content_type, (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        for event in events(request, scenario, now=self._now):
            if is_delta(event):
                await self._sleep(scenario.pace)
            await send({"type": "http.response.body", "body": _frame(event), "more_body": True})
        if scenario.end != "cut":
            await send({"type": "http.response.body", "body": b""})

    async def _whole(self, request: Mapping[str, Any], scenario: Scenario, send: Send) -> None:
        await self._sleep(scenario.pace * scenario.words * len(scenario.output))
        body = answer(request, scenario, now=self._now)
        if scenario.end != "cut":
            await send_json(send, 200, body)
            return
        content = to_json(body)
        length = (b"content-length", str(len(content)).encode())
        fields = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        half = content[: len(content) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body, cut behind the limit; None when the client left before its end."""
    body = bytearray()
    more = True
    while more and len(body) <= MAX_REQUEST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _parse(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_REQUEST_BYTES:
        raise RequestTooLarge(f"The request is longer than {MAX_REQUEST_BYTES} bytes.")
    if holds_more(body, MAX_REQUEST_VALUES):
        raise RequestTooLarge(f"The request holds more than {MAX_REQUEST_VALUES} JSON values.")
    try:
        request = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(request, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return request


def _is_create(scope: Scope) -> bool:
    return scope["method"] == "POST" and resource_path(scope) == b"/responses"


def _look_up(scope: Scope) -> object:
    """The reply of every other route: there are models, and no responses."""
    method, path = scope["method"], unquote(resource_path(scope).decode("latin-1"))
    match path.strip("/").split("/"):
        case ["responses"]:
            raise MethodNotAllowed(f"{method} is not allowed here.", allow="POST")
        case ["responses", id, *_]:
            raise NotFound.of(id)
        case ["models"] if method == "GET":
            return {"object": "list", "data": [MODEL_OBJECT]}
        case ["models", id] if method == "GET" and id == MODEL:
            return MODEL_OBJECT
        case _:
            raise NotFound(f"There is no {method} {path} here.")


def _frame(event: Event) -> bytes:
    name: str = event["type"]
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json(event))
