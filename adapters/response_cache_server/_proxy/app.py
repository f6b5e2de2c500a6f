"""A streaming reverse proxy in front of one base URL.

Nothing is collected on the way: the request's body goes out as it comes in. The answer's bytes come
back as they arrive, with the content coding of the upstream. Two tasks race: one carries the
answer, one watches for the client's disconnect. The first to end cancels the other. So a client
that disconnects closes the connection to the upstream, and the upstream can stop working.

Where the upstream cannot be reached, or does not answer in time, the client gets an error of the
API. Where it breaks off after the first byte, the app raises: then a recorder sees a broken answer,
not a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx

from response_cache._protocol.headers import end_to_end
from response_cache.http import ACCEPT_ENCODING, Cors, Request, dressed
from response_cache_asgi._upstream import EXTENSION
from response_cache_server._asgi import (
    Receive,
    Scope,
    Send,
    race,
    refuse_websocket,
    run_lifespan,
    send_error,
)
from response_cache_server._proxy.answer import Refuse, refuse_for, relay
from response_cache_server._proxy.headers import Fields, forwarded, via, without_claims
from response_cache_server._proxy.request_body import RequestBody
from response_cache_server._proxy.transport import transport_to
from response_cache_server._proxy.trusted_proxies import TRUSTED_BY_DEFAULT, TrustedProxies
from response_cache_server._target import BadPath, parse_base_url, target_url

__all__ = ("ProxyApp",)

CLOSE_TIMEOUT: Final = 1.0  # seconds that closing an upstream connection may take


class ProxyApp:
    """An ASGI app that passes every request on to *base_url* and streams the answer back.

    *base_url* has ``/responses`` below it (``https://api.openai.com/v1``). Credentials in it are
    sent as basic authentication instead of the client's own.

    A *client* handed in stays open. It decides about time-outs, proxies and connections itself; the
    options about them do not apply. It also has to keep answers apart: ``httpx`` reuses a
    connection on which more bytes came than the answer, and gives them to the next request, unless
    its limits say ``max_keepalive_connections=0``. It logs whole addresses, with their queries.

    *read_timeout* is the longest silence of the upstream. The default, None, is no limit, because
    models think for minutes without a word. *forwarded* adds ``X-Forwarded-*`` about the client.
    Such fields of the client itself pass only from peers in *forwarded_allow_ips* (see
    ``trusted_proxies``). *reuse_connections* lets a connection carry another request once its
    answer is over and nothing has come after it. *trust_env* takes proxies and certificates from
    the environment. Pages of *cors_origins* (``*`` for all) may read the errors of the proxy
    itself; about its answers the upstream decides.

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
        cors_origins: Sequence[str] = (),
    ) -> None:
        url = parse_base_url(base_url)
        self._auth = httpx.BasicAuth(url.username, url.password) if url.userinfo else None
        self._base_url = url.copy_with(userinfo=b"")  # httpx writes addresses into its log
        self._forwarded = forwarded
        self._cors = Cors(tuple(cors_origins))
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
            await self._refuse(scope, send, 400, str(error))
            return
        body = RequestBody(receive)
        if not await body.begin():
            return
        request = self._request(scope["method"], url, self._request_fields(scope, body), body)
        refuse = partial(self._refuse, scope, send)
        await race(lambda: self._forward(request, body, send, refuse), body.client_gone)

    async def _refuse(self, scope: Scope, send: Send, status: int, message: str) -> None:
        """An error of the proxy itself; pages of allowed origins may read it."""
        request = Request(scope["method"], scope["path"], b"", tuple(scope["headers"]))
        allowed = self._cors.known(request, "") if self._cors.concerns(request) else None
        await send_error(send, status, message, headers=dressed((), allowed) if allowed else ())

    def _request(
        self, method: str, url: httpx.URL, fields: Fields, body: RequestBody
    ) -> httpx.Request:
        """The request, without its query where our own transport adds it: httpx logs addresses."""
        extensions: dict[str, Any] = {"timeout": self._client.timeout.as_dict()}  # 0.27 adds none
        if self._owns_client:
            extensions["target"] = url.raw_path
            url = url.copy_with(query=None) if url.query else url
        return httpx.Request(method, url, headers=fields, stream=body, extensions=extensions)

    def _request_fields(self, scope: Scope, body: RequestBody) -> Fields:
        fields = end_to_end(scope["headers"], without=(b"host", b"content-length", b"expect"))
        if not self._trusted_proxies.includes(scope):
            fields = without_claims(fields)
        if EXTENSION in (scope.get("extensions") or {}):  # a background run: ours to unpack
            fields = [field for field in fields if field[0] != b"accept-encoding"]
            fields.append((b"accept-encoding", ACCEPT_ENCODING))
        if self._forwarded:
            fields = forwarded(scope, fields)
        length = next((v for k, v in scope["headers"] if k.lower() == b"content-length"), None)
        return [
            (b"host", self._base_url.netloc),
            *fields,
            via(scope.get("http_version", "1.1")),
            *body.framing(length),
        ]

    async def _forward(
        self, request: httpx.Request, body: RequestBody, send: Send, refuse: Refuse
    ) -> None:
        try:
            response = await self._client.send(
                request, stream=True, auth=self._auth, follow_redirects=False
            )
        except httpx.TransportError as error:
            await refuse_for(error, refuse)
            return
        body.end()
        try:
            await relay(response, send, refuse)
        finally:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await response.aclose()


def _make_client(transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=timeout,
        transport=transport,
        trust_env=False,  # the transport reads the environment, if it may
        # Clients share this HTTP client, and must not share cookies.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )
