"""A provider that sends more than its answer, behind LiteLLM's SDK: who gets the rest.

LiteLLM's client is aiohttp, which closes a connection on which more has come when an answer ends.
What comes later it keeps for the next request; without reuse there is no next one.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx
import pytest

from response_cache_server._builtin.events import answer
from response_cache_server._builtin.scenario import Scenario
from tests.adapters.servers import DEADLINE, program
from tests.litellm.proxies import with_us

pytestmark = with_us

LATE = 0.05


def told(text: str) -> bytes:
    """An answer with *text*."""
    response = answer({"model": "m"}, Scenario(words=1, pace=0), now=time.time)
    response["output"][0]["content"][0]["text"] = text
    body = json.dumps(response).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Provider:
    """Answers "evil" with an answer and a second one, *late* seconds after it, if that is told."""

    def __init__(self, *, late: float | None) -> None:
        self.late = late
        self.connections = 0
        self.has_sent = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

    def close(self) -> None:
        """Accept no more. A plain close would leave the thread waiting."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # the test is over
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                while request := self._read(lines):
                    self._answer(connection, request["input"])
            except OSError:
                pass  # the other side has closed it

    def _read(self, lines: Any) -> Any:
        length = 0
        while (line := lines.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return json.loads(lines.read(length)) if length else None

    def _answer(self, connection: socket.socket, text: str) -> None:
        if text != "evil":
            connection.sendall(told("mine"))
        elif self.late is None:
            connection.sendall(told("evil") + told("poison"))
        else:
            connection.sendall(told("evil"))
            time.sleep(self.late)
            connection.sendall(told("poison"))
        self.has_sent.set()


@asynccontextmanager
async def behind(provider: Provider, **env: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the sidecar over LiteLLM's SDK."""
    told_to = {
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": provider.url,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **env,
    }
    with closing(provider):
        async with program("serve", "--port", "0", "--upstream", "litellm", env=told_to) as side:
            url = await side.listening()
            async with httpx.AsyncClient(
                base_url=url, timeout=3 * DEADLINE, trust_env=False
            ) as client:
                yield client


async def ask(client: httpx.AsyncClient, text: str) -> str:
    reply = await client.post("/v1/responses", json={"model": "openai/m", "input": text})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["output"][0]["content"][0]["text"])


async def test_a_surplus_that_comes_with_an_answer_reaches_nobody() -> None:
    provider = Provider(late=None)
    async with behind(provider, RESPONSE_CACHE_REUSE_CONNECTIONS="true") as client:
        assert await ask(client, "evil") == "evil"
        assert [await ask(client, "mine") for _ in range(3)] == ["mine"] * 3
    assert provider.connections == 2


@pytest.mark.parametrize("late", [None, 0.0, LATE])
async def test_no_surplus_reaches_anybody_unless_connections_are_reused(late: float | None) -> None:
    provider = Provider(late=late)
    async with behind(provider) as client:
        assert await ask(client, "evil") == "evil"
        assert provider.has_sent.wait(DEADLINE)
        assert [await ask(client, "mine") for _ in range(3)] == ["mine"] * 3
    assert provider.connections == 4


async def test_a_surplus_that_comes_later_is_still_taken_for_the_next_answer() -> None:
    """Where connections are reused. When this fails, LiteLLM's client is mended."""
    provider = Provider(late=LATE)
    async with behind(provider, RESPONSE_CACHE_REUSE_CONNECTIONS="true") as client:
        assert await ask(client, "evil") == "evil"
        assert provider.has_sent.wait(DEADLINE)
        assert await ask(client, "mine") == "poison"
