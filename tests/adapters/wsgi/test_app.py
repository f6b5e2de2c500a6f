"""The wrapped app in its many forms, and what it sees of a request: recorded or passed on."""

from __future__ import annotations

import contextvars
import errno
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import anyio
import pytest

from benchmarks.sample import frames
from response_cache import Body, Owner, Request, error_reply
from response_cache.errors import StreamBroken, Unavailable
from response_cache_wsgi import ResponseCacheMiddleware
from response_cache_wsgi._threads.handover import MAX_BUFFERED_BYTES
from tests.adapters.wsgi.driver import WAIT_TIMEOUT, environ_of, request

pytestmark = pytest.mark.slow

EVENTS = frames(3)
STREAM = [("Content-Type", "text/event-stream")]
BACKGROUND = {"model": "m", "input": "hi", "background": True}
Wrap = Callable[..., ResponseCacheMiddleware]


@pytest.fixture
def wrap() -> Iterator[Wrap]:
    """Wraps apps; what runs of them is closed at the end of the test."""
    wrapped = []

    def make(app: WSGIApplication, **options: Any) -> ResponseCacheMiddleware:
        wrapped.append(ResponseCacheMiddleware(app, **{"drain_timeout": 0.2, **options}))
        return wrapped[-1]

    yield make
    for middleware in reversed(wrapped):  # as they chained their signal handlers
        middleware.close()


