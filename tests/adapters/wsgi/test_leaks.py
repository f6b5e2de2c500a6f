"""What a request has taken is given back, however it ends: threads, files, readings."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from benchmarks.sample import frames
from response_cache_wsgi import ResponseCacheMiddleware
from tests.adapters.wsgi.driver import environ_of, request
from tests.adapters.wsgi.test_app import BACKGROUND, STREAM, create, final, until

pytestmark = pytest.mark.slow

FILES: Final = Path("/dev/fd")


def short(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", STREAM)
    return frames(3)


def endless(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", STREAM)
    yield frames(1)[0]
    while not threading.Event().wait(0.005):
        yield b""


@pytest.fixture(params=["memory", "sqlite"])
def wrap(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., ResponseCacheMiddleware]]:
    """Wraps one app over a store of each kind; closed at the end of the test."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/responses.db"
    wrapped = []

    def make(app: Any) -> ResponseCacheMiddleware:
        wrapped.append(ResponseCacheMiddleware(app, url, drain_timeout=0.2, stop_grace=0.01))
        return wrapped[-1]

    yield make
    for middleware in wrapped:
        middleware.close()


Wrap = Callable[..., ResponseCacheMiddleware]


def readings(wrapped: ResponseCacheMiddleware) -> int:
    """How many streams the event loop reads for threads."""
    return len(wrapped._host.portal()._spawned)


def story_of(wrapped: ResponseCacheMiddleware) -> None:
    """Ten requests: responses that are read to the end, left half-way, cancelled, and refused."""
    id = create(wrapped)
    left = request(wrapped, "GET", f"/v1/responses/{id}?stream=true")
    left.step()
    left.close()
    final(wrapped, id)
    request(wrapped, "GET", f"/v1/responses/{id}?stream=true").body()
    request(wrapped, "GET", f"/v1/responses/{id}/input_items").body()
    request(wrapped, "DELETE", f"/v1/responses/{id}").body()
    request(wrapped, "GET", f"/v1/responses/{id}").body()
    id = create(wrapped)
    request(wrapped, "POST", f"/v1/responses/{id}/cancel").body()
    request(wrapped, "POST", "/v1/responses", {**BACKGROUND, "stream": True}).close()


def test_a_thousand_requests_leave_no_thread_and_no_file_behind(wrap: Wrap) -> None:
    wrapped = wrap(short)
    for _ in range(5):
        story_of(wrapped)
    until(lambda: app_threads() == 0)
    threads, files = threading.active_count(), open_files()
    for _ in range(100):
        story_of(wrapped)
    until(lambda: threading.active_count() <= threads)
    until(lambda: open_files() <= files)
    until(lambda: readings(wrapped) == 0)


def test_what_was_cancelled_gives_its_thread_back(wrap: Wrap) -> None:
    wrapped = wrap(endless)
    ids = [create(wrapped) for _ in range(20)]
    assert app_threads() == 20
    for id in ids:
        request(wrapped, "POST", f"/v1/responses/{id}/cancel").body()
    until(lambda: app_threads() == 0)


def test_a_stream_that_nobody_closes_is_not_read_on(wrap: Wrap) -> None:
    wrapped = wrap(endless)
    stream = request(wrapped, "GET", f"/v1/responses/{create(wrapped)}?stream=true")
    assert stream.step()
    assert readings(wrapped) == 1
    del stream
    gc.collect()
    until(lambda: readings(wrapped) == 0)


def test_a_stream_whose_headers_the_server_refuses_is_not_read_on(wrap: Wrap) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("the client has gone")

    wrapped = wrap(endless)
    environ = environ_of("GET", f"/v1/responses/{create(wrapped)}?stream=true")
    with pytest.raises(OSError, match="the client has gone"):
        wrapped(environ, refuse)
    gc.collect()
    until(lambda: readings(wrapped) == 0)


def test_a_stream_may_be_closed_again_and_from_another_thread(wrap: Wrap) -> None:
    wrapped = wrap(endless)
    stream = request(wrapped, "GET", f"/v1/responses/{create(wrapped)}?stream=true")
    assert stream.step()
    rest: list[bytes] = []
    reader = threading.Thread(target=lambda: rest.append(stream.body()))
    reader.start()
    stream.close()
    reader.join(20)
    assert not reader.is_alive()
    stream.close()


def app_threads() -> int:
    return sum(thread.name == "response_cache app" for thread in threading.enumerate())


def open_files() -> int:
    return sum(1 for _ in FILES.iterdir())
