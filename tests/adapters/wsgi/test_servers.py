"""Real servers with real workers, driven by the official SDK: create, poll, stream, resume, cancel.

Each runs an example of the documentation over SQLite, so that any worker can be asked.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from openai import APIConnectionError, OpenAI, Stream
from openai.types.responses import ResponseStreamEvent

from tests.adapters.servers import DEADLINE
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parents[3]
EXAMPLES: Final = ROOT / "docs" / "examples"
WORDS: Final = "one two three four"
ENDS: Final = ("response.completed", "response.failed")
LONG_INPUT: Final = "word " * 100  # twenty seconds of it

GUNICORN: Final = ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--graceful-timeout", "10")
GTHREAD: Final = (*GUNICORN, "--workers", "2", "--worker-class", "gthread", "--threads", "8")
SYNC: Final = (*GUNICORN, "--workers", "2", "--worker-class", "sync")
WAITRESS: Final = ("-m", "waitress", "--listen", "127.0.0.1:{port}")
RUN: Final = ("run", "--port", "{port}")
FLASK: Final = ("-m", "flask", "--app", "flask_app", *RUN)

SERVERS: Final = [
    pytest.param((*GTHREAD, "flask_app:app"), id="gthread-flask"),
    pytest.param((*GTHREAD, "django_app:application"), id="gthread-django"),
    pytest.param((*GTHREAD, "--preload", "flask_app:app"), id="gthread-preload-flask"),
    pytest.param((*SYNC, "flask_app:app"), id="sync-flask"),
    pytest.param((*WAITRESS, "django_app:application"), id="waitress-django"),
    pytest.param(FLASK, id="flask-dev"),
]


@contextmanager
def served(command: tuple[str, ...], folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The base URL of a server that runs *command* among the examples, and its process."""
    port = free_port()
    arguments = [sys.executable, *(word.format(port=port, folder=folder) for word in command)]
    environment = {
        **os.environ,
        "STORE": f"sqlite:///{folder}/responses.db",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            arguments, cwd=EXAMPLES, env=environment, stdout=log, stderr=log, text=True
        )
    try:
        until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}/v1", process
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds; fail when that takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def fresh(url: str) -> OpenAI:
    """A client with a connection of its own, which any worker may accept."""
    return OpenAI(base_url=url, api_key="sk-alice", max_retries=0, timeout=DEADLINE)


@pytest.mark.parametrize("command", SERVERS)
def test_a_server_serves_every_verb_from_any_worker(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    with served(command, tmp_path) as (url, _):
        check_create_poll_stream_and_resume(url)
        check_cancel(url)


def check_create_poll_stream_and_resume(url: str) -> None:
    with fresh(url) as client:
        created = client.responses.create(model="echo", input=WORDS, background=True)
    assert created.status == "queued"
    with fresh(url) as client:
        stream = client.responses.retrieve(created.id, stream=True)
        seen = [next(stream) for _ in range(4)]
        stream.close()
    cursor = seen[-1].sequence_number
    with fresh(url) as client:
        seen += client.responses.retrieve(created.id, stream=True, starting_after=cursor)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"
    for _ in range(4):
        with fresh(url) as client:
            final = client.responses.retrieve(created.id)
        assert (final.status, final.output_text) == ("completed", "one two three four ")


def check_cancel(url: str) -> None:
    with fresh(url) as client:
        id = client.responses.create(model="echo", input=LONG_INPUT, background=True).id
    with fresh(url) as client:
        assert client.responses.cancel(id).status == "cancelled"
    with fresh(url) as client:
        assert client.responses.retrieve(id).status == "cancelled"


ENDLESS: Final = "tests.adapters.wsgi.endless_app:application"
PRELOAD: Final = ("--preload", "--config", "python:tests.adapters.wsgi.endless_app")
FLASK_ENDLESS: Final = "tests.adapters.wsgi.endless_app:flask_app"
STOPPED: Final = [
    pytest.param((*GTHREAD, ENDLESS), 0, id="gthread"),
    pytest.param((*GTHREAD, *PRELOAD, ENDLESS), 0, id="gthread-preload"),
    pytest.param((*SYNC, ENDLESS), 0, id="sync"),
    pytest.param((*WAITRESS, ENDLESS), -15, id="waitress"),
    pytest.param(("-m", "flask", "--app", FLASK_ENDLESS, *RUN), -15, id="flask-dev"),
]


@pytest.mark.parametrize(("command", "code"), STOPPED)
def test_a_server_that_is_stopped_drains_and_ends_or_breaks_its_streams(
    command: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    with served(command, tmp_path) as (url, process), ExitStack() as readers:
        ids = [begin(url, input) for input in ("until stopped", "endless")]
        streams = [reading(url, id, readers) for id in ids]
        process.send_signal(signal.SIGTERM)
        for stream in streams:
            read_to_the_end_or_break(stream)
        assert process.wait(DEADLINE) == code
    with served(command, tmp_path) as (url, _), fresh(url) as client:
        completed, failed = (client.responses.retrieve(id) for id in ids)
    assert completed.status == "completed"
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.message == "The server was shut down while it answered."


def read_to_the_end_or_break(stream: Stream[ResponseStreamEvent]) -> None:
    """A worker breaks off what another one records, if that does not end in time."""
    types = ["response.created"]
    try:
        types += [event.type for event in stream]
    except APIConnectionError:
        assert types[-1] not in ENDS
    else:
        assert types[-1] in ENDS


def begin(url: str, input: str) -> str:
    """Create a response; gives its id."""
    with fresh(url) as client:
        return client.responses.create(model="m", input=input, background=True).id


def reading(url: str, id: str, until_closed: ExitStack) -> Stream[ResponseStreamEvent]:
    """A stream of which the first event was read."""
    reader = until_closed.enter_context(fresh(url))
    stream = reader.responses.retrieve(id, stream=True)
    assert next(stream).type == "response.created"
    return stream


def test_a_chunked_create_under_gunicorn_is_recorded(tmp_path: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b'{"model": "echo", "input": "one",'
        yield b' "background": true}'

    with served((*GTHREAD, "flask_app:app"), tmp_path) as (url, _):
        created = httpx.post(
            f"{url}/responses", content=body(), headers={"content-type": "application/json"}
        ).json()
        until(lambda: httpx.get(f"{url}/responses/{created['id']}").json()["status"] == "completed")
