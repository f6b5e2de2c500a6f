"""Who may read our replies in a browser: asked of the app, remembered, or said by an option."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from response_cache import Body, Headers, Options, Request
from response_cache.http._cors import Cors, dressed
from response_cache.http._preflights import (
    MAX_OPEN,
    MAX_REMEMBERED,
    NO_LIFETIME,
    YES_LIFETIME,
    Preflight,
)

PAGE = "https://page.example"
ID = "resp_rc" + "0" * 48
YES: Headers = ((b"Access-Control-Allow-Origin", PAGE.encode()),)
ALL: Headers = ((b"access-control-allow-origin", b"*"),)
PATHS = Options().paths


def asking(
    method: str = "GET", path: str = f"/v1/responses/{ID}", *, origin: str = PAGE, **others: str
) -> Request:
    headers = {"origin": origin, **{name.replace("_", "-"): v for name, v in others.items()}}
    pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in headers.items())
    return Request(method, path, b"", pairs if origin else pairs[1:])


class App:
    """Answers preflights with *status* and *headers* when the gate is open; keeps them."""

    def __init__(self, status: int = 200, headers: Headers = YES, *, is_open: bool = True) -> None:
        self.status, self.headers = status, headers
        self.asked: list[Preflight] = []
        self.gate = anyio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, preflight: Preflight) -> tuple[int, Headers] | None:
        self.asked.append(preflight)
        await self.gate.wait()
        return self.status, self.headers


async def allowed(cors: Cors, request: Request, app: App, id: str = ID) -> dict[bytes, bytes]:
    return dict(await cors.allowed(request, id, app))


async def test_what_the_app_allows_is_told() -> None:
    app = App(headers=(*YES, (b"access-control-allow-credentials", b"true"), (b"x-other", b"1")))
    told = await allowed(Cors(None), asking("DELETE"), app)
    assert told == {
        b"access-control-allow-origin": PAGE.encode(),
        b"access-control-allow-credentials": b"true",
    }
    assert app.asked == [Preflight(PAGE, "DELETE", f"/v1/responses/{ID}")]


# fmt: off
NO: list[tuple[int, Headers]] = [
    (400, YES),                                                       # Starlette's "disallowed"
    (301, YES),
    (500, YES),
    (200, ()),
    (200, ((b"access-control-allow-origin", b"https://other.example"),)),
    (200, (*YES, *YES)),                                              # no browser takes two
    (200, ((b"access-control-allow-origin", b""),)),
]
# fmt: on


@pytest.mark.parametrize(("status", "headers"), NO)
async def test_an_answer_that_no_browser_takes_is_a_no(status: int, headers: Headers) -> None:
    assert await allowed(Cors(None), asking(), App(status, headers)) == {}


async def test_no_credentials_unless_the_app_says_exactly_true() -> None:
    app = App(headers=(*YES, (b"access-control-allow-credentials", b"TRUE")))
    assert b"access-control-allow-credentials" not in await allowed(Cors(None), asking(), app)


async def test_an_answer_is_remembered_for_all_responses_of_a_route() -> None:
    cors, app, other = Cors(None), App(), "resp_rc" + "1" * 48
    for id in (ID, other, ID):
        assert await allowed(cors, asking(path=f"/v1/responses/{id}"), app, id)
    assert await allowed(cors, asking("HEAD"), app)
    assert len(app.asked) == 1
    for request in (asking("DELETE"), asking("POST", f"/v1/responses/{ID}/cancel")):
        assert await allowed(cors, request, app)
    assert len(app.asked) == 3


async def test_an_app_that_allows_all_is_asked_once_for_all_origins() -> None:
    cors, app = Cors(None), App(headers=ALL)
    for number in range(1000):
        request = asking(origin=f"https://{number}.example")
        assert (await allowed(cors, request, app))[b"access-control-allow-origin"] == b"*"
    assert len(app.asked) == 1


async def test_a_yes_holds_longer_than_a_no() -> None:
    now = 0.0
    cors = Cors(None, timer=lambda: now)
    yes, no = App(), App(headers=())
    for request, app in ((asking(), yes), (asking("DELETE"), no)):
        await allowed(cors, request, app)
    for now, asked in (  # noqa: B007 - the clock
        (NO_LIFETIME - 1, (1, 1)),
        (NO_LIFETIME + 1, (1, 2)),
        (YES_LIFETIME - 1, (1, 3)),
        (YES_LIFETIME + 1, (2, 3)),
    ):
        for request, app in ((asking(), yes), (asking("DELETE"), no)):
            await allowed(cors, request, app)
        assert (len(yes.asked), len(no.asked)) == asked


async def test_an_app_that_does_not_know_the_route_is_asked_about_creates() -> None:
    """Such as one whose CORS knows the app's own routes alone: our ids are none of them."""

    class Routed(App):
        async def __call__(self, preflight: Preflight) -> tuple[int, Headers] | None:
            await super().__call__(preflight)
            return (200, YES) if preflight.path == "/x/v1/responses" else (404, ())

    app = Routed()
    assert await allowed(Cors(None), asking("POST", f"/x/v1/responses/{ID}/cancel"), app)
    assert app.asked[1] == Preflight(PAGE, "POST", "/x/v1/responses")
    assert await allowed(Cors(None), asking("POST", "/other/responses"), app, "") == {}
    assert len(app.asked) == 3


