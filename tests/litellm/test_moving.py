"""Moving over and back: old workers and new ones on one Redis, and what each makes of the other's.

The new worker speaks the older format, so both sides make ids of one form, under keys of one form.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Final

import pytest

from tests.litellm.client import Client, text_of
from tests.litellm.proxies import BIN, Proxy, with_us
from tests.stores.servers import Server, ask

pytestmark = with_us

KEYS: Final = "litellm:polling:response:"
FAST: Final = {"words": "6", "pace": "0"}
LONG: Final = {"words": "600", "pace": "0.03"}  # and not endless: LiteLLM does not stop a run
ENDLESS: Final = {"words": "100000", "pace": "0.02"}
VERBS: Final = [("GET", ""), ("POST", "/cancel"), ("DELETE", "")]


@pytest.fixture
def old(alone: Proxy) -> Client:
    """Ann, at a worker that has not moved yet."""
    return alone.client()


@pytest.fixture
def new(older: Proxy) -> Client:
    """Ann, at a worker that has."""
    return older.client()


def test_a_response_of_an_old_worker_is_read_at_a_new_one(
    old: Client, new: Client, proxy: Proxy, older: Proxy, redis: Server
) -> None:
    """Whichever format the new one speaks."""
    theirs = old.end(old.create("theirs", metadata=FAST))
    assert isinstance(_stored(redis, theirs["id"]), str)  # JSON in JSON: nobody but LiteLLM does
    assert new.get(theirs["id"]) == theirs
    assert proxy.client().get(theirs["id"]) == theirs
    assert older.client("sk-bob").get(theirs["id"]) == theirs  # LiteLLM knows no owners
    assert older.client("sk-unknown").http.get(f"/v1/responses/{theirs['id']}").status_code == 401
    assert len(text_of(theirs).split()) == 6


def test_a_running_response_of_an_old_worker_is_cancelled_and_deleted_at_a_new_one(
    old: Client, new: Client
) -> None:
    id = old.create("theirs runs", metadata=LONG)
    old.until_text(id)
    assert new.get(id)["status"] == "in_progress"
    assert new.cancel(id).json()["status"] == "cancelled"
    assert new.delete(id).json() == {"id": id, "object": "response", "deleted": True}
    for client in (new, old):
        assert client.http.get(f"/v1/responses/{id}").status_code == 404


@pytest.mark.parametrize(("method", "rest"), VERBS)
def test_an_old_worker_cannot_read_nor_harm_a_response_of_a_new_one(
    old: Client, new: Client, method: str, rest: str
) -> None:
    ours = new.end(new.create("ours", metadata=FAST))
    reply = old.http.request(method, f"/v1/responses/{ours['id']}{rest}")
    assert reply.status_code == 500  # it decodes JSON twice; clients that retry get through
    assert new.get(ours["id"]) == ours


def test_responses_of_before_the_dialect_stay_readable(proxy: Proxy, older: Proxy) -> None:
    """Ids of the official form, in the same Redis but under other keys, are not mixed up."""
    before = proxy.client().end(proxy.client().create("before", metadata=FAST))
    reply = older.client().http.get(f"/v1/responses/{before['id']}")
    assert reply.status_code == 404


def test_what_was_exported_is_litellms_own(
    old: Client, new: Client, alone: Proxy, redis: Server
) -> None:
    """While the workers that made it still serve; what runs stays theirs until it has ended."""
    done = new.end(new.create("export done", metadata=FAST))
    failed = new.end(new.create("export failed", metadata={"status": "429"}))
    running = new.create("export running", metadata=ENDLESS)
    new.until_text(running)
    assert _export(redis).running >= 1
    theirs = old.get(done["id"])
    assert (theirs["status"], text_of(theirs)) == ("completed", text_of(done))
    assert theirs["output"][0]["content"][0]["type"] == "output_text"  # as LiteLLM writes today
    assert "status_details" not in theirs
    assert old.get(failed["id"])["error"]["code"] == "rate_limit_exceeded"
    assert new.get(done["id"]) == theirs
    assert new.get(running)["status"] == "in_progress"
    assert new.cancel(running).json()["status"] == "cancelled"
    assert _export(redis).written >= 1
    assert old.get(running)["status"] == "cancelled"
    assert alone.client("sk-bob").get(done["id"]) == theirs
    assert old.delete(done["id"]).json()["deleted"]


class _Said:
    """What the command said it did."""

    def __init__(self, line: str) -> None:
        found = re.fullmatch(r"(\d+) closed responses written, (\d+) still running left\n", line)
        assert found, line
        self.written, self.running = map(int, found.groups())


def _export(redis: Server) -> _Said:
    command = [str(BIN / "response-cache"), "export-litellm", "--store", redis.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return _Said(done.stdout)


def _stored(redis: Server, id: str) -> object:
    with redis.client() as client:
        return json.loads(ask(client, "GET", KEYS + id))
