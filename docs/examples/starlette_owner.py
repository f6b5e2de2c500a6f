"""A Starlette app whose users log in, and the background mode of what belongs to them."""

import json

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import response_cache
from response_cache import Body, Owner
from response_cache_asgi import ResponseCacheMiddleware

REFUSAL = {"message": "Log in first.", "type": "invalid_request_error", "param": None, "code": None}


async def log_in(request: Request) -> Response:
    """Anybody who says a name; a real app checks a password."""
    request.session["name"] = (await request.json())["name"]
    return Response(status_code=204)


async def create(request: Request) -> JSONResponse:
    """Say hello; authentication has been done outside, for this as for polls."""
    part = {"type": "output_text", "text": f"Hello {request.user.display_name}", "annotations": []}
    item = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
    answer = {"object": "response", "model": "echo", "status": "completed"}
    return JSONResponse(answer | {"id": "resp_1", "output": [item | {"id": "msg_1"}]})


class BySession(AuthenticationBackend):
    """Who has logged in."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.session.get("name")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


async def owner(request: response_cache.Request) -> Owner | Body:
    """Who asks, as the middleware outside has found out."""
    assert request.scope is not None  # noqa: S101 - it is, in every ASGI app
    user = request.scope["user"]
    if user.is_authenticated:
        return Owner(user.display_name)
    return Body(
        401, ((b"content-type", b"application/json"),), json.dumps({"error": REFUSAL}).encode()
    )


app = Starlette(
    routes=[
        Route("/login", log_in, methods=["POST"]),
        Route("/v1/responses", create, methods=["POST"]),
    ],
    middleware=[  # the first is outermost
        Middleware(SessionMiddleware, secret_key="an example"),  # noqa: S106
        Middleware(AuthenticationMiddleware, backend=BySession()),
        Middleware(ResponseCacheMiddleware, store="memory://", owner=owner),
    ],
)
