"""The owner of a request, found by the proxy's own authentication.

A poll never reaches the proxy, so its authentication is called here, for every route. It counts no
request. By LiteLLM's own rule for ids of responses, the owner is the user and the team of the key,
or the key itself where it has neither. Where the proxy authenticates no client, all clients are one
owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from litellm.proxy._types import LitellmUserRoles, ProxyException
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
from starlette.exceptions import HTTPException
from starlette.requests import Request as ProxyRequest

from response_cache import Body, Owner, PassThrough, Request
from response_cache._protocol.ids import digest
from response_cache._protocol.jsontext import dump
from response_cache._protocol.requests import json_object
from response_cache.errors import error_body
from response_cache.http._bodies import decode_body
from response_cache_asgi._types import Message, Scope
from response_cache_litellm._proxy.front import current_outer_request
from response_cache_litellm._proxy.policy import Policy

__all__ = ("Identity",)

# Parameters of the proxy's dependency. Their defaults are objects of FastAPI, so each is given.
# fmt: off
_HEADERS: Final = {
    "api_key":                      b"authorization",
    "azure_api_key_header":         b"api-key",
    "anthropic_api_key_header":     b"x-api-key",
    "google_ai_studio_api_key_header": b"x-goog-api-key",
    "azure_apim_header":            b"ocp-apim-subscription-key",
    "custom_litellm_key_header":    b"x-litellm-api-key",
}
# fmt: on
_ADMIN: Final = LitellmUserRoles.PROXY_ADMIN.value
_TYPES: Final = {429: "rate_limit_error"}


class KeyAuth(Protocol):
    """The fields that are read of the proxy's ``UserAPIKeyAuth``."""

    token: str | None
    api_key: str | None
    user_id: str | None
    team_id: str | None
    user_role: Any


class Identity:
    """The ``owner`` callback of the cache."""

    def __init__(
        self,
        *,
        secret: str,
        policy: Callable[[], Policy],
        providers: Callable[[str], Iterable[str]],
    ) -> None:
        """*policy* gives the present policy, *providers* the providers of a model."""
        self._secret = secret
        self._policy = policy
        self._providers = providers

    async def __call__(self, request: Request) -> Owner | Body | PassThrough:
        """The owner; or a refusal in the API's form; or the pass of a create to the proxy.

        A refused create passes to the proxy, so that the proxy's own refusal reaches the client.
        """
        is_create = request.path.rstrip("/").endswith("/responses")
        try:
            auth = await _authenticated(current_outer_request.get().scope, request)
        except ProxyException as error:
            return PassThrough() if is_create else _refusal(_status(error.code), str(error.message))
        except HTTPException as error:
            return PassThrough() if is_create else _refusal(error.status_code, str(error.detail))
        if is_create and not self._is_ours(request):
            return PassThrough()
        return self._owner(auth)

    def _is_ours(self, request: Request) -> bool:
        """Whether a create is recorded here. Foreground work may still name a response of ours."""
        policy = self._policy()
        if policy.covers_all:
            return True
        encoding = request.header(b"content-encoding")
        # Within its limits: the cache has unpacked the body before it asks for the owner.
        body = json_object(decode_body(request.body, encoding, limit=2**31))
        if body.get("background") is not True:
            return True
        return policy.covers(str(body.get("model") or ""), self._providers)

    def _owner(self, auth: KeyAuth) -> Owner:
        if auth.user_id or auth.team_id:
            parts = ["user", auth.user_id or "", "team", auth.team_id or ""]
        else:
            parts = ["key", auth.token or auth.api_key or ""]
        role = getattr(auth.user_role, "value", auth.user_role)
        return Owner(digest(self._secret, "litellm", *parts), is_admin=role == _ADMIN)


async def _authenticated(scope: Scope, request: Request) -> KeyAuth:
    """Ask the proxy, without a body: so it checks no model and reserves no budget."""
    names = {name: request.header(header) or None for name, header in _HEADERS.items()}
    names["api_key"] = names["api_key"] or ""
    asked = {**scope, "state": {}, "headers": _without_length(scope)}
    auth: KeyAuth = await user_api_key_auth(request=ProxyRequest(asked, _no_body), **names)
    return auth


def _without_length(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [
        pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"content-encoding")
    ]


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _status(code: object) -> int:
    text = str(code)
    return int(text) if text.isdigit() and 400 <= int(text) <= 599 else 500


def _refusal(status: int, message: str) -> Body:
    """The proxy's refusal as an error of the API."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else None
    content = dump(error_body(message, type=kind, code=code))
    headers = (
        (b"content-type", b"application/json"),
        (b"cache-control", b"private, no-cache"),
        (b"content-length", b"%d" % len(content)),
    )
    return Body(status, headers, content)
