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

from response_cache import ResponseCache
from response_cache.errors import StoreUnavailable, Unavailable
from response_cache.http import ResponsesAPI
from response_cache.stores.memory import MemoryStore
from response_cache_wsgi._host import Host
from response_cache_wsgi._threads.portal import Portal
from tests.adapters.wsgi.driver import WAIT_TIMEOUT

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parents[3]

PROLOGUE: Final = """
import json, logging, os, signal, sys, threading, time, warnings
from response_cache.stores.memory import MemoryStore
from response_cache_wsgi import ResponseCacheMiddleware
from tests.adapters.wsgi.driver import request

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


def run(program: str, *arguments: str, code: int = 0) -> str:
    """What a process that runs *program* prints; it must end in time and without noise."""
    source = PROLOGUE + textwrap.dedent(program)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def test_the_interpreter_exits_with_an_app_that_blocks() -> None:
    run("""
        app = ResponseCacheMiddleware(blocking, drain_timeout=0.6)
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
        app = ResponseCacheMiddleware(endless, store=sys.argv[1], drain_timeout=0.6)
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
        app = ResponseCacheMiddleware(endless, drain_timeout=0.6)
        stream = get(app, f"/v1/responses/{create(app)}?stream=true")
        threading.Thread(target=stream.body).start()  # not a daemon
        """)


def test_a_signal_drains_before_the_handler_of_the_server_runs() -> None:
    out = run("""
        handled = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: handled.set())
        app = ResponseCacheMiddleware(endless, drain_timeout=0.6)
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
        app = ResponseCacheMiddleware(endless, {store}, drain_timeout=0.6)
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
        lambda: ResponsesAPI(ResponseCache(store)),
        is_forkable=False,
        drain_timeout=0.2,
        drains_on_signals=False,
    )


def test_a_store_that_cannot_be_opened_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    host = host_of(Unwilling())
    with pytest.raises(Unavailable, match="could not be opened"):
        host.portal()
    assert "could not be opened: not yet" in caplog.text
    assert "Traceback" not in caplog.text
    assert host.portal().is_open
    host.close()


def test_a_start_that_fails_says_why_and_clients_are_not_told() -> None:
    host = host_of(Unwilling())
    with pytest.raises(Unavailable, match=r"^the response store could not be opened: not yet$"):
        host.start()
    host = host_of(Unwilling())
    with pytest.raises(Unavailable) as refusal:
        host.portal()
    assert "not yet" not in str(refusal.value)


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


def test_threads_that_do_not_start_are_told_of_and_tried_again() -> None:
    out = run("""
        def answer():
            return get(app, "/v1/responses/resp_rc" + "0a" * 24).status

        logging.disable()  # it tells of each failure
        app = ResponseCacheMiddleware(endless)
        usual = threading.stack_size(1 << 46)  # more than there is
        print(answer(), answer())
        threading.stack_size(usual)
        print(answer())
        """)
    assert out == "503 503\n404\n"


def test_a_process_out_of_files_answers_and_tries_again() -> None:
    out = run("""
        import resource

        def answer():
            return get(app, "/v1/responses/resp_rc" + "0a" * 24).status

        logging.disable()  # it tells of each failure
        app = ResponseCacheMiddleware(endless)
        print(answer())  # all modules are there
        sys.unraisablehook = lambda _: None  # of asyncio, for loops that were made by half
        app = ResponseCacheMiddleware(endless)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        print(answer(), answer())
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(answer())
        """)
    assert out == "404\n503 503\n404\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_was_broken_is_replaced() -> None:
    async def exits() -> None:
        raise SystemExit

    host = host_of(MemoryStore())
    broken = host.portal()
    with pytest.raises(SystemExit):
        broken.call(exits())
    broken.close(WAIT_TIMEOUT)
    assert host.portal() is not broken
    assert host.portal().is_open
    host.close()


def test_sigterm_drains_where_nobody_handles_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/responses.db"
    begin = """
        app = ResponseCacheMiddleware(endless, store=sys.argv[1], drain_timeout=0.6)
        other = ResponseCacheMiddleware(endless, store=sys.argv[1], drain_timeout=0.6)
        print(create(app), create(other), flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            time.sleep(1)  # as a server that goes on
        """
    ids = run(begin, url, code=-signal.SIGTERM).split()
    look = """
        app = ResponseCacheMiddleware(endless, store=sys.argv[1])
        print(status(app, sys.argv[2])["status"], status(app, sys.argv[3])["status"])
        """
    assert run(look, url, *ids) == "failed failed\n"


def test_a_second_sigterm_kills_at_once() -> None:
    begin = """
        app = ResponseCacheMiddleware(endless, drain_timeout=1000)
        create(app)
        os.kill(os.getpid(), signal.SIGTERM)
        while not app.is_draining:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            time.sleep(1)
        """
    run(begin, code=-signal.SIGTERM)


def test_sigterm_kills_a_fork_as_ever() -> None:
    out = run("""
        warnings.simplefilter("ignore")  # of forking a process that has threads
        app = ResponseCacheMiddleware(endless, drain_timeout=0.6)
        create(app)
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(told, b".")
            time.sleep(20)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        print(os.waitpid(child, 0)[1] == signal.SIGTERM)
        """)
    assert out == "True\n"


@pytest.mark.parametrize("options", ["", ", drain_on_signals=False"])
def test_sigterm_is_left_alone_where_it_is_not_ours(options: str) -> None:
    out = run(f"""
        app = ResponseCacheMiddleware(endless{options})
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        app.close()
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        """)
    assert out == f"{bool(options)}\nTrue\n"


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    made: list[Host] = []
    thread = threading.Thread(target=lambda: made.append(host_of(MemoryStore())))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert made
