"""A page in a browser, as far as the CORS protocol goes (https://fetch.spec.whatwg.org/).

It asks before what is no simple request, and shows a script nothing of a reply that does not name
the page's origin. Cookies are sent where *with_cookies* is set (credentials mode "include").
"""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.deadlines import WAIT_TIMEOUT

__all__ = ("Blocked", "Page", "shown")

SIMPLE_METHODS: Final = ("GET", "HEAD", "POST")
SIMPLE_REPLY_HEADERS: Final = (
    *("cache-control", "content-language", "content-length", "content-type"),
    *("expires", "last-modified", "pragma"),
)


class Blocked(Exception):
    """The browser's console would say this; the script sees a network error."""


class Page:
    """Scripts of *origin*, which speak to *base_url* with *key*."""

    def __init__(
        self, base_url: str, origin: str, *, key: str = "page", with_cookies: bool = False
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=WAIT_TIMEOUT)
        self._origin = origin
        self._key = {"authorization": f"Bearer {key}"} if key else {}
        self._with_cookies = with_cookies

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """``fetch(path, {method, headers, body})``; the reply has the headers that a script sees.

        Raises:
            Blocked: it is not allowed, or the reply may not be read.
        """
        sent = {**self._key, **(headers or {})}
        content = None
        if json is not None:
            sent["content-type"] = "application/json"
            content = json_module.dumps(json).encode()
        if method not in SIMPLE_METHODS or sent:
            await self._preflight(method, path, sorted(sent))
        reply = await self._send(method, path, {**sent, "origin": self._origin}, content)
        return shown(reply, self._origin, with_cookies=self._with_cookies)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _send(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None = None
    ) -> httpx.Response:
        return await self._http.request(method, path, headers=headers, content=content)

    async def _preflight(self, method: str, path: str, names: list[str]) -> None:
        headers = {"origin": self._origin, "access-control-request-method": method}
        if names:
            headers["access-control-request-headers"] = ",".join(names)
        reply = await self._send("OPTIONS", path, headers)
        _check(reply, self._origin, with_cookies=self._with_cookies)
        if not reply.is_success:
            raise Blocked(f"preflight of {method} {path}: {reply.status_code}")
        methods = _list(reply, "access-control-allow-methods")
        is_wild = not self._with_cookies
        if method not in (*SIMPLE_METHODS, *methods) and not (is_wild and "*" in methods):
            raise Blocked(f"preflight: {method} is none of {methods}")
        allowed = [name.lower() for name in _list(reply, "access-control-allow-headers")]
        for name in names:
            if name not in allowed and not (is_wild and "*" in allowed and name != "authorization"):
                raise Blocked(f"preflight: {name} is none of {allowed}")


def shown(reply: httpx.Response, origin: str, *, with_cookies: bool = False) -> httpx.Response:
    """*reply* as a script of *origin* sees it.

    Raises:
        Blocked: it may not be read.
    """
    _check(reply, origin, with_cookies=with_cookies)
    exposed = {name.lower() for name in _list(reply, "access-control-expose-headers")}
    visible = {*SIMPLE_REPLY_HEADERS, *exposed}
    headers = [(name, value) for name, value in reply.headers.items() if name in visible]
    return httpx.Response(reply.status_code, headers=headers, content=reply.content)


def _check(reply: httpx.Response, origin: str, *, with_cookies: bool) -> None:
    """The "CORS check". Several fields of one name are one value, joined by commas."""
    allowed: Any = reply.headers.get("access-control-allow-origin")
    if allowed == "*" and not with_cookies:
        return
    if allowed != origin:
        where = f"{reply.request.method} {reply.request.url}: {reply.status_code}"
        raise Blocked(f"{where}: Access-Control-Allow-Origin is {allowed!r}")
    if with_cookies and reply.headers.get("access-control-allow-credentials") != "true":
        raise Blocked("no credentials")


def _list(reply: httpx.Response, name: str) -> list[str]:
    return [part.strip() for part in reply.headers.get(name, "").split(",") if part.strip()]
