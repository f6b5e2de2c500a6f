"""A streaming reverse proxy in front of one base URL.

Nothing is collected on the way: the request's body goes out as it comes in, the answer's bytes come
back as they arrive, still encoded as the upstream sent them. Two duties race in one task group:
to bring the answer, and to notice that the client has gone. Whichever ends first ends the other, so
a vanished client closes the connection to the upstream, and the upstream can stop working.

An upstream that cannot be reached, or does not answer in time, becomes an error of the API. One
that breaks off after the first byte makes the app raise, so that whoever records the answer sees a
broken stream and not a short one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx

from response_cache.protocol.headers import end_to_end
from response_cache_server.asgi import (
    Receive,
    Scope,
    Send,
    race,
    refuse_websocket,
    run_lifespan,
    send_error,
    until_disconnect,
)
from response_cache_server.proxy.headers import Fields, forwarded, via, without_claims
from response_cache_server.proxy.transport import transport_to
from response_cache_server.proxy.trusted_proxies import TRUSTED_BY_DEFAULT, TrustedProxies
from response_cache_server.target import BadPath, parse_base_url, target_url

__all__ = ("ProxyApp", "UpstreamBroken")

logger = logging.getLogger(__name__)

BODILESS: Final = (204, 304)
"""Statuses whose answers have no body, and go out without a length (RFC 9110, 8.6 and 15)."""

CLOSE_TIMEOUT: Final = 1.0  # seconds that closing an upstream connection may take

REFUSALS: Final[Mapping[type[httpx.TransportError], tuple[int, str]]] = {
    httpx.TimeoutException: (504, "The upstream did not answer in time."),
    httpx.LocalProtocolError: (400, "The request cannot be passed on: it is not valid HTTP."),
    httpx.ConnectError: (502, "The upstream could not be reached."),
    httpx.TransportError: (502, "The upstream gave no answer that is valid HTTP."),
}
"""What a client is told when there is no answer; the first row that fits."""


class UpstreamBroken(Exception):
    """The upstream broke off in the middle of its answer."""


class ProxyApp:
    """An ASGI app that passes every request on to *base_url* and streams the answer back.

    *base_url* has ``/responses`` below it (``https://api.openai.com/v1``). Credentials in it are
    sent as basic authentication instead of the client's own.

    A *client* handed in stays open and decides about time-outs, proxies and connections itself; the
    options about them do not apply. So it is for that client to keep answers apart: one that
    reuses a connection on which more came than an answer gives it to the next request (``httpx``
    does, unless its limits say ``max_keepalive_connections=0``). Its log is its own, too:
    ``httpx`` writes whole addresses, with their queries.

    *read_timeout* is the longest silence of the upstream; None, the default, waits for ever,
    because models think for minutes without a word. *forwarded* tells the upstream who asks
    (``X-Forwarded-*``). What clients say about that passes only from peers that
    *forwarded_allow_ips* names (see ``peers``). *reuse_connections* lets a connection carry
    another request once its answer is over and nothing has come after it. *trust_env* takes proxies
    and certificates from the environment.

    Raises:
        ValueError: *base_url*, *forwarded_allow_ips* or a proxy in the environment is not valid.
        ImportError: that proxy needs what is not installed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        client: httpx.AsyncClient | None = None,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = None,
        write_timeout: float | None = 60.0,
        forwarded: bool = True,
        forwarded_allow_ips: str = TRUSTED_BY_DEFAULT,
        trust_env: bool = False,
        reuse_connections: bool = True,
    ) -> None:
        url = parse_base_url(base_url)
        self._auth = httpx.BasicAuth(url.username, url.password) if url.userinfo else None
        self._base_url = url.copy_with(userinfo=b"")  # httpx writes addresses into its log
        self._forwarded = forwarded
        self._trusted_proxies = TrustedProxies(forwarded_allow_ips)
        timeout = httpx.Timeout(
            connect=connect_timeout, read=read_timeout, write=write_timeout, pool=None
        )
        self._owns_client = client is None
        self._client = client or _make_client(
            transport_to(self._base_url, reuse=reuse_connections, trust_env=trust_env), timeout
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send, shutdown=self.aclose)
        elif scope["type"] == "websocket":
            await refuse_websocket(receive, send)
        else:
            await self._serve(scope, receive, send)

    async def aclose(self) -> None:
        """Close the connections to the upstream, unless the client was handed in."""
        if self._owns_client:
            await self._client.aclose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            url = target_url(self._base_url, scope)
        except BadPath as error:
            await send_error(send, 400, str(error))
            return
        body = _RequestBody(receive)
        if not await body.begin():
            return
        request = self._request(scope["method"], url, self._request_fields(scope, body), body)
        await race(lambda: self._forward(request, body, send), body.client_gone)

    def _request(
        self, method: str, url: httpx.URL, fields: Fields, body: _RequestBody
    ) -> httpx.Request:
        """The request, without its query where our own transport adds it: httpx logs addresses."""
        extensions: dict[str, Any] = {"timeout": self._client.timeout.as_dict()}  # 0.27 adds none
        if self._owns_client:
            extensions["target"] = url.raw_path
            url = url.copy_with(query=None) if url.query else url
        return httpx.Request(method, url, headers=fields, stream=body, extensions=extensions)

    def _request_fields(self, scope: Scope, body: _RequestBody) -> Fields:
        fields = end_to_end(scope["headers"], without=(b"host", b"content-length", b"expect"))
        if not self._trusted_proxies.includes(scope):
            fields = without_claims(fields)
        if self._forwarded:
            fields = forwarded(scope, fields)
        length = next((v for k, v in scope["headers"] if k.lower() == b"content-length"), None)
        return [
            (b"host", self._base_url.netloc),
            *fields,
            via(scope.get("http_version", "1.1")),
            *body.framing(length),
        ]

    async def _forward(self, request: httpx.Request, body: _RequestBody, send: Send) -> None:
        try:
            response = await self._client.send(
                request, stream=True, auth=self._auth, follow_redirects=False
            )
        except httpx.TransportError as error:
            logger.warning("no answer from the upstream: %s", _told(error))
            await _refuse(send, error)
            return
        body.end()
        try:
            await _relay(response, send)
        finally:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await response.aclose()


