"""Where responses live: in a thread that no fork, exit or failing store can bring to a bad end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Final

import pytest

from response_cache import Face, ResponseCache
from response_cache.errors import StoreUnavailable, Unavailable
from response_cache.stores.memory import MemoryStore
from response_cache_wsgi.host import Host
from response_cache_wsgi.portal import Portal
from tests.adapters.wsgi_driver import PATIENCE

ROOT: Final = Path(__file__).resolve().parents[2]

PROLOGUE: Final = """
import json, os, signal, sys, threading, time, warnings
from response_cache.stores.memory import MemoryStore
from response_cache_wsgi import ResponseCacheMiddleware
from tests.adapters.wsgi_driver import request

blocked = threading.Event()

def blocking(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    yield b": begun\\n\\n"
    blocked.set()
    threading.Event().wait()

def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    while True:
        yield b": still there\\n\\n"
        time.sleep(0.02)

def create(app):
    ask = {"model": "m", "input": "hi", "background": True}
    headers = [("authorization", "Bearer x")]
    return request(app, "POST", "/v1/responses", ask, headers).json()["id"]

def get(app, path):
    return request(app, "GET", path, headers=[("authorization", "Bearer x")])

def status(app, id):
    return get(app, f"/v1/responses/{id}").json()
"""


def run(program: str, *arguments: str) -> str:
    """What a process that runs *program* prints; it must end in time and without noise."""
    code = PROLOGUE + textwrap.dedent(program)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def test_the_interpreter_exits_with_an_app_that_blocks() -> None:
    run("""
        app = ResponseCacheMiddleware(blocking, drain_timeout=0.2)
        create(app)
        blocked.wait()
        """)


def test_the_interpreter_exits_when_nothing_was_ever_asked() -> None:
    run("""
        signal.signal(signal.SIGTERM, lambda *_: None)
        app = ResponseCacheMiddleware(blocking)
        """)


def test_what_runs_when_the_interpreter_exits_ends_as_failed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/responses.db"
    begin = """
        app = ResponseCacheMiddleware(endless, store=sys.argv[1], drain_timeout=0.2)
        print(create(app))
        """
    id = run(begin, url).strip()
    look = """
        app = ResponseCacheMiddleware(endless, store=sys.argv[1])
        print(status(app, sys.argv[2])["error"]["message"])
        """
    assert run(look, url, id) == "The server was shut down while it answered.\n"


def test_a_stream_in_a_thread_of_the_server_does_not_keep_the_interpreter() -> None:
    run("""
        app = ResponseCacheMiddleware(endless, drain_timeout=0.2)
        stream = get(app, f"/v1/responses/{create(app)}?stream=true")
        threading.Thread(target=stream.body).start()  # not a daemon
        """)


def test_a_signal_drains_before_the_handler_of_the_server_runs() -> None:
    out = run("""
        handled = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: handled.set())
        app = ResponseCacheMiddleware(endless, drain_timeout=0.2)
        id = create(app)
        os.kill(os.getpid(), signal.SIGTERM)
        print(handled.is_set())
        while not app.is_draining or status(app, id)["status"] == "queued":
            time.sleep(0.01)
        print(status(app, id)["status"])
        """)
    assert out == "True\nfailed\n"


FORKED: Final = """
        warnings.simplefilter("ignore")  # of forking a process that has threads
        app = ResponseCacheMiddleware(endless, {store}, drain_timeout=0.2)
        first = create(app)
        child = os.fork()
        if child == 0:
            {child}
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", status(app, first)["status"])
        """


def test_a_fork_of_a_process_that_has_begun_opens_a_store_of_its_own(tmp_path: Path) -> None:
    child = 'print("child", status(app, create(app))["object"], status(app, first)["id"] == first)'
    program = FORKED.format(store="sys.argv[1]", child=child)
    out = run(program, f"sqlite:///{tmp_path}/responses.db")
    assert sorted(out.split("\n")) == ["", "child response True", "parent queued"]


def test_a_store_that_was_opened_before_a_fork_is_not_used_after_it() -> None:
    child = """
            try:
                create(app)
            except RuntimeError as error:
                print("child", error)
        """.strip()
    out = run(FORKED.format(store="MemoryStore()", child=child))
    assert "child the store was opened before this process was forked: give its URL" in out
    assert "parent queued" in out


class Unwilling(MemoryStore):
    """Cannot be opened at first."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    async def open(self) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise StoreUnavailable("not yet")
        await super().open()


def host_of(store: MemoryStore) -> Host:
    return Host(
        lambda: Face(ResponseCache(store)),
        is_forkable=False,
        drain_timeout=0.2,
        drains_on_signals=False,
    )


def test_a_store_that_cannot_be_opened_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    host = host_of(Unwilling())
    with pytest.raises(Unavailable, match="could not be opened"):
        host.portal()
    assert "could not be opened" in caplog.text
    assert host.portal().is_open
    host.close()


def test_many_threads_that_ask_at_once_open_one_portal() -> None:
    host = host_of(MemoryStore())
    portals: list[Portal] = []  # type: ignore[type-arg]  # of whatever
    threads = [threading.Thread(target=lambda: portals.append(host.portal())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(portals) == 20
    assert len(set(portals)) == 1
    host.close()


def test_a_closed_host_opens_nothing_and_leaves_no_thread() -> None:
    before = threading.active_count()
    host = host_of(MemoryStore())
    portal = host.portal()
    host.close()
    host.close()
    assert threading.active_count() == before
    assert not portal.is_open
    with pytest.raises(Unavailable):
        portal.call(portal.hosted.drain())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_renews_the_locks_that_were_held_in_the_fork() -> None:
    host = host_of(MemoryStore())
    with host._lock:
        child = os.fork()
        if child == 0:
            is_free = host._lock.acquire(timeout=5)
            os._exit(0 if is_free else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    made: list[Host] = []
    thread = threading.Thread(target=lambda: made.append(host_of(MemoryStore())))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert made
