"""How the proxy's HTTP client reaches the upstream: ``httpx`` over a pool of our own.

The target in the request line may differ from the address of the request: the extension ``target``,
which ``httpx`` documents. The client logs addresses, so it gets them without their queries.
"""

from __future__ import annotations

import importlib.util
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from response_cache_server._proxy.network import NetworkBackend
from response_cache_server._proxy.pool import Pool

__all__ = ("Transport", "transport_to")


class Transport(httpx.AsyncBaseTransport):
    """Sends requests through *pool* and closes it at the end."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, whose body is not read yet. Raises what ``httpx`` documents."""
        extensions = dict(request.extensions)
        target = extensions.pop("target", request.url.raw_path)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=target,
        )
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=extensions,
                )
            )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._answer.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raises errors of ``httpcore`` as errors of ``httpx``, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


def transport_to(base_url: httpx.URL, *, reuse: bool, trust_env: bool) -> Transport:
    """The transport to *base_url*; with *trust_env* by the proxy that the environment names for it.

    Raises:
        ValueError: the proxy's address in the environment is not valid.
        ImportError: it is a SOCKS proxy, and what speaks to one is not installed.
    """
    is_secure = base_url.scheme == "https"
    return Transport(
        Pool(
            NetworkBackend(_keep_alive_probes()),
            reuse=reuse,
            proxy=_proxy_to(base_url) if trust_env else None,
            ssl_context=httpx.create_ssl_context(trust_env=trust_env) if is_secure else None,
        )
    )


def _proxy_to(base_url: httpx.URL) -> httpcore.Proxy | None:
    named = urllib.request.getproxies()
    address = named.get(base_url.scheme) or named.get("all")
    names = base_url.netloc.decode("ascii"), base_url.host
    if not address or any(map(urllib.request.proxy_bypass, names)):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (ValueError, httpx.InvalidURL):
        raise ValueError("the proxy that the environment names is not valid") from None
    if proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ImportError("a SOCKS proxy needs socksio: pip install 'httpx[socks]'")
    url = httpcore.URL(
        scheme=proxy.url.raw_scheme,
        host=proxy.url.raw_host,
        port=proxy.url.port,
        target=proxy.url.raw_path,
    )
    return httpcore.Proxy(url, auth=proxy.raw_auth, headers=proxy.headers.raw)


def _keep_alive_probes() -> list[tuple[int, int, int]]:
    """Socket options: without a read time-out, only these probes notice that a host is gone."""
    wanted = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
    probes = [
        (socket.IPPROTO_TCP, int(getattr(socket, name)), value)
        for name, value in wanted
        if hasattr(socket, name)
    ]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *probes]