def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; fail when that takes too long."""
    deadline = time.monotonic() + WAIT_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def create(app: WSGIApplication, **others: Any) -> str:
    created = request(app, "POST", "/v1/responses", BACKGROUND, **others).json()
    return str(created["id"])


def poll(app: WSGIApplication, id: str) -> dict[str, Any]:
    return dict(request(app, "GET", f"/v1/responses/{id}").json())


def final(app: WSGIApplication, id: str) -> dict[str, Any]:
    until(lambda: poll(app, id)["status"] not in ("queued", "in_progress"))
    return poll(app, id)


# --- Forms of apps ------------------------------------------------------------------------------


def a_list(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", STREAM)
    return EVENTS


def a_generator(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", STREAM)
    yield b""
    yield from EVENTS


def writes(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", STREAM)
    for event in EVENTS[:3]:
        write(event)
    return EVENTS[3:]


def a_file(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", STREAM)
    wrapper: type[FileWrapper] = environ["wsgi.file_wrapper"]
    return wrapper(io.BytesIO(b"".join(EVENTS)), 100)


def starts_again(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("500 Oh", [])
    error = ValueError("the first try")
    start_response("200 OK", STREAM, (ValueError, error, error.__traceback__))  # type: ignore[arg-type]  # it was never raised
    return EVENTS


class Late:
    """Calls start_response with the first step, and wants to be closed."""

    def __init__(self, _environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._start_response = start_response
        self._events = iter(EVENTS)

    def __iter__(self) -> Iterator[bytes]:
        self._start_response("200 OK", STREAM)
        yield from self._events


@pytest.mark.parametrize("app", [a_list, a_generator, writes, a_file, starts_again, Late])
def test_every_form_of_an_answer_is_recorded(app: WSGIApplication, wrap: Wrap) -> None:
    wrapped = wrap(app)
    ended = final(wrapped, create(wrapped))
    assert ended["status"] == "completed"
    assert ended["output"][0]["content"][0]["text"] == " word word word"


def says_str(_environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    start_response("200 OK", STREAM)
    return ["text"]


def splits_headers(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("429 No", [("X-Mine", "a\r\nset-cookie: b")])
    return [b"no"]


def splits_status(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("429 No\r\nset-cookie: b", [])
    return [b"no"]


def never_starts(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    return [b"data: {}\n\n"]


def starts_twice(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [])
    start_response("200 OK", STREAM)
    return EVENTS


def returns_nothing(_environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    start_response("404 Not Found", [])


def exits(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    raise SystemExit(3)


@pytest.mark.parametrize(
    "app",
    [splits_headers, splits_status, never_starts, starts_twice, returns_nothing, exits],
)
def test_an_app_that_breaks_the_rules_is_a_server_error_and_splits_no_header(
    app: WSGIApplication, wrap: Wrap
) -> None:
    reply = request(wrap(app), "POST", "/v1/responses", BACKGROUND)
    assert reply.status == 500
    assert "set-cookie" not in str(reply.headers)
    assert reply.json()["error"]["type"] == "server_error"


def test_a_body_that_is_not_bytes_fails_the_response(wrap: Wrap) -> None:
    wrapped = wrap(says_str)
    assert final(wrapped, create(wrapped))["status"] == "failed"


def test_an_error_after_the_first_byte_is_raised_into_the_app(wrap: Wrap) -> None:
    raised: list[BaseException] = []

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", STREAM)
        yield EVENTS[0]
        error = ValueError("in the middle")
        try:
            start_response("500 Oh", [], (ValueError, error, error.__traceback__))  # type: ignore[arg-type]  # it was never raised
        except ValueError as same:
            raised.append(same)
            raise

    wrapped = wrap(app)
    assert final(wrapped, create(wrapped))["error"]["code"] == "server_error"
    assert str(raised[0]) == "in the middle"


def test_a_refusal_reaches_the_client_as_it_is(wrap: Wrap) -> None:
    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("429 Slow Down", [("Retry-After", "7"), ("Connection", "close")])
        return [b"no", b"t now"]

    reply = request(wrap(app), "POST", "/v1/responses", BACKGROUND)
    assert (reply.status, reply.fields["retry-after"], reply.body()) == (429, "7", b"not now")
    assert "connection" not in reply.fields


def refuses_again(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("429 Slow Down", [("Retry-After", "7")])
    yield b""
    error = ValueError("another one")
    start_response("503 Away", [("X-Mine", "a")], (ValueError, error, error.__traceback__))  # type: ignore[arg-type]  # it was never raised
    yield b"no"


def test_a_refusal_may_become_another_until_its_first_byte(wrap: Wrap) -> None:
    reply = request(wrap(refuses_again), "POST", "/v1/responses", BACKGROUND)
    assert (reply.status, reply.fields.get("x-mine"), reply.body()) == (503, "a", b"no")
    assert "retry-after" not in reply.fields


def accepts_after_all(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("500 Oh", [])
    yield b""
    error = ValueError("the first try")
    start_response("200 OK", STREAM, (ValueError, error, error.__traceback__))  # type: ignore[arg-type]  # it was never raised
    yield from EVENTS


def test_a_refusal_may_become_an_acceptance_until_its_first_byte(wrap: Wrap) -> None:
    wrapped = wrap(accepts_after_all)
    assert final(wrapped, create(wrapped))["status"] == "completed"


def test_both_sides_keep_to_the_letter_of_the_specification(wrap: Wrap) -> None:
    inner = wrap(validator(a_list))
    app = validator(inner)
    body = b'{"model": "m", "input": "hi", "background": true}'
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    reply = request(app, "POST", "/v1/responses", body, headers)
    id = reply.json()["id"]
    assert final(inner, id)["status"] == "completed"
    stream = request(app, "GET", f"/v1/responses/{id}?stream=true")
    assert stream.events()[-1]["type"] == "response.completed"


# --- Stopping -----------------------------------------------------------------------------------


class Blocking:
    """An app whose second step blocks until the test lets it go on."""

    def __init__(self) -> None:
        self.is_blocked = threading.Event()
        self.may_go_on = threading.Event()
        self.is_closed = threading.Event()
        self.threads: list[str] = []
        self.steps = 0

    def __call__(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", STREAM)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.threads.append(threading.current_thread().name)
        self.steps += 1
        if self.steps == 2:
            self.is_blocked.set()
            assert self.may_go_on.wait(WAIT_TIMEOUT)
        return EVENTS[0]

    def close(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.is_closed.set()


def test_a_cancel_does_not_wait_for_an_app_that_blocks(wrap: Wrap) -> None:
    app = Blocking()
    wrapped = wrap(app)
    id = create(wrapped)
    assert app.is_blocked.wait(WAIT_TIMEOUT)
    cancelled = request(wrapped, "POST", f"/v1/responses/{id}/cancel").json()
    assert cancelled["status"] == poll(wrapped, id)["status"] == "cancelled"
    assert app.threads == ["response_cache app"] * 2  # close() was not called from elsewhere
    app.may_go_on.set()
    assert app.is_closed.wait(WAIT_TIMEOUT)
    assert set(app.threads) == {"response_cache app"}
    assert poll(wrapped, id) == cancelled


def test_a_thread_that_blocks_keeps_its_place(wrap: Wrap) -> None:
    app = Blocking()
    wrapped = wrap(app, max_running=1)
    request(wrapped, "POST", f"/v1/responses/{create(wrapped)}/cancel")
    waiting = create(wrapped)
    assert poll(wrapped, waiting)["status"] == "queued"
    assert app.steps == 2
    app.may_go_on.set()
    until(lambda: app.steps > 2)
    request(wrapped, "POST", f"/v1/responses/{waiting}/cancel")


def test_closing_leaves_a_thread_behind_that_blocks_and_says_so(
    wrap: Wrap, caplog: pytest.LogCaptureFixture
) -> None:
    app = Blocking()
    wrapped = wrap(app)
    create(wrapped)
    assert app.is_blocked.wait(WAIT_TIMEOUT)
    with caplog.at_level(logging.WARNING, "response_cache.wsgi"):
        wrapped.close()
    assert "left behind" in caplog.text
    app.may_go_on.set()
    assert app.is_closed.wait(WAIT_TIMEOUT)
    assert app.steps == 2


def test_an_app_that_floods_waits_for_the_store(wrap: Wrap) -> None:
    given = []

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", STREAM)
        for _ in range(500):
            given.append(1)
            yield b":" + b"x" * 10_000 + b"\n\n"
        yield from EVENTS

    wrapped = wrap(app, buffer_bytes=1)
    assert final(wrapped, create(wrapped))["status"] == "completed"
    assert len(given) == 500


# --- What the app sees --------------------------------------------------------------------------


def test_background_work_gets_a_copy_of_the_environ_and_the_context(wrap: Wrap) -> None:
    seen: list[Any] = []
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append((dict(environ), environ["wsgi.input"].read(), user.get()))
        environ["mine"] = user.set("changed")
        return a_list(environ, start_response)

    environ = environ_of(
        "POST",
        "/v1/responses",
        b'{"model":"m","input":"hi","background":true}',
        [("Accept-Encoding", "gzip"), ("X-Mine", "kept")],
        SCRIPT_NAME="/mount",
        **{
            "gunicorn.socket": object(),
            "wsgi.early_hints": print,  # writes to the client's connection
            "mine.too": 1,
            "wsgi.file_wrapper": object,
        },
    )
    wrapped = wrap(app)
    user.set("poster")
    reply: list[str] = []
    wrapped(environ, lambda status, *_: reply.append(status) or bytes)  # type: ignore[func-returns-value]  # a short one
    until(lambda: bool(seen))
    ((got, body, name),) = seen
    assert (body, name) == (b'{"model":"m","input":"hi","stream":true}', "poster")
    assert (got["SCRIPT_NAME"], got["HTTP_X_MINE"], got["mine.too"]) == ("/mount", "kept", 1)
    assert got["CONTENT_LENGTH"] == str(len(body))
    assert got["HTTP_ACCEPT_ENCODING"] == "identity"
    assert {"gunicorn.socket", "wsgi.early_hints"}.isdisjoint(got)
    assert got["wsgi.file_wrapper"] is FileWrapper
    assert "mine" not in environ
    assert user.get() == "poster"


def test_the_app_may_run_an_event_loop_of_its_own(wrap: Wrap) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        anyio.run(anyio.sleep, 0)
        return a_list(environ, start_response)

    wrapped = wrap(app)
    assert final(wrapped, create(wrapped))["status"] == "completed"


class Recording:
    """An app that keeps what it was called with and returns an object of its own."""

    def __init__(self) -> None:
        self.environ: WSGIEnvironment = {}
        self.body = b""
        self.answer = [b"theirs"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.environ = environ
        start_response("200 OK", [])
        return self.answer


def test_what_is_not_ours_is_passed_on_untouched_and_starts_nothing(wrap: Wrap) -> None:
    app, before = Recording(), threading.active_count()
    environ = environ_of("GET", "/v1/responses/resp_theirs")
    copy = dict(environ)
    reply = request(wrap(app), "GET", "/elsewhere")
    assert reply.iterable is app.answer
    wrapped = wrap(app)
    assert wrapped(environ, lambda *_: bytes) is app.answer
    assert app.environ is environ
    assert environ == copy
    assert threading.active_count() == before


class Raw(io.RawIOBase):
    """A stream as a server without buffering has it: small pieces, and waiting past its end."""

    def __init__(self, content: bytes, *, ends: bool = True) -> None:
        self._content = io.BytesIO(content)
        self._ends = ends

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(min(size, 1000) if size > 0 else size)
        assert piece or self._ends, "a read that would wait for ever"
        return piece


def create_body(size: int, *, background: bool) -> bytes:
    asked = b'{"background": true, ' if background else b"{"
    return asked + b'"model": "m", "input": "%b"}' % (b"x" * size)


@pytest.mark.parametrize("size", [10, 100_000, 300_000])
@pytest.mark.parametrize("is_terminated", [True, False])
def test_a_foreground_body_is_read_again_from_its_start(
    size: int, is_terminated: bool, wrap: Wrap
) -> None:
    app = Recording()
    body = create_body(size, background=False)
    stream = Raw(body, ends=is_terminated)
    length = {"wsgi.input_terminated": True} if is_terminated else {"CONTENT_LENGTH": len(body)}
    others = {key: value if value is True else str(value) for key, value in length.items()}
    wrapped = wrap(app, max_request_bytes=100_100)
    request(wrapped, "POST", "/v1/responses", headers=(), **others, **{"wsgi.input": stream})
    assert app.environ["wsgi.input"].readline() == body
    assert app.environ.get("CONTENT_LENGTH") == others.get("CONTENT_LENGTH")


def test_a_body_that_is_too_long_is_refused_when_it_asks_for_background(wrap: Wrap) -> None:
    body = create_body(300_000, background=True)
    reply = request(wrap(Recording(), max_request_bytes=1000), "POST", "/v1/responses", body)
    assert reply.status == 413


def test_a_body_of_no_known_length_is_not_read(wrap: Wrap) -> None:
    app, stream = Recording(), Raw(b"", ends=False)
    others: dict[str, Any] = {"wsgi.input": stream, "HTTP_TRANSFER_ENCODING": "chunked"}
    request(wrap(app), "POST", "/v1/responses", **others)
    assert app.environ["wsgi.input"] is stream


@pytest.mark.parametrize("length", ["", "-1", "abc", "1e3", "²", "9" * 5000])
def test_a_length_that_is_none_is_for_the_app_to_judge(length: str, wrap: Wrap) -> None:
    app, stream = Recording(), Raw(b"", ends=False)
    others: dict[str, Any] = {"wsgi.input": stream, "CONTENT_LENGTH": length}
    request(wrap(app), "POST", "/v1/responses", **others)
    assert (app.environ["wsgi.input"], app.environ["CONTENT_LENGTH"]) == (stream, length)


def test_a_body_cut_short_reaches_the_app_as_far_as_it_came(wrap: Wrap) -> None:
    app = Recording()
    others: dict[str, Any] = {
        "wsgi.input": Raw(b'{"background": true'),
        "CONTENT_LENGTH": "500",
    }
    request(wrap(app), "POST", "/v1/responses", **others)
    assert app.environ["wsgi.input"].read() == b'{"background": true'


# --- Owners, and the end of the cache -----------------------------------------------------------


def test_an_owner_callback_may_be_a_plain_function_and_block(wrap: Wrap) -> None:
    def owner(request: Request) -> Owner | Body:
        name = anyio.run(_name, request)  # it is no event loop's thread that calls
        return Owner(name) if name != "mallory" else error_reply(Unavailable("Not you."))

    wrapped = wrap(a_list, owner=owner)
    as_alice = [("x-user", "alice")]
    id = request(wrapped, "POST", "/v1/responses", BACKGROUND, as_alice).json()["id"]
    path = f"/v1/responses/{id}"
    assert request(wrapped, "GET", path, headers=as_alice).status == 200
    assert request(wrapped, "GET", path, headers=[("x-user", "bob")]).status == 404
    assert request(wrapped, "GET", path, headers=[("x-user", "mallory")]).status == 503


def test_an_owner_callback_sees_the_environ_of_every_request_and_no_scope(wrap: Wrap) -> None:
    seen: list[Request] = []

    def owner(request: Request) -> Owner:
        seen.append(request)
        return Owner((request.environ or {})["session"])

    wrapped = wrap(a_list, owner=owner)
    id = request(wrapped, "POST", "/v1/responses", BACKGROUND, session="ann").json()["id"]
    path = f"/v1/responses/{id}"
    assert request(wrapped, "GET", path, session="bob").status == 404
    assert request(wrapped, "GET", path, session="ann").status == 200
    assert [one.scope for one in seen] == [None] * 3
    assert "environ" not in repr(seen[0])


async def _name(request: Request) -> str:
    return request.header(b"x-user")


def test_after_the_close_there_is_503_and_foreground_work_still_passes(wrap: Wrap) -> None:
    wrapped = wrap(a_list)
    id = create(wrapped)
    assert not wrapped.is_draining
    wrapped.close()
    reply = request(wrapped, "GET", f"/v1/responses/{id}")
    assert (reply.status, reply.fields["retry-after"]) == (503, "1")
    foreground = request(wrapped, "POST", "/v1/responses", {"model": "m", "input": "hi"})
    assert foreground.body() == b"".join(EVENTS)


def test_a_drained_process_takes_no_new_work_and_still_answers(wrap: Wrap) -> None:
    wrapped = wrap(a_list)
    wrapped.start()
    id = create(wrapped)
    final(wrapped, id)
    wrapped.drain()
    assert wrapped.is_draining
    assert request(wrapped, "POST", "/v1/responses", BACKGROUND).status == 503
    assert poll(wrapped, id)["status"] == "completed"


def test_silence_on_a_stream_is_filled_with_comments(wrap: Wrap) -> None:
    app = Blocking()
    wrapped = wrap(app, keep_alive=0.05)
    id = create(wrapped)
    assert app.is_blocked.wait(WAIT_TIMEOUT)
    stream = request(wrapped, "GET", f"/v1/responses/{id}?stream=true&starting_after=50")
    assert stream.step() == b": keep-alive\n\n"
    assert stream.step() == b": keep-alive\n\n"
    stream.close()
    assert poll(wrapped, id)["status"] == "in_progress"
    app.may_go_on.set()
    request(wrapped, "DELETE", f"/v1/responses/{id}")


def test_a_stream_of_what_another_process_records_breaks_off_when_this_one_stops(
    tmp_path: Path, wrap: Wrap
) -> None:
    app, url = Blocking(), f"sqlite:///{tmp_path}/responses.db"
    there = wrap(app, store=url)
    here = wrap(a_list, store=url, done_marker=True)
    id = create(there)
    assert app.is_blocked.wait(WAIT_TIMEOUT)
    stream = request(here, "GET", f"/v1/responses/{id}?stream=true")
    until(lambda: b"response.created" in stream.step())
    here.drain()
    with pytest.raises(StreamBroken, match=f"the stream of {id} was broken off") as broken:
        stream.body()
    assert broken.value.errno == errno.ECONNRESET  # which servers know
    app.may_go_on.set()
    final(there, id)


def test_a_reader_that_does_not_read_is_cut_off_in_the_end(wrap: Wrap) -> None:
    def flooding(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", STREAM)
        yield EVENTS[0]
        yield from (b"data: %b\n\n" % json.dumps(flood).encode() for _ in range(20))
        yield EVENTS[-1]

    flood = {"type": "x.flood", "text": "x" * MAX_BUFFERED_BYTES}
    wrapped = wrap(flooding)
    id = create(wrapped)
    stream = request(wrapped, "GET", f"/v1/responses/{id}?stream=true")
    until(lambda: b"response.created" in stream.step())
    final(wrapped, id)
    wrapped.drain()
    with pytest.raises(StreamBroken):
        stream.body()


def test_a_stream_breaks_off_when_its_response_is_deleted(wrap: Wrap) -> None:
    app = Blocking()
    wrapped = wrap(app)
    id = create(wrapped)
    assert app.is_blocked.wait(WAIT_TIMEOUT)
    stream = request(wrapped, "GET", f"/v1/responses/{id}?stream=true")
    until(lambda: b"response.created" in stream.step())
    request(wrapped, "DELETE", f"/v1/responses/{id}")
    with pytest.raises(StreamBroken, match="deleted"):
        stream.body()
    app.may_go_on.set()


def test_a_stream_that_was_closed_has_ended(wrap: Wrap) -> None:
    app = Blocking()
    wrapped = wrap(app)
    id = create(wrapped)
    stream = request(wrapped, "GET", f"/v1/responses/{id}?stream=true")
    stream.step()  # what the server had taken before
    stream.close()
    assert stream.body() == b""
    app.may_go_on.set()


def test_it_can_be_given_the_app_by_name() -> None:
    wrapped = ResponseCacheMiddleware(app=a_list, drain_on_signals=False)
    assert wrapped.app is a_list


def test_options_are_checked_when_the_app_is_wrapped() -> None:
    with pytest.raises(ValueError, match="no_such_option"):
        ResponseCacheMiddleware(a_list, no_such_option=1)  # type: ignore[call-arg] # a mistake
    with pytest.raises(ValueError, match=r"^onwer: unknown option \(did you mean owner\?\)$"):
        ResponseCacheMiddleware(a_list, onwer=print)  # type: ignore[call-arg] # a mistake
    with pytest.raises(ValueError, match="scheme"):
        ResponseCacheMiddleware(a_list, store="nowhere://")
    nothing: Any = None
    with pytest.raises(ValueError, match=r"^store must be a store or its URL"):
        ResponseCacheMiddleware(a_list, store=nothing)
