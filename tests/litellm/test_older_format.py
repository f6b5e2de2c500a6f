"""The older polling format, from a real proxy, to clients that were written for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
from openai import OpenAI

from tests.interpreters import interpreter_of
from tests.litellm.client import Client, text_of
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, with_us
from tests.litellm.waiting import WAIT_TIMEOUT
from tests.stores.servers import Server, ask

pytestmark = with_us

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "docs" / "examples"
KEYS: Final = "litellm:polling:response:"
FAST: Final = {"words": "4", "pace": "0"}
ENDLESS: Final = {"words": "100000", "pace": "0.02"}
VERBS: Final = [
    ("GET", ""),
    ("GET", "?stream=true"),
    ("GET", "/input_items"),
    ("POST", "/cancel"),
    ("DELETE", ""),
]


@pytest.fixture
def eve(older: Proxy) -> Client:
    """Ann, at the proxy that speaks the older format."""
    return older.client()


def run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A client of the documentation, run to its end."""
    command = [interpreter_of(example), str(EXAMPLES / example), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_TIMEOUT)


@pytest.mark.parametrize("client", ["polling_client.py", "polling_client.ts"])
def test_a_client_of_the_first_format_runs_unchanged(
    older: Proxy, redis: Server, client: str
) -> None:
    result = run(client, f"{older.url}/v1", "Tell me a story")
    assert result.returncode == 0, result.stderr
    first, text, usage = result.stdout.splitlines()
    id, status = first.split()
    assert status == "in_progress"
    assert text
    assert int(usage.removesuffix(" tokens")) > 0
    with redis.client() as at:
        stored = json.loads(ask(at, "GET", KEYS + id))
        ttl = ask(at, "TTL", KEYS + id)
    assert stored["id"] == id
    assert text_of(stored).rstrip() == text.rstrip()
    assert 3000 < ttl <= 3600


def test_ids_parts_and_keys_are_litellms_own(eve: Client, redis: Server) -> None:
    done = eve.end(eve.create("older", metadata=FAST))
    assert done["id"].startswith("litellm_poll_")
    assert done["status"] == "completed"
    assert done["status_details"] == {"type": "completed", "reason": "stop"}
    assert [part["type"] for part in done["output"][0]["content"]] == ["text"]
    assert len(text_of(done).split()) == 4
    with redis.client() as client:
        stored = ask(client, "GET", KEYS + done["id"])
    assert json.loads(stored) == done


def test_what_failed_says_so_in_the_older_words(eve: Client) -> None:
    failed = eve.end(eve.create("older fails", metadata={"status": "429"}))
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]["code"] == "rate_limit_exceeded"
    assert "status 429" in failed["status_details"]["error"]["message"]


@pytest.mark.parametrize(("method", "rest"), VERBS)
def test_somebody_elses_response_does_not_exist(
    older: Proxy, eve: Client, method: str, rest: str
) -> None:
    """It is never passed on to LiteLLM's own handler, which would give it to any key."""
    id = eve.create("older hers", metadata=ENDLESS)
    reply = older.client("sk-bob").http.request(method, f"/v1/responses/{id}{rest}")
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == f"Response with id '{id}' not found."
    assert eve.get(id)["status"] == "in_progress"
    eve.cancel(id)


def test_a_cancel_stops_the_provider(eve: Client, provider: Provider) -> None:
    id = eve.create("older cancel", metadata=ENDLESS)
    provider.call_of("older cancel")
    cancelled = eve.cancel(id).json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["status_details"] == {"type": "cancelled", "reason": "user_requested"}
    assert provider.call_of("older cancel").is_over.wait(30)


def test_a_conversation_goes_on_from_a_response_of_the_older_format(
    eve: Client, provider: Provider
) -> None:
    first = eve.end(eve.create("older one", metadata=FAST))
    second = eve.end(eve.create("older two", previous_response_id=first["id"], metadata=FAST))
    assert second["previous_response_id"] == first["id"]
    assert provider.call_of("older two").body["previous_response_id"].startswith("resp_")


def test_an_official_client_polls_it_but_finds_no_text(older: Proxy) -> None:
    """The parts have another type: the older format is for clients that were written for it."""
    with OpenAI(base_url=f"{older.url}/v1", api_key="sk-ann", timeout=WAIT_TIMEOUT) as client:
        response = client.responses.create(
            model="native", input="Tell", background=True, metadata=FAST
        )
        while response.status in ("queued", "in_progress"):
            response = client.responses.retrieve(response.id)
    assert response.status == "completed"
    assert response.output
    assert response.output_text == ""