async def test_an_app_that_raises_has_said_no(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(preflight: Preflight) -> tuple[int, Headers] | None:
        raise RuntimeError("secret words")

    with caplog.at_level(logging.INFO):
        assert await Cors(None).allowed(asking(), ID, broken) == ()
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


# fmt: off
UNASKED = [
    asking(origin=""),
    asking(origin="https://a.example, https://b.example"),
    asking(origin="https://" + "a" * 2000),
    asking(path="/" + "a" * 2000 + f"/responses/{ID}"),
    asking(origin="https://ü.example"),
    asking(origin="*"),
]
# fmt: on


@pytest.mark.parametrize("request_", UNASKED, ids=range(len(UNASKED)))
async def test_what_no_browser_sends_is_not_asked(request_: Request) -> None:
    app = App()
    assert await allowed(Cors(None), request_, app) == {}
    assert not app.asked


async def test_who_asks_the_same_waits_for_one_answer() -> None:
    cors, app, found = Cors(None), App(is_open=False), []

    async def reply() -> None:
        found.append(await allowed(cors, asking(), app))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(reply)
        await anyio.wait_all_tasks_blocked()
        assert len(app.asked) == 1
        app.gate.set()
    assert len(found) == 50
    assert all(found)


async def test_when_who_asks_leaves_another_one_asks() -> None:
    cors, app, found = Cors(None), App(is_open=False), []

    async def reply() -> None:
        found.append(await allowed(cors, asking(), app))

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(reply)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(reply)
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        app.gate.set()
    assert len(app.asked) == 2
    assert found
    assert all(found)


async def test_many_origins_are_asked_about_a_few_at_a_time() -> None:
    cors, app = Cors(None), App(is_open=False)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            request = asking(origin=f"https://{number}.example")
            tasks.start_soon(allowed, cors, request, app)
        await anyio.wait_all_tasks_blocked()
        assert len(app.asked) == MAX_OPEN
        app.gate.set()
    assert len(app.asked) == 100


async def test_a_silent_app_delays_a_reply_for_a_bounded_time_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("response_cache.http._preflights.ANSWER_TIMEOUT", 0.05)
    cors, app = Cors(None), App(is_open=False)
    with anyio.fail_after(20):
        for _ in range(10):
            assert await allowed(cors, asking(), app) == {}
    assert len(app.asked) == 1


async def test_a_flood_of_origins_fills_no_memory_and_displaces_no_page() -> None:
    cors, app, no = Cors(None), App(), App(headers=())
    await allowed(cors, asking(), app)
    for number in range(3 * MAX_REMEMBERED):
        await allowed(cors, asking(origin=f"https://{number}.example"), no)
    assert len(cors._preflights._no) == MAX_REMEMBERED
    await allowed(cors, asking(), app)
    assert len(app.asked) == 1


# The option.


async def test_the_option_decides_without_asking() -> None:
    app = App()
    listed, everybody = Cors((PAGE, "null")), Cors(("*",))
    for cors, origin, told in (
        (listed, PAGE, PAGE.encode()),
        (listed, "null", b"null"),
        (listed, "https://other.example", None),
        (everybody, "https://other.example", b"*"),
    ):
        headers = await allowed(cors, asking(origin=origin), app)
        assert headers.get(b"access-control-allow-origin") == told
    assert not app.asked


# fmt: off
CONCERNED: list[tuple[tuple[str, ...] | None, str, bool]] = [
    (None,     PAGE, True),
    (None,     "",   False),
    (("*",),   PAGE, True),
    (("*",),   "",   False),
    ((),       PAGE, False),
]
# fmt: on


@pytest.mark.parametrize(("origins", "origin", "expected"), CONCERNED)
def test_only_requests_of_pages_are_concerned(
    origins: tuple[str, ...] | None, origin: str, *, expected: bool
) -> None:
    assert Cors(origins).concerns(asking(origin=origin)) is expected


def preflight(cors: Cors, method: str, path: str, **headers: str) -> Body | None:
    request = asking("OPTIONS", path, access_control_request_method=method, **headers)
    return cors.preflight(request, PATHS)


# fmt: off
ANSWERED = [
    ("POST",   "/v1/responses",                  "POST"),
    ("GET",    f"/v1/responses/{ID}",            "GET, HEAD, DELETE"),
    ("DELETE", f"/v1/responses/{ID}",            "GET, HEAD, DELETE"),
    ("POST",   f"/v1/responses/{ID}/cancel",     "POST"),
    ("GET",    f"/x/responses/{ID}/input_items", "GET, HEAD"),
    ("PUT",    f"/v1/responses/{ID}",            "GET, HEAD, DELETE"),
]
# fmt: on


@pytest.mark.parametrize(("method", "path", "methods"), ANSWERED)
def test_with_the_option_preflights_of_our_routes_are_answered(
    method: str, path: str, methods: str
) -> None:
    reply = preflight(
        Cors((PAGE,)), method, path, access_control_request_headers="authorization,x-stainless-os"
    )
    assert reply is not None
    assert reply.status == 204
    assert dict(reply.headers) == {
        b"vary": b"origin, access-control-request-method, access-control-request-headers",
        b"access-control-allow-origin": PAGE.encode(),
        b"access-control-allow-methods": methods.encode(),
        b"access-control-allow-headers": b"authorization,x-stainless-os",
        b"access-control-max-age": b"600",
    }


def test_a_preflight_of_another_page_is_answered_and_allows_nothing() -> None:
    reply = preflight(Cors(("https://other.example",)), "POST", "/v1/responses")
    assert reply is not None
    assert [name for name, _ in reply.headers] == [b"vary"]


def test_names_that_are_none_are_not_repeated() -> None:
    reply = preflight(
        Cors(("*",)), "POST", "/v1/responses", access_control_request_headers="a: b\tc"
    )
    assert reply is not None
    assert b"access-control-allow-headers" not in dict(reply.headers)


# fmt: off
THE_APPS: list[tuple[tuple[str, ...] | None, str, str]] = [
    (None,   "POST", "/v1/responses"),
    ((),     "POST", "/v1/responses"),
    (("*",), "GET",  "/v1/responses"),
    (("*",), "POST", "/v1/chat/completions"),
    (("*",), "GET",  "/v1/responses/resp_0123"),
    (("*",), "",     "/v1/responses"),
]
# fmt: on


@pytest.mark.parametrize(("origins", "method", "path"), THE_APPS)
def test_other_preflights_are_the_apps(
    origins: tuple[str, ...] | None, method: str, path: str
) -> None:
    assert preflight(Cors(origins), method, path) is None


# Dressing.


# fmt: off
VARY: list[tuple[Headers, Headers]] = [
    ((),                                      ((b"vary", b"origin"),)),
    (((b"vary", b"accept"),),                 ((b"vary", b"accept, origin"),)),
    (((b"vary", b"a"), (b"Vary", b"b")),      ((b"vary", b"a, b, origin"),)),
    (((b"vary", b"Accept, Origin"),),         ((b"vary", b"Accept, Origin"),)),
    (((b"vary", b"a"), (b"vary", b"origin")), ((b"vary", b"a, origin"),)),
    (((b"vary", b"*"),),                      ((b"vary", b"*"),)),
]
# fmt: on


@pytest.mark.parametrize(("before", "after"), VARY)
def test_there_is_one_vary_and_it_names_the_origin(before: Headers, after: Headers) -> None:
    *headers, exposed = dressed(before, YES)
    assert headers == [*after, *YES]
    assert exposed[0] == b"access-control-expose-headers"
    assert exposed[1].startswith(b"x-request-id, ")
    assert dressed(before, ()) == (*after, exposed)  # another origin may get another answer
    assert dressed(before, ALL) == (*before, *ALL, exposed)


def test_what_the_app_allows_itself_is_left_alone() -> None:
    assert dressed(YES, ALL) == YES


# fmt: off
ORIGINS: list[tuple[Any, tuple[str, ...] | None]] = [
    (None,                              None),
    ((),                                ()),
    ("*",                               ("*",)),
    ("https://a.example, null",         ("https://a.example", "null")),
    (["http://127.0.0.1:3000"],         ("http://127.0.0.1:3000",)),
    ("chrome-extension://abcdef",       ("chrome-extension://abcdef",)),
]
# fmt: on


@pytest.mark.parametrize(("given", "kept"), ORIGINS)
def test_origins_may_be_a_list_or_one_text(given: Any, kept: tuple[str, ...] | None) -> None:
    assert Options(cors_origins=given).cors_origins == kept


@pytest.mark.parametrize(
    "wrong", ["https://a.example/", "a.example", "https://A.example", "https://u@a", "*.a"]
)
def test_an_origin_that_no_browser_sends_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be '\\*', 'null' or an origin as browsers send it"):
        Options(cors_origins=(wrong,))
