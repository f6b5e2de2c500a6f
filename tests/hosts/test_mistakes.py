"""Real servers and a middleware that is told what cannot be: none of them serves half an app."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.adapters.servers import DEADLINE
from tests.hosts.test_hosts import DAPHNE, GRANIAN, HYPERCORN, ROOT, UVICORN, until
from tests.ports import free_port

pytestmark = pytest.mark.slow

SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": UVICORN,
    "hypercorn": HYPERCORN,
    "granian": (*GRANIAN, "--interface", "asgi"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "asgi"),
}
NOWHERE: Final = "/nowhere/of/this/name/responses.db"
MISTAKES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "option": ({"ttll": 5}, "response_cache is misconfigured: ttll: unknown option"),
    "store": ({"store": "floppy://a"}, "response_cache is misconfigured: unknown scheme"),
    "no directory": (
        {"store": f"sqlite:///{NOWHERE}"},
        f"the response store could not be opened: cannot use {NOWHERE}: its directory does not",
    ),
}
BACKGROUND: Final = {"model": "m", "input": "hi", "background": True}


@contextmanager
def running(
    command: tuple[str, ...], mistake: dict[str, Any], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """A server with the mistaken app; what it says is in *folder*, as ``log``."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "tests.hosts.on_mistaken:app"],
            cwd=ROOT,
            env={**os.environ, "MISTAKE": json.dumps(mistake)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    base = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=base, trust_env=False, timeout=DEADLINE) as client:
            yield process, client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize(("mistake", "why"), MISTAKES.values(), ids=MISTAKES)
def test_a_server_with_a_lifespan_does_not_start_and_says_why(
    command: tuple[str, ...], mistake: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with running(command, mistake, tmp_path) as (process, _):
        process.wait(DEADLINE)
    lines = (tmp_path / "log").read_text().splitlines()
    assert any(why in line for line in lines), lines


def test_one_without_a_lifespan_answers_our_routes_with_it_and_serves_the_rest(
    tmp_path: Path,
) -> None:
    with running(DAPHNE, {"ttll": 5}, tmp_path) as (_, client):
        until(lambda: is_up(client), (tmp_path / "log").read_text)
        refused = client.post("/v1/responses", json=BACKGROUND)
        poll = client.get(f"/v1/responses/resp_rc{0:048}")
        foreground = client.post("/v1/responses", json={"model": "m", "input": "hi"})
    assert (refused.status_code, poll.status_code) == (500, 500)
    assert "ttll: unknown option" in refused.json()["error"]["message"]
    assert foreground.json() == "foreground"


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/other").text == '"other"'
    except httpx.TransportError:
        return False
