"""LiteLLM's SDK as a server of ``POST /v1/responses``, for every provider that it knows.

An ASGI app without background mode of its own; ``response-cache serve --upstream litellm`` puts
the cache around it. Providers' keys come from the environment, as LiteLLM reads them, or from the
app's defaults. A client can set neither keys nor addresses: it could send a key elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final

import anyio
import litellm

from response_cache import Options
from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.requests import json_object
from response_cache.errors import APIError, InvalidRequest, RequestTooLarge, error_body
from response_cache_asgi._types import ASGIApp, Receive, Scope, Send
from response_cache_litellm._sdk.events import Events

__all__ = ("litellm_app",)

PATHS: Final[tuple[str, ...]] = Options.model_fields["paths"].default
CLOSE_TIMEOUT: Final = 1.0
MAX_REQUEST_BYTES: Final = 64 * 2**20

PARAMETERS: Final = frozenset(
    (
        *("model", "input", "instructions", "previous_response_id", "prompt", "conversation"),
        *("include", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls"),
        *("prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier"),
        *("service_tier", "store", "stream", "stream_options", "temperature", "text"),
        *("tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"),
        *("background", "context_management"),
    )
)
"""The API's parameters, which a client may send. LiteLLM takes more, such as an address."""


def litellm_app(**defaults: Any) -> ASGIApp:
    """An ASGI app that answers creates with ``litellm.aresponses``.

    *defaults* are its arguments where a request has none: a model, keys, addresses, time-outs.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _take_part(receive, send)
        elif scope["type"] == "http":
            await _serve(scope, receive, send, defaults)
        else:
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

    return app


async def _serve(scope: Scope, receive: Receive, send: Send, defaults: Mapping[str, Any]) -> None:
    path = scope["path"].rstrip("/")
    if not path.endswith(PATHS) or scope["method"] != "POST":
        message = f"There is no {scope['method']} {scope['path']} here."
        await _send_json(send, 404, error_body(message, type="invalid_request_error"))
        return
    try:
        body = await _read(receive)
        if body is None:
            return
        arguments = {**defaults, **_arguments(body)}
    except APIError as error:
        await _send_json(send, error.status_code, error.body())
        return
    await _while_there(receive, lambda: _answer(arguments, send))


def _arguments(data: bytes) -> JsonObject:
    """The arguments in a request.

    Raises:
        InvalidRequest: not a JSON object, or a parameter that is not the API's.
    """
    body = json_object(data)
    for name in body:
        if name not in PARAMETERS:
            raise InvalidRequest(f"Unknown parameter: '{name[:64]}'.", param=name[:64])
    return {name: value for name, value in body.items() if name != "background"}


async def _answer(arguments: JsonObject, send: Send) -> None:
    try:
        answer = await litellm.aresponses(**arguments)
    except Exception as error:  # noqa: BLE001 - a provider's refusal, in one of many classes
        status = getattr(error, "status_code", None)
        status = status if isinstance(status, int) and 400 <= status <= 599 else 500
        kind = "server_error" if status >= 500 else "invalid_request_error"
        await _send_json(send, status, error_body(_message(error), type=kind))
    else:
        if arguments.get("stream") is True and hasattr(answer, "__aiter__"):
            await _stream(answer, send)
        else:
            await _send_json(send, 200, _plain(answer))


async def _stream(answer: AsyncIterator[Any], send: Send) -> None:
    """Send each event as it comes. A break in the middle becomes a failed response."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    events = Events()
    try:
        async for event in answer:
            frame = events.frame(_plain(event))
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    except Exception as error:  # noqa: BLE001 - see above
        frame = events.failure(_message(error))
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    finally:
        await _close(answer)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _plain(model: Any) -> JsonObject:
    """One of LiteLLM's models as JSON. No warnings: its values often differ from its types."""
    plain: JsonObject = model.model_dump(mode="json", exclude_unset=True, warnings=False)
    return plain


async def _close(answer: Any) -> None:
    """Close the provider's connection; some of LiteLLM's iterators keep it for a while."""
    close = getattr(answer, "aclose", None)
    if close is not None:
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await close()


def _message(error: Exception) -> str:
    return str(getattr(error, "message", "") or error) or type(error).__name__


async def _while_there(receive: Receive, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do *work*; cancel it when the client disconnects, which closes the provider's stream."""
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        await work()
        tasks.cancel_scope.cancel()


async def _read(receive: Receive) -> bytes | None:
    """The request's body; None when the client disconnected before its end.

    Raises:
        RequestTooLarge: longer than ``MAX_REQUEST_BYTES``.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_REQUEST_BYTES:
            raise RequestTooLarge(f"The request is longer than {MAX_REQUEST_BYTES} bytes.")
        more = message.get("more_body", False)
    return bytes(body)


async def _send_json(send: Send, status: int, body: object) -> None:
    content = dump(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _take_part(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop; nothing is to be done at either."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
