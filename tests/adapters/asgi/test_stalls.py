"""No request keeps the event loop from going on: a real server, watched while it reads the worst.

What counts is the time of the server's own processors, so a busy machine makes no difference but
one: threads take turns less often there. So a request that seems to be too long is repeated.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final
from uuid import uuid4

import httpx
import pytest

from tests.adapters.hostile_bodies import BOUNDED, ECHOED, ITEMS, TEXTS, TOO_MUCH, array, values
from tests.adapters.servers import DEADLINE
from tests.ports import free_port

pytestmark = pytest.mark.slow

MAX_STALL: Final = 0.5  # seconds
TRIES: Final = 4
POLLS: Final = 5
KEYED: Final = {"authorization": "Bearer sk"}  # and with a key of its own each time
SHORT_KINDS: Final = (
    "NUL",
    "quotes",
    "halves and letters",
    "a key",
    "what we look for",
    "white space",
)


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "critical"]
    process = subprocess.Popen(
        [*command, "tests.adapters.asgi.watched_app:app"], env={**os.environ, "STORE": "memory://"}
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        try:
            until_up(client)
            yield client
        finally:
            process.kill()
            process.wait()


def until_up(client: httpx.Client) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            client.get("/longest")
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def body(field: str, value: bytes, *, asked: bytes = b'"background":true') -> bytes:
    return b'{%b,"model":"m","%b":%b}' % (asked, field.encode(), value)


class Visitor:
    """Sends one body, and asks for all that there is to be asked about what comes of it."""

    def __init__(self, server: httpx.Client) -> None:
        self._server = server
        self.status = 0
        self.stalls: dict[str, float] = {}

    def visit(self, data: bytes, headers: Mapping[str, str]) -> None:
        """Note the longest stall of each step; of the best of several tries."""
        for _ in range(TRIES):
            self.stalls = {}
            self._server.get("/longest")
            self._steps(data, headers)
            if max(self.stalls.values()) <= MAX_STALL:
                return

    def _steps(self, data: bytes, headers: Mapping[str, str]) -> None:
        if headers is KEYED:
            headers = {**KEYED, "idempotency-key": uuid4().hex}
        reply = self._server.post("/v1/responses", content=data, headers=headers)
        self.status = reply.status_code
        self._note("create")
        if self.status != 200:
            return
        path, server = f"/v1/responses/{reply.json()['id']}", self._server
        polls = [
            threading.Thread(target=server.get, args=(path,), kwargs={"headers": headers})
            for _ in range(POLLS)
        ]
        for poll in polls:
            poll.start()
        for poll in polls:
            poll.join()
        self._note("polls")
        server.get(f"{path}/input_items?limit=1", headers=headers)
        self._note("input_items")
        with server.stream("GET", f"{path}?stream=true", headers=headers) as stream:
            assert next(stream.iter_raw())
        self._note("stream")
        server.post(f"{path}/cancel", headers=headers)
        self._note("cancel")
        server.delete(path, headers=headers)
        self._note("delete")

    def _note(self, step: str) -> None:
        self.stalls[step] = float(self._server.get("/longest").text)


def visited(
    server: httpx.Client, data: bytes, status: int, headers: Mapping[str, str] | None = None
) -> None:
    visitor = Visitor(server)
    visitor.visit(data, headers or {})
    assert visitor.status == status
    assert max(visitor.stalls.values()) <= MAX_STALL, visitor.stalls


@pytest.mark.parametrize("kind", BOUNDED)
def test_as_many_values_as_may_be_do_not(server: httpx.Client, kind: str) -> None:
    visited(server, body("x", BOUNDED[kind]), 200, KEYED)


@pytest.mark.parametrize("kind", SHORT_KINDS)
def test_as_many_bytes_as_may_be_do_not(server: httpx.Client, kind: str) -> None:
    visited(server, body("x", TEXTS[kind]), 200, KEYED)


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_is_refused_does_not(server: httpx.Client, kind: str) -> None:
    visited(server, body("x", TOO_MUCH[kind]), 400 if kind == "quotes" else 413)


@pytest.mark.parametrize("kind", ECHOED)
def test_what_each_poll_repeats_does_not(server: httpx.Client, kind: str) -> None:
    field = "tools" if ECHOED[kind].startswith(b"[") else "instructions"
    visited(server, body(field, ECHOED[kind]), 200)


@pytest.mark.parametrize("kind", ["objects", "nested", "strings", "long integers"])
def test_what_is_unpacked_does_not(server: httpx.Client, kind: str) -> None:
    data = gzip.compress(body("x", TOO_MUCH[kind]), 1)
    visited(server, data, 413, {"content-encoding": "gzip"})


@pytest.mark.parametrize("entry", [b"{},", b'{"id":"a"},', b'{"id":"msg_%b"},' % (b"0" * 48)])
def test_input_of_many_entries_does_not(server: httpx.Client, entry: bytes) -> None:
    visited(server, body("input", array(entry, len(entry) * (ITEMS - 1))), 200)
    visited(server, body("input", array(entry, len(entry) * ITEMS)), 400)


def test_one_entry_that_is_as_long_as_may_be_does_not(server: httpx.Client) -> None:
    visited(server, body("input", TEXTS["NUL"]), 200)


@pytest.mark.parametrize("value", [values(b"{},", 2), TEXTS["halves and letters"]], ids=len)
def test_foreground_work_does_not(server: httpx.Client, value: bytes) -> None:
    continued = b'"background":false,"previous_response_id":"resp_rc%b"' % (b"0a" * 24)
    visited(server, body("x", value, asked=continued), 400)
    visited(server, body("x", value, asked=b'"background":null'), 202)