class _RequestBody(httpx.AsyncByteStream):
    """What the client sends, chunk by chunk, and then the news that it has gone.

    An iterator and no generator: the HTTP client leaves it unfinished when the upstream answers
    early, and nobody would close a generator then.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._next = b""
        self._more = True
        self._gone = False
        self._over = anyio.Event()

    async def begin(self) -> bool:
        """Wait for the first piece; whether there is still somebody to answer."""
        await self._pull()
        return not self._gone

    def framing(self, length: bytes | None) -> Fields:
        """How the upstream is told where the body ends; *length* is what the client announced."""
        if not self._more:
            known = bool(self._next) or length is not None
            return [(b"content-length", str(len(self._next)).encode())] if known else []
        if length is not None:
            return [(b"content-length", length)]
        return [(b"transfer-encoding", b"chunked")]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._next and self._more:
            await self._pull()
        if self._gone:
            self.end()
            await anyio.sleep_forever()  # until client_gone() ended the race
        if not self._next:
            self.end()
            raise StopAsyncIteration
        chunk, self._next = self._next, b""
        return chunk

    async def _pull(self) -> None:
        message = await self._receive()
        self._gone = message["type"] == "http.disconnect"
        self._next = message.get("body", b"")
        self._more = not self._gone and message.get("more_body", False)

    def end(self) -> None:
        """Nobody will read the body (any more): from now on only the client's leaving counts."""
        self._over.set()

    async def client_gone(self) -> None:
        """Return when the client has gone. While the body is read, that reading notices it."""
        await self._over.wait()
        if not self._gone:
            await until_disconnect(self._receive)


async def _relay(response: httpx.Response, send: Send) -> None:
    status = response.status_code
    if not 200 <= status <= 599:  # no server could send it on, and no client would understand it
        logger.warning("the upstream answered with status %d", status)
        await send_error(send, 502, f"The upstream answered with status {status}, which is none.")
        return
    has_body = status not in BODILESS
    # Beside chunks a length means nothing, and must not go further (RFC 9112, 6.3).
    has_length = has_body and "transfer-encoding" not in response.headers
    # The server that runs this app writes a Date of its own, and would send two.
    dropped = (b"date",) if has_length else (b"date", b"content-length")
    fields = end_to_end(response.headers.raw, without=dropped)
    fields.append(via(response.http_version.removeprefix("HTTP/")))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    try:
        async for chunk in response.aiter_raw():
            if has_body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.TransportError as error:
        logger.warning("the upstream broke off: %s", _told(error))
        # Without its cause: whoever logs it would log what the upstream sent.
        raise UpstreamBroken("The upstream broke off its answer.") from None
    await send({"type": "http.response.body", "body": b""})


def _told(error: httpx.TransportError) -> str:
    """What a log may say of *error*. Only the system's own words: a parser quotes what it read,
    and that may be a header with a key."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, httpx.NetworkError) else name


async def _refuse(send: Send, error: httpx.TransportError) -> None:
    status, message = next(row for kind, row in REFUSALS.items() if isinstance(error, kind))
    await send_error(send, status, message)


def _make_client(transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=timeout,
        transport=transport,
        trust_env=False,  # its part is done in the transport
        # One client's cookies are no other client's business.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )
