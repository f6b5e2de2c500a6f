"""The hosts of docs/hosts.md, each as a process: every verb, a broken stream, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from openai import APIConnectionError, OpenAI, Stream
from openai.types.responses import ResponseStreamEvent

from tests.adapters.servers import DEADLINE
from tests.deadlines import allowed
from tests.hosts.story import ENDLESS, SAID
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parents[2]
DRAIN_TIMEOUT: Final = 1.0
STOP_GRACE: Final = 5.0  # seconds more, on a machine that has other things to do
SILENCE_TIMEOUT: Final = (
    1.5  # seconds after which a stream that says nothing is one that was left open
)

UVICORN: Final = ("uvicorn", "--port", "{port}", "--log-level", "warning")
HYPERCORN: Final = ("hypercorn", "--bind", "127.0.0.1:{port}", "--workers", "0")
DAPHNE: Final = ("daphne", "--port", "{port}", "--verbosity", "0")
GRANIAN: Final = ("granian", "--port", "{port}", "--no-ws", "--log-level", "warning")
GUNICORN: Final = ("gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread")
WAITRESS: Final = ("waitress", "--listen", "127.0.0.1:{port}", "--threads", "8")


SQLITE: Final = "sqlite:///{folder}/responses.db"


def host(
    server: tuple[str, ...], *flags: str, app: str, breaks: bool = True, store: str = SQLITE
) -> Any:
    """A row of the table: what runs, over which store, and whether it can break a stream."""
    id = "-".join((server[0], *(flag.strip("-") for flag in flags), app))
    return pytest.param((*server, *flags), app, store, breaks, id=id)


HOSTS: Final = [
    host(UVICORN, "--http", "h11", app="starlette"),
    host(UVICORN, "--http", "httptools", app="litestar"),
    host(UVICORN, app="quart"),
    host(UVICORN, app="falcon"),
    host(HYPERCORN, app="fastapi"),
    host(HYPERCORN, app="litestar"),
    host(DAPHNE, app="django", breaks=False),
    host(GRANIAN, "--interface", "asgi", app="fastapi"),
    host(GUNICORN, "--threads", "8", app="bottle"),
    host(GUNICORN, "--threads", "8", app="flask"),
    host(WAITRESS, app="flask"),
]


@pytest.mark.parametrize(("command", "app", "store", "breaks"), HOSTS)
def test_a_host_serves_every_verb_and_stops_in_time(
    command: tuple[str, ...], app: str, store: str, breaks: bool, tmp_path: Path
) -> None:
    with hosting(command, app, store, tmp_path) as (process, client):
        check_poll_stream_and_resume(client)
        check_cancel(client)
        assert check_delete(client) == ("broken" if breaks else "left open")
        check_stop(client, process)


@contextmanager
def hosting(
    command: tuple[str, ...], app: str, store: str, folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """The process of a server, up, and a client of it."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    environment = {
        **os.environ,
        "STORE": store.format(folder=folder),
        "DRAIN_TIMEOUT": str(DRAIN_TIMEOUT),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, f"tests.hosts.on_{app}:app"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    base = f"http://127.0.0.1:{port}/v1"
    try:
        with httpx.Client(base_url=base, trust_env=False, timeout=DEADLINE) as client:
            until(lambda: is_up(client, process), (folder / "log").read_text)
            yield process, client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers, too
        process.wait()


def is_up(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return client.get(f"/responses/resp_rc{0:048}").status_code == 404
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    """Return once *condition* holds; fail when that takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def create(client: httpx.Client, input: str) -> str:
    body = {"model": "m", "input": input, "background": True}
    return str(client.post("/responses", json=body).raise_for_status().json()["id"])


def poll(client: httpx.Client, id: str) -> dict[str, Any]:
    return dict(client.get(f"/responses/{id}").raise_for_status().json())


def check_poll_stream_and_resume(client: httpx.Client) -> None:
    id = create(client, "hi")
    until(lambda: poll(client, id)["status"] == "completed")
    assert poll(client, id)["output"][0]["content"][0]["text"] == SAID
    events = [event for query in ("", "&starting_after=4") for event in stream(client, id, query)]
    assert events[-1]["type"] == "response.completed"
    numbers = [event["sequence_number"] for event in events]
    assert numbers == [*range(numbers[-1] + 1), *range(5, numbers[-1] + 1)]


def stream(client: httpx.Client, id: str, query: str) -> list[dict[str, Any]]:
    lines = client.get(f"/responses/{id}?stream=true{query}").raise_for_status().text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def check_cancel(client: httpx.Client) -> None:
    id = create(client, ENDLESS)
    until(lambda: poll(client, id)["status"] == "in_progress")
    assert client.post(f"/responses/{id}/cancel").raise_for_status().json()["status"] == "cancelled"


def check_delete(client: httpx.Client) -> str:
    """What becomes of a stream when its response is deleted."""
    id = create(client, ENDLESS)
    with reading(client, id) as lines:
        client.delete(f"/responses/{id}").raise_for_status()
        try:
            for _ in lines:
                pass
        except httpx.ReadTimeout:
            return "left open"
        except httpx.TransportError:
            return "broken"
    return "ended"


@contextmanager
def reading(client: httpx.Client, id: str) -> Iterator[Iterator[str]]:
    """The lines of a stream from its first word on."""
    timeout = httpx.Timeout(DEADLINE, read=SILENCE_TIMEOUT)
    with client.stream("GET", f"/responses/{id}?stream=true", timeout=timeout) as reply:
        lines = reply.iter_lines()
        assert any("output_text.delta" in line for line in lines)
        yield lines


def check_stop(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """A signal ends the process in time, and no stream ends without a terminal event."""
    id = create(client, ENDLESS)
    read = ""
    with reading(client, id) as lines:
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        try:
            for line in lines:
                read += line
        except httpx.TransportError:
            read += "broken"
    process.wait(DEADLINE)
    assert time.monotonic() - begun < DRAIN_TIMEOUT + allowed(STOP_GRACE)
    assert read.endswith("broken") or "event: response.failed" in read


READERS: Final = [
    host(UVICORN, app="fastapi"),
    host(HYPERCORN, app="fastapi"),
    host(GUNICORN, "--threads", "8", app="flask"),
    host(WAITRESS, app="flask"),
]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, httpx.Client]]:
    """A process that records, where its store is, and a client of it."""
    folder = tmp_path_factory.mktemp("recorder")
    with hosting(UVICORN, "fastapi", SQLITE, folder) as (_, client):
        yield folder, client


@pytest.mark.parametrize(("command", "app", "store", "breaks"), READERS)
def test_the_official_client_sees_an_error_where_a_reader_s_process_stops_and_resumes_elsewhere(
    recorder: tuple[Path, httpx.Client],
    command: tuple[str, ...],
    app: str,
    store: str,
    breaks: bool,
) -> None:
    folder, there = recorder
    id = create(there, ENDLESS)
    with hosting(command, app, store, folder) as (process, here), official(here) as client:
        events = client.responses.retrieve(id, stream=True)
        numbers = [next(events).sequence_number for _ in range(8)]
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert ends_in(events, numbers) is APIConnectionError
        process.wait(DEADLINE)
        assert time.monotonic() - begun < DRAIN_TIMEOUT + allowed(STOP_GRACE)
    with official(there) as client:
        events = client.responses.retrieve(id, stream=True, starting_after=numbers[-1])
        there.post(f"/responses/{id}/cancel").raise_for_status()
        assert ends_in(events, numbers) is None
    assert numbers == list(range(len(numbers)))


def official(client: httpx.Client) -> OpenAI:
    url = str(client.base_url)
    return OpenAI(base_url=url, api_key="sk-any", max_retries=0, timeout=DEADLINE)


def ends_in(
    events: Stream[ResponseStreamEvent], numbers: list[int]
) -> type[APIConnectionError] | None:
    """What a stream ends with; what it brings before is noted."""
    try:
        for event in events:
            numbers.append(event.sequence_number)  # noqa: PERF401 - each counts, also before an error
    except APIConnectionError:
        return APIConnectionError
    return None
