"""A mistake in what the middleware is told: said at the start, and only our routes fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from response_cache.errors import Misconfigured
from response_cache_asgi import ResponseCacheMiddleware
from tests.adapters.asgi.driver import TOLD, living, request

BACKGROUND: Final = {"model": "m", "input": "hi", "background": True}
ID: Final = f"resp_rc{0:048}"

# fmt: off
MISTAKES: Final = {
    "misspelt":  ({"ttll": 5},             "ttll: unknown option (did you mean ttl?)"),
    "no option": ({"zzz": 5},              "zzz: unknown option"),
    "an owner":  ({"onwer": print},        "onwer: unknown option (did you mean owner?)"),
    "a value":   ({"ttl": -1},             "ttl: Input should be greater than 0"),
    "two":       ({"ttl": -1, "lese": 5},  "lese: unknown option (did you mean lease?)"),
    "a path":    ({"paths": ("/x",)},      "paths: '/x' must begin with '/' and end with"),
    "a store":   ({"store": "floppy://u:hush@h"},  "unknown scheme of a store URL"),
    "nothing":   ({"store": None},         "store must be a store or its URL, not NoneType"),
    "of a URL":  ({"store": "memory://?max=hush"}, "unknown option in a memory:// URL"),
}
# fmt: on
mistakes = pytest.mark.parametrize(("given", "complaint"), MISTAKES.values(), ids=MISTAKES)


def fastapi_app(given: dict[str, Any]) -> Any:
    app = FastAPI()
    app.get("/other")(lambda: "other")
    app.post("/v1/responses")(lambda: "foreground")
    app.add_middleware(ResponseCacheMiddleware, **given)
    return app


def starlette_app(given: dict[str, Any]) -> Any:
    routes = [
        Route("/other", lambda _request: PlainTextResponse('"other"')),
        Route("/v1/responses", lambda _: PlainTextResponse('"foreground"'), methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(ResponseCacheMiddleware, **given)])


def mounted_app(given: dict[str, Any]) -> Any:
    return Starlette(routes=[Mount("/", starlette_app(given))])


apps = pytest.mark.parametrize("make", [fastapi_app, starlette_app])


@apps
@mistakes
async def test_it_stops_the_start_of_an_app_that_builds_its_middleware_late(
    make: Callable[..., Any], given: dict[str, Any], complaint: str
) -> None:
    async with living(make(given)) as life:
        pass
    assert life.types == ["lifespan.startup.failed"]
    message = life.sent[0]["message"]
    assert message.startswith("response_cache is misconfigured: ")
    assert complaint in message
    assert "\n" not in message
    assert "hush" not in message


def test_a_test_client_is_told_too() -> None:
    with pytest.raises(Misconfigured, match="ttll"), TestClient(fastapi_app({"ttll": 5})):
        pass


@pytest.mark.parametrize("make", [fastapi_app, starlette_app, mounted_app])
@mistakes
async def test_without_a_lifespan_what_needs_the_cache_is_told_and_the_rest_is_the_apps(
    make: Callable[..., Any], given: dict[str, Any], complaint: str
) -> None:
    app = make(given)
    for method, path, body in (
        ("POST", "/v1/responses", BACKGROUND),
        ("GET", f"/v1/responses/{ID}", None),
        ("GET", f"/v1/responses/{ID}?stream=true", None),
        ("POST", f"/v1/responses/{ID}/cancel", None),
        ("DELETE", f"/v1/responses/{ID}", None),
        ("GET", f"/v1/responses/{ID}/input_items", None),
    ):
        call = await request(app, method, path, json=body)
        assert call.status == 500
        error = call.json["error"]
        assert complaint in error.pop("message")
        assert error == {"type": "server_error", "param": None, "code": "server_error"}
    other = await request(app, "GET", "/other")
    foreground = await request(app, "POST", "/v1/responses", json={"model": "m", "input": "hi"})
    assert (other.body, foreground.body) == (b'"other"', b'"foreground"')


async def test_options_that_are_right_count_all_the_same() -> None:
    app = starlette_app({"paths": ("/llm/responses",), "dialect": "litellm", "ttll": 5})
    assert (await request(app, "POST", "/llm/responses", json=BACKGROUND)).status == 500
    assert (await request(app, "POST", "/v1/responses", json=BACKGROUND)).status == 200
    assert (await request(app, "GET", "/v1/responses/litellm_poll_1")).status != 200


async def test_the_log_says_so_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    await request(fastapi_app({"ttll": 5}), "POST", "/v1/responses", json=BACKGROUND)
    (record,) = (record for record in caplog.records if record.name == "response_cache.asgi")
    assert "ttll" in record.getMessage()
    assert record.exc_info is None


@mistakes
async def test_a_constructor_that_is_called_by_the_user_raises_at_once(
    given: dict[str, Any], complaint: str
) -> None:
    """Also in an event loop, in which uvicorn imports apps."""
    with pytest.raises(ValueError) as refusal:
        ResponseCacheMiddleware(TOLD, **given)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
