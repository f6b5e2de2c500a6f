"""The upstream's answer on its way to the client, and the error where there is no answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import httpx

from response_cache._protocol.headers import end_to_end
from response_cache_server._asgi import Message, Send
from response_cache_server._proxy.headers import via

__all__ = ("Refuse", "UpstreamBroken", "refuse_for", "relay")

logger = logging.getLogger("response_cache_server.proxy.answer")

BODILESS: Final = (204, 304)
"""Statuses whose answers have no body, and go out without a length (RFC 9110, 8.6 and 15)."""

REFUSALS: Final[Mapping[type[httpx.TransportError], tuple[int, str]]] = {
    httpx.TimeoutException: (504, "The upstream did not answer in time."),
    httpx.LocalProtocolError: (400, "The request cannot be passed on: it is not valid HTTP."),
    httpx.ConnectError: (502, "The upstream could not be reached."),
    httpx.TransportError: (502, "The upstream gave no answer that is valid HTTP."),
}
"""What a client is told where there is no answer; the first row that fits counts."""

Refuse: TypeAlias = Callable[[int, str], Awaitable[None]]
"""Answers the client with an error of the API: its status and its message."""


class UpstreamBroken(Exception):
    """The upstream broke off in the middle of its answer."""


async def relay(response: httpx.Response, send: Send, refuse: Refuse) -> None:
    """Send *response* on as it comes, or *refuse* where no client could take its status.

    Raises:
        UpstreamBroken: the upstream broke off.
    """
    status = response.status_code
    if not 200 <= status <= 599:  # no server can send it, and no client understands it
        logger.warning("the upstream answered with status %d", status)
        await refuse(502, f"The upstream answered with status {status}, which is none.")
        return
    has_body = status not in BODILESS
    await send(_start(response, has_body=has_body))
    try:
        async for chunk in response.aiter_raw():
            if has_body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.TransportError as error:
        logger.warning("the upstream broke off: %s", _told(error))
        # Without its cause: a log of the cause would show what the upstream sent.
        raise UpstreamBroken("The upstream broke off its answer.") from None
    await send({"type": "http.response.body", "body": b""})


def _start(response: httpx.Response, *, has_body: bool) -> Message:
    # Beside chunks a length means nothing, and must not go further (RFC 9112, 6.3).
    has_length = has_body and "transfer-encoding" not in response.headers
    # The server that runs this app writes a Date of its own, and would send two.
    dropped = (b"date",) if has_length else (b"date", b"content-length")
    fields = end_to_end(response.headers.raw, without=dropped)
    fields.append(via(response.http_version.removeprefix("HTTP/")))
    return {"type": "http.response.start", "status": response.status_code, "headers": fields}


async def refuse_for(error: httpx.TransportError, refuse: Refuse) -> None:
    """Tell the client why there is no answer."""
    logger.warning("no answer from the upstream: %s", _told(error))
    status, message = next(row for kind, row in REFUSALS.items() if isinstance(error, kind))
    await refuse(status, message)


def _told(error: httpx.TransportError) -> str:
    """What a log may say of *error*: the words of the operating system, and else only its kind.

    A parser quotes what it has read, which may be a header with a key.
    """
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, httpx.NetworkError) else name
